import math
from itertools import pairwise

import pytest
import torch

from monai_wsss.ops.log_sum_exp_pooling import activate_maps, log_sum_exp_pooling, pooled_logits

LN2, LN3 = math.log(2.0), math.log(3.0)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("values", "sharpness", "expected"),
    [
        ([3.0, 3.0, 3.0], 5.0, 3.0),  # of a constant: itself, not more for more positions
        ([0.0, LN3], 1.0, LN2),  # mean of 1 and 3 is 2
        ([0.0, LN3 / 5], 5.0, LN2 / 5),
        ([-LN2, 0.0, LN2, LN2], 1.0, math.log(5.5 / 4)),  # (1/2 + 1 + 2 + 2) / 4
        ([1000.0, 0.0], 5.0, 1000 - LN2 / 5),  # no overflow
        ([-1000.0, -1000.0], 5.0, -1000.0),
        ([0.0, 1e4], 1e4, 1e4),  # sharp: the maximum
    ],
)
def test_literals(values: list[float], sharpness: float, expected: float) -> None:
    assert log_sum_exp_pooling(torch.tensor([[values]]), sharpness).item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5), (2, 3, 2, 4, 5)])
@pytest.mark.parametrize("sharpness", [0.5, 5.0])
def test_is_equation_7(shape: tuple[int, ...], sharpness: float) -> None:
    maps = random(*shape)
    dense = (sharpness * maps).exp().flatten(2).mean(dim=2).log() / sharpness
    torch.testing.assert_close(log_sum_exp_pooling(maps, sharpness), dense)


def test_lies_between_mean_and_maximum_and_grows_with_sharpness() -> None:
    maps = random(4, 2, 6, 6)
    scores = [maps.mean(dim=(2, 3)), *(log_sum_exp_pooling(maps, s) for s in (1e-3, 1.0, 5.0, 50.0)), maps.amax((2, 3))]
    assert all(bool((less < more).all()) for less, more in pairwise(scores))


def test_repeating_every_position_changes_nothing() -> None:
    maps = random(2, 2, 3, 4)
    larger = maps.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(log_sum_exp_pooling(larger), log_sum_exp_pooling(maps))


def test_images_and_maps_do_not_mix() -> None:
    maps = random(3, 2, 4, 4)
    torch.testing.assert_close(log_sum_exp_pooling(maps)[1:2, :1], log_sum_exp_pooling(maps[1:2, :1].flip(-1)))


def test_gradient_shares_itself_out() -> None:
    maps = torch.tensor([[[0.0, LN3 / 5]]], requires_grad=True)
    log_sum_exp_pooling(maps).sum().backward()
    torch.testing.assert_close(maps.grad, torch.tensor([[[0.25, 0.75]]]))  # exp(s M): 1 and 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    score = log_sum_exp_pooling(torch.full((1, 1, 300, 300), 30.0, dtype=dtype))  # 150 > log(65504)
    assert score.dtype == torch.float32 and score.item() == pytest.approx(30.0)


@pytest.mark.parametrize("sharpness", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_sharpness(sharpness: float) -> None:
    with pytest.raises(ValueError, match="sharpness must be > 0"):
        log_sum_exp_pooling(torch.zeros(1, 1, 2), sharpness)


def test_activations() -> None:
    maps = torch.tensor([[[-1.0, 0.0], [2.0, LN3]]])  # two maps of two positions
    assert activate_maps(maps).tolist() == [[[0.0, 0.0], [2.0, pytest.approx(LN3)]]]
    softmax = activate_maps(maps, "softmax")
    torch.testing.assert_close(softmax[0, :, 1], torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(softmax.sum(dim=1), torch.ones(1, 2))
    assert activate_maps(maps.half()).dtype == torch.float32
    with pytest.raises(ValueError, match="activation must be relu or softmax, got tanh"):
        activate_maps(maps, "tanh")


def test_logits_of_two_relu_maps() -> None:
    # y_0 of (-3, 0) -> (0, 0) is 0; y_1 of (0, ln 3), s = 1, is ln 2
    maps = torch.tensor([[[-3.0, 0.0], [0.0, LN3]], [[0.0, LN3], [-3.0, 0.0]]])
    torch.testing.assert_close(pooled_logits(maps, "relu", 1.0), torch.tensor([[LN2], [-LN2]]))
    with pytest.raises(ValueError, match="needs two maps, background first, got 3"):
        pooled_logits(torch.zeros(1, 3, 2, 2))


def test_logits_of_softmax_maps() -> None:
    # p of class 1 is 1/4 everywhere, so that y is 1/4 too: logit ln(1/3); of class 0 ln 3
    maps = torch.tensor([LN3, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    torch.testing.assert_close(pooled_logits(maps, "softmax", 5.0), torch.tensor([[LN3, -LN3]]))
    sigmoids = pooled_logits(random(2, 4, 5, 5), "softmax").sigmoid()
    torch.testing.assert_close(sigmoids, log_sum_exp_pooling(random(2, 4, 5, 5).softmax(dim=1)))


@pytest.mark.parametrize("activation", ["relu", "softmax"])
def test_saturated_maps_have_finite_logits(activation: str) -> None:
    maps = torch.tensor([[[1e4], [-1e4]], [[-1e4], [1e4]]], requires_grad=True)
    logits = pooled_logits(maps, activation)
    logits.sum().backward()
    assert logits.isfinite().all() and maps.grad.isfinite().all()
    assert (logits[:, -1] < 0).tolist() == [True, False]


@pytest.mark.parametrize("height", [-8.0, -12.0, -20.0])
def test_a_class_that_was_pushed_down_keeps_its_digits_and_its_gradient(height: float) -> None:
    """p is e^h to first order, and so is y: the logit is h, and its gradient over the 9 positions sums to 1."""
    maps = torch.tensor([0.0, height]).view(1, 2, 1, 1).repeat(1, 1, 3, 3).requires_grad_()
    logits = pooled_logits(maps, "softmax")
    assert logits[0, 1].item() == pytest.approx(height, abs=2e-3)
    logits[0, 1].backward()
    assert float(maps.grad[0, 1].sum()) == pytest.approx(1, abs=2e-3)


def test_both_forms_of_the_pooling_agree_where_they_meet() -> None:
    maps = random(2, 3, 4, 4)
    near = [pooled_logits(maps, "softmax", sharpness) for sharpness in (80.0, 80.001)]
    torch.testing.assert_close(*near, atol=1e-3, rtol=1e-3)
