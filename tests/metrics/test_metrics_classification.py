import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import f1_score, roc_auc_score

from monai_wsss.metrics import auc, expected_calibration_error, f1

EMPTY = torch.zeros(0)


def test_auc_literal():
    # pairs (positive, negative): .9>.8, .9>.1, .4<.8, .4>.1: 3 of 4 in order; a tie counts half
    assert auc(torch.tensor([0.9, 0.4, 0.8, 0.1]), torch.tensor([1, 1, 0, 0])) == pytest.approx(0.75)
    assert auc(torch.tensor([0.5, 0.5]), torch.tensor([1, 0])) == pytest.approx(0.5)


def test_f1_literal():
    # at 0.5: claimed .9, .8, .5; true .9, .4, .5: TP 2, FP 1, FN 1: 4 / 6
    assert f1(torch.tensor([0.9, 0.4, 0.8, 0.5]), torch.tensor([1, 1, 0, 1])) == pytest.approx(2 / 3)


def test_ece_literal():
    # two bins: [0, .5] holds .1 (0) and .5 (1): |.3 - .5| * 2/4; (.5, 1] holds .9 (1) and .7 (0): |.8 - .5| * 2/4
    probability, target = torch.tensor([0.1, 0.5, 0.9, 0.7]), torch.tensor([0, 1, 1, 0])
    assert expected_calibration_error(probability, target, bins=2) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("probability", "target", "expected"),
    [
        (EMPTY, EMPTY, (None, None, None)),
        (torch.tensor([0.9, 0.1]), torch.tensor([1, 1]), (None, 2 / 3, 0.5)),  # no negative: (.1 + .9) / 2
        (torch.tensor([0.9, 0.1]), torch.tensor([0, 0]), (None, 0.0, 0.5)),  # no positive, one claim: (.9 + .1) / 2
        (torch.tensor([0.2, 0.1]), torch.tensor([0, 0]), (None, None, 0.15)),  # neither a positive nor a claim
    ],
)
def test_undefined_is_none(probability, target, expected):
    assert auc(probability, target) == expected[0]
    assert f1(probability, target) == (expected[1] if expected[1] is None else pytest.approx(expected[1]))
    ece = expected_calibration_error(probability, target)
    assert ece == (expected[2] if expected[2] is None else pytest.approx(expected[2]))


def test_parity_with_sklearn():
    rng = np.random.default_rng(0)
    probability = np.round(rng.random(300), 2)  # ties, and values on the edges of the bins
    target = (rng.random(300) < probability**2).astype(int)
    ours = torch.from_numpy(probability), torch.from_numpy(target)
    assert auc(*ours) == pytest.approx(roc_auc_score(target, probability))
    assert f1(*ours) == pytest.approx(f1_score(target, probability >= 0.5))
    share, confidence = calibration_curve(target, probability, n_bins=15)
    bins = np.searchsorted(np.linspace(0, 1, 16)[1:-1], probability)
    weight = np.bincount(bins, minlength=15) / 300
    expected = (weight[weight > 0] * np.abs(share - confidence)).sum()
    assert expected_calibration_error(*ours) == pytest.approx(expected)


def test_permutation_and_half_precision():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(50, generator=generator).half()
    target = torch.randint(2, (50,), generator=generator)
    order = torch.randperm(50, generator=generator)
    for score in (auc, f1, expected_calibration_error):
        assert score(probability[order], target[order]) == pytest.approx(score(probability, target))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: auc(torch.zeros(2), torch.zeros(3)), "2 probabilities, but 3 targets"),
        (lambda: f1(torch.zeros(2), torch.tensor([0, -1])), "0 or 1"),
        (lambda: expected_calibration_error(torch.tensor([1.2]), torch.tensor([1])), r"\[0, 1\]"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
