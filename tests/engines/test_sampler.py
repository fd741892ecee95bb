"""Which items an epoch draws."""

import pytest
import torch

from monai_wsss.engines import training_sampler
from monai_wsss.engines.sampler import balanced_weights


def items(*classes):
    return [{"classes": list(values)} for values in classes]


@pytest.mark.parametrize(
    ("classes", "share", "weights"),
    [
        # one positive of four: .5 / 1, and .5 / 3 each
        ([(1,), (0,), (0,), (0,)], 0.5, [1 / 2, 1 / 6, 1 / 6, 1 / 6]),
        # two positives share .8, two others .2
        ([(1,), (0,), (1,), (0,)], 0.8, [0.4, 0.1, 0.4, 0.1]),
        # any positive class counts; unknown is no positive: .25 / 2, .75 / 1
        ([(0, 1), (-1, -1), (1, 1)], 0.25, [0.125, 0.75, 0.125]),
        # soft labels count as positive from .5: .5 / 2 each, .5 / 2 each
        ([(0.5,), (0.49,), (0.9,), (0,)], 0.5, [0.25, 0.25, 0.25, 0.25]),
        ([(0.7, 0), (0.2, 0.4), (-1, 0.3)], 0.5, [0.5, 0.25, 0.25]),
        # one side empty: all equal, never a division by zero
        ([(0,), (0,)], 0.5, [1.0, 1.0]),
        ([(1,), (1,)], 0.5, [1.0, 1.0]),
        ([(0,), (-1,)], 0.5, [1.0, 1.0]),
    ],
)
def test_weights_by_hand(classes, share, weights):
    assert balanced_weights(items(*classes), share) == pytest.approx(weights)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match="positive_share"):
        balanced_weights(items((1,), (0,)), share)


def test_without_a_share_every_item_comes_once_in_another_order():
    data = items(*[(0,)] * 50)
    sampler = training_sampler(data, data)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(50)) and first != second


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_draws_have_the_share_asked_for(share):
    torch.manual_seed(0)
    data = items(*[(1,)] * 40, *[(0,)] * 3960)
    drawn = torch.tensor(list(training_sampler(data, data, share)))
    assert len(drawn) == 4000
    # standard deviation of the share <= sqrt(.25 / 4000) = .008
    assert (drawn < 40).float().mean() == pytest.approx(share, abs=0.032)
