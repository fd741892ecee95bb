"""A quantile of values that come in parts."""

import math

import numpy as np
import pytest
import torch

from monai_wsss.ops.upper_quantile import UpperQuantile


@pytest.mark.parametrize(
    ("quantile", "expected"),
    [
        (0.0, 1.0),
        (0.5, 3.0),  # place 2 of 1 2 3 5 9
        (0.9, 7.4),  # place 3.6: 5 + 0.6 (9 - 5)
        (1.0, 9.0),
    ],
)
def test_by_hand(quantile, expected):
    found = UpperQuantile(quantile, 5)
    found.add(torch.tensor([[3.0, 9.0]]))
    found.add(torch.tensor([1.0]))
    found.add(torch.tensor([5.0, 2.0]))
    assert found.value() == pytest.approx(expected)


@pytest.mark.parametrize("quantile", [0.0, 0.37, 0.9, 0.99, 0.999, 1.0])
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("values", ["normal", "ties"])
def test_as_numpy_in_any_parts_and_order(quantile, size, values):
    rng = np.random.default_rng(size)
    numbers = rng.normal(size=size) if values == "normal" else rng.integers(0, 3, size)
    found = UpperQuantile(quantile, size)
    for part in np.array_split(rng.permutation(numbers), min(size, 5)):
        found.add(torch.from_numpy(part))
    assert found.value() == pytest.approx(np.quantile(numbers, quantile), abs=1e-6)


def test_it_holds_no_more_than_it_needs():
    found = UpperQuantile(0.99, 10_000)
    for _ in range(10):
        found.add(torch.rand(10, 100))
    assert found.kept == 101 and len(found._top) == 101  # place 9899.01: the values from 9899 to 9999


def test_empty_parts_and_half_precision_count_right():
    found = UpperQuantile(0.5, 2)
    found.add(torch.zeros(0, 4))
    found.add(torch.tensor([1.0, 2.0], dtype=torch.float16))
    assert found.value() == 1.5


def test_the_number_of_values_is_what_was_said():
    with pytest.raises(ValueError, match="count must be the number of values, 3, got 4"):
        UpperQuantile(0.5, 3).add(torch.zeros(4))
    found = UpperQuantile(0.5, 3)
    with pytest.raises(ValueError, match="3, got 0"):
        found.value()
    found.add(torch.zeros(2))
    with pytest.raises(ValueError, match="3, got 2"):
        found.value()


@pytest.mark.parametrize(("arguments", "message"), [((1.1, 3), "quantile .* got 1.1"), ((0.5, 0), "count .* got 0")])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        UpperQuantile(*arguments)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_value_that_is_not_finite_shows(bad):
    """It is the largest of all and would only shift the rank of the others."""
    found = UpperQuantile(0.9, 100)
    found.add(torch.arange(99.0))
    found.add(torch.tensor([bad]))
    assert math.isnan(found.value())
