import math

import pytest
import torch

from monai_wsss.ops.attention_pooling import attention_pooling


@pytest.mark.parametrize(
    ("values", "k", "expected"),
    [
        ([1.0, 2.0, 6.0, 7.0], 0.0, 4.0),  # the mean
        ([3.0, 3.0, 3.0, 3.0], 5.0, 3.0),
        # weights 1 : 3, so (0 + 3 ln 3) / 4 over two values, k = 1
        ([0.0, math.log(3.0)], 1.0, 0.75 * math.log(3.0)),
        ([0.0, math.log(3.0) / 2], 2.0, 0.75 * math.log(3.0) / 2),
        ([-2.0, 1.0, 9.0], 1000.0, 9.0),  # the maximum, without overflow
    ],
)
def test_literals(values, k, expected):
    assert attention_pooling(torch.tensor([[values]]), k).item() == pytest.approx(expected)


def test_small_k_adds_k_times_the_variance_to_the_mean():
    maps = torch.randn(2, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    k = 1e-5
    flat = maps.flatten(2)
    expected = flat.mean(2) + k * flat.var(2, correction=0)  # first order in k
    torch.testing.assert_close(attention_pooling(maps, k), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 2, 4, 5)])
def test_places_do_not_matter_and_images_do_not_mix(shape):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    score = attention_pooling(maps, 0.7)
    torch.testing.assert_close(attention_pooling(maps.flip(-1), 0.7), score)
    torch.testing.assert_close(attention_pooling(maps[1:], 0.7), score[1:])


def test_gradient_with_and_without_attention():
    maps = torch.tensor([[[0.0, math.log(3.0)]]], dtype=torch.float64, requires_grad=True)
    attention_pooling(maps, 1.0, learns_attention=False).sum().backward()
    torch.testing.assert_close(maps.grad, torch.tensor([[[0.25, 0.75]]], dtype=torch.float64))
    maps.grad = None
    # d s / d M_i = A_i (1 + k (M_i - s)); s = 0.75 ln 3
    attention_pooling(maps, 1.0).sum().backward()
    ln3 = math.log(3.0)
    expected = torch.tensor([[[0.25 * (1 - 0.75 * ln3), 0.75 * (1 + 0.25 * ln3)]]], dtype=torch.float64)
    torch.testing.assert_close(maps.grad, expected)


def test_half_precision_is_summed_in_float32():
    maps = torch.full((1, 1, 300, 300), 10.0, dtype=torch.float16)
    score = attention_pooling(maps)
    assert score.dtype == torch.float32
    assert score.item() == pytest.approx(10.0)


@pytest.mark.parametrize("k", [-1.0, float("nan"), float("inf")])
def test_bad_k(k):
    with pytest.raises(ValueError, match="k must be >= 0"):
        attention_pooling(torch.zeros(1, 1, 2, 2), k)
