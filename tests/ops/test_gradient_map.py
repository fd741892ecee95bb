import math

import pytest
import torch
from torch import Tensor

from monai_wsss.ops.gradient_map import grad_cam, grad_cam_plus_plus, layer_cam

# One image, two features on 2x2; the gradients of one class.
FEATURES = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[2.0, 0.0], [0.0, 2.0]]]])
GRADIENTS = torch.tensor([[[[[1.0, 0.0], [0.0, 2.0]], [[-5.0, 0.0], [0.0, 1.0]]]]])


def code(features: Tensor, gradients: Tensor, scores: Tensor | None = None) -> Tensor:
    return grad_cam_plus_plus(features, gradients, "reference_code", scores)


METHODS = (grad_cam, grad_cam_plus_plus, code, layer_cam)


def random(*size: int, classes: int = 3, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Features >= 0 ``(2, 4, *size)`` and gradients of both signs."""
    torch.manual_seed(0)
    return torch.rand(2, 4, *size, dtype=dtype), torch.randn(2, classes, 4, *size, dtype=dtype)


def test_grad_cam_by_hand() -> None:
    # weights 3/4 and -4/4: .75 * [1 2; 3 4] - [2 0; 0 2] = [-1.25 1.5; 2.25 1], and the ReLU of it
    assert grad_cam(FEATURES, GRADIENTS).tolist() == [[[[0.0, 1.5], [2.25, 1.0]]]]


def test_layer_cam_by_hand() -> None:
    # [1*1 0; 0 2*4] + [0 0; 0 1*2]
    assert layer_cam(FEATURES, GRADIENTS).tolist() == [[[[1.0, 0.0], [0.0, 10.0]]]]


def test_grad_cam_plus_plus_by_hand() -> None:
    # First feature, sum 10: g = 1: 1 / (2 + 10) = 1/12; g = 2: 4 / (8 + 80) * 2 = 1/11; weight 23/132.
    # Second, sum 4: g = 1: 1 / (2 + 4) = 22/132; the negative gradient does not count.
    expected = torch.tensor([[[[23.0 + 44, 46], [69, 92 + 44]]]]) / 132
    torch.testing.assert_close(grad_cam_plus_plus(FEATURES, GRADIENTS), expected)


def test_the_published_code_by_hand() -> None:
    # First feature, sum of A g^3 = 1 + 4 * 8 = 33: 1 / (2 + 33) + 4 / (8 + 33) * 2 = 1/35 + 8/41.
    # Second, 2 * (-125) + 2 = -248: 1 / (2 - 248) = -1/246.
    first, second = 1 / 35 + 8 / 41, -1 / 246
    expected = torch.tensor([[[[first + 2 * second, 2 * first], [3 * first, 4 * first + 2 * second]]]])
    torch.testing.assert_close(code(FEATURES, GRADIENTS), expected)


def test_the_published_code_with_scores_by_hand() -> None:
    # S = ln 3: gradients of Y are 3 and 6 in the first feature, sum of A g^3 = 27 * 33 = 891:
    # 9 / (18 + 891) * 3 + 36 / (72 + 891) * 6 = 27/909 + 216/963, divided by 2 * 3 / (1 + 3) = 1.5
    features, gradients = FEATURES[:, :1], GRADIENTS[:, :, :1]
    expected = features * (27 / 909 + 216 / 963) / 1.5
    torch.testing.assert_close(code(features, gradients, torch.tensor([[math.log(3)]])), expected)


@pytest.mark.parametrize("size", [(5, 6), (3, 4, 5), (7,)])
def test_the_formulae_in_loops(size: tuple[int, ...]) -> None:
    """Every image, class and feature by itself, with the gradients of exp(S) written out."""
    features, gradients = random(*size, dtype=torch.float64)
    scores = torch.tensor([[-3.0, 0.0, 1.0], [2.0, 0.5, -1.0]], dtype=torch.float64)
    for b in range(2):
        for k in range(3):
            cam, paper, published = (torch.zeros(size, dtype=torch.float64) for _ in range(3))
            layer = torch.zeros_like(cam)
            for a, g in zip(features[b], gradients[b, k], strict=True):
                y = scores[b, k].exp() * g
                cam += g.sum() / g.numel() * a
                paper += (g**2 / (2 * g**2 + a.sum() * g**3) * y.clamp(min=0)).sum() * a
                published += (y**2 / (2 * y**2 + (a * y**3).sum()) * y.clamp(min=0)).sum() * a
                layer += g.clamp(min=0) * a
            e = scores[b, k].exp()
            for maps, expected in (
                (grad_cam(features, gradients), cam),
                (grad_cam_plus_plus(features, gradients, scores=scores), paper / e),
                (code(features, gradients, scores), published / (2 * e / (1 + e))),
                (layer_cam(features, gradients), layer),
            ):
                torch.testing.assert_close(maps[b, k], expected.clamp(min=0))


def test_scores_matter_to_the_published_code_only() -> None:
    features, gradients = random(5, 6)
    zero, scores = torch.zeros(2, 3), torch.full((2, 3), 2.0)
    assert torch.equal(code(features, gradients, zero), code(features, gradients))
    assert not torch.allclose(code(features, gradients, scores), code(features, gradients), rtol=0.1)
    assert torch.equal(grad_cam_plus_plus(features, gradients, scores=scores), grad_cam_plus_plus(features, gradients))


@pytest.mark.parametrize("score", [-200.0, 200.0])
def test_no_score_overflows(score: float) -> None:
    # The denominator is 4 g^2 below, so alpha g = 1/4 for each of the two gradients 1 and 1/2 for g = 2,
    # and 2 * 33 above: (1 + 4 * 2) / 66.
    features, gradients = FEATURES[:, :1], GRADIENTS[:, :, :1]
    weight = 0.25 + 0.5 if score < 0 else 9 / 66
    torch.testing.assert_close(code(features, gradients, torch.tensor([[score]])), features * weight)


def test_the_two_agree_where_gradients_are_the_same_everywhere() -> None:
    features, gradients = random(5, 6)
    gradients = gradients[..., :1, :1].expand_as(gradients)
    torch.testing.assert_close(code(features, gradients), grad_cam_plus_plus(features, gradients))


@pytest.mark.parametrize("method", METHODS)
def test_zeros_stay_zeros(method) -> None:
    features, gradients = random(5, 6)
    for a, g in ((features, gradients * 0), (features * 0, gradients), (features * 0, gradients * 0)):
        assert torch.equal(method(a, g), torch.zeros(2, 3, 5, 6))


@pytest.mark.parametrize("method", [grad_cam_plus_plus, code])
def test_a_denominator_of_zero_counts_for_nothing(method) -> None:
    # g = 1 where A = -2 is all there is: 2 - 2 = 0. The other feature, A = 1 and g = 1, weighs 1 / (2 + 1).
    features = torch.tensor([[[-2.0], [1.0]]])
    torch.testing.assert_close(method(features, torch.ones(1, 1, 2, 1)), torch.full((1, 1, 1), 1 / 3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(5, 6), (3, 4, 5)])
def test_batch_classes_and_flips(method, size: tuple[int, ...]) -> None:
    features, gradients = random(*size, dtype=torch.float64)  # the code's denominator may come close to 0
    maps = method(features, gradients)
    assert maps.shape == (2, 3, *size) and bool((maps >= 0).all()) and bool((maps > 0).any())
    torch.testing.assert_close(maps, torch.cat([method(features[b : b + 1], gradients[b : b + 1]) for b in range(2)]))
    torch.testing.assert_close(maps[:, [2, 0, 1]], method(features, gradients[:, [2, 0, 1]]))
    torch.testing.assert_close(maps.flip(-1), method(features.flip(-1), gradients.flip(-1)))
    order = [3, 1, 0, 2]
    torch.testing.assert_close(maps, method(features[:, order], gradients[:, :, order]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(method, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    features, gradients = torch.rand(1, 300, 4, 4).to(dtype), torch.randn(1, 2, 300, 4, 4).to(dtype) / 64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = method(features, gradients)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, method(features.double(), gradients.double()).float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("features", "gradients"),
    [
        ((1, 2, 4, 4), (1, 2, 4, 4)),  # no classes
        ((1, 2, 4, 4), (1, 3, 5, 4, 4)),  # other features
        ((1, 2, 4, 4), (2, 3, 2, 4, 4)),  # other images: would be broadcast
        ((1, 2, 4, 4), (1, 3, 2, 4, 1)),  # other size: would be broadcast
        ((1, 2), (1, 3, 2)),  # already pooled
    ],
)
def test_refuses_shapes(method, features: tuple[int, ...], gradients: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"features must be \(B, F, \*S\) and gradients \(B, K, F, \*S\)"):
        method(torch.ones(features), torch.ones(gradients))


def test_refuses_scores_and_variants() -> None:
    with pytest.raises(ValueError, match=r"scores must be \(1, 1\)"):
        code(FEATURES, GRADIENTS, torch.zeros(1, 2))
    with pytest.raises(ValueError, match="variant must be"):
        grad_cam_plus_plus(FEATURES, GRADIENTS, "code")
