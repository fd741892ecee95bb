import math

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from monai_wsss.metrics import bootstrap_mean, intervals, paired_difference


def test_two_patients_literal():
    # Draws of two patients: AA 1/4, AB 1/2, BB 1/4, so the 2.5 % and 97.5 % quantiles are A's and B's own means.
    result = bootstrap_mean([0.2, 0.4, 0.9], ["a", "a", "b"])
    assert result["mean"] == pytest.approx(0.5)  # of the three values
    assert result["ci95"] == pytest.approx([0.3, 0.9])
    assert (result["n"], result["patients"]) == (3, 2)


def test_equal_values_have_no_width():
    assert bootstrap_mean([0.5] * 4)["ci95"] == pytest.approx([0.5, 0.5])


def test_macro_mean_over_classes_literal():
    # class 0: (0 + 1 + 1) / 3, class 1: 0; their mean is 1/3, not the 2/4 of the pooled values
    assert bootstrap_mean([0, 1, 1, 0], ["a", "b", "c", "c"], [0, 0, 0, 1])["mean"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("values", [[], torch.zeros(0)])
def test_no_value(values):
    assert bootstrap_mean(values) == {"mean": None, "ci95": None, "n": 0, "patients": 0}


def test_one_patient_has_no_interval():
    assert bootstrap_mean([0.1, 0.3], ["a", "a"]) == {"mean": pytest.approx(0.2), "ci95": None, "n": 2, "patients": 1}


def test_parity_with_scipy():
    values = np.random.default_rng(0).beta(2, 3, 40)
    ours = bootstrap_mean(values.tolist(), samples=20000)
    theirs = bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=0).confidence_interval
    assert ours["mean"] == pytest.approx(values.mean())
    assert ours["ci95"] == pytest.approx([theirs.low, theirs.high], abs=0.003)  # the width is about 0.12


def test_parity_of_clusters_with_scipy():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 15, 200)
    values = rng.normal(size=200) + groups / 5  # patients differ
    sums, counts = (np.bincount(groups, weights=w) for w in (values, np.ones(200)))
    theirs = bootstrap(
        (sums, counts),
        lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True,
        n_resamples=20000,
        method="percentile",
        rng=0,
    ).confidence_interval
    ours = bootstrap_mean(values.tolist(), groups.tolist(), samples=20000)["ci95"]
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.03)  # the width is about 1
    alone = bootstrap_mean(values.tolist())["ci95"]
    assert ours[1] - ours[0] > 1.5 * (alone[1] - alone[0])  # as if slices were independent: too narrow


def test_order_of_items_changes_nothing():
    values, groups = [0.1, 0.7, 0.4, 0.9, 0.3], ["b", "a", "c", "a", "b"]
    order = [3, 0, 4, 2, 1]
    expected = bootstrap_mean(values, groups)
    moved = bootstrap_mean([values[i] for i in order], [groups[i] for i in order])
    assert moved["ci95"] == pytest.approx(expected["ci95"], abs=1e-12)


def test_seed():
    values = [0.1, 0.7, 0.4, 0.9, 0.3]
    assert bootstrap_mean(values, samples=50) == bootstrap_mean(values, samples=50)
    assert bootstrap_mean(values, samples=50) != bootstrap_mean(values, samples=50, seed=1)


def test_chunks_agree(monkeypatch):
    values = torch.rand(30, generator=torch.Generator().manual_seed(0))
    whole = bootstrap_mean(values, samples=4000)["ci95"]
    monkeypatch.setattr(intervals, "_CHUNK", 1000)
    assert bootstrap_mean(values, samples=4000)["ci95"] == pytest.approx(whole, abs=0.01)


def test_a_class_missing_in_a_draw_is_left_out():
    # Only patient b has class 1; a draw of a alone means class 0 alone: no NaN.
    result = bootstrap_mean([0.5, 0.5, 0.1], ["a", "b", "b"], [0, 0, 1])
    assert result["mean"] == pytest.approx(0.3)
    assert result["ci95"] == pytest.approx([0.3, 0.5])


def test_paired_difference_sees_what_separate_intervals_hide():
    a = torch.linspace(0.2, 0.9, 12)
    b = a - 0.02 - 0.001 * (torch.arange(12) % 3)
    difference = paired_difference(a, b)
    assert difference["mean"] == pytest.approx(0.021, abs=1e-6)  # 0.02 + 0.001 * mean(0, 1, 2)
    assert difference["ci95"][0] > 0
    assert bootstrap_mean(a)["ci95"][0] < bootstrap_mean(b)["ci95"][1]  # the separate ones overlap
    mirrored = paired_difference(b, a)
    assert mirrored["mean"] == pytest.approx(-difference["mean"])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: bootstrap_mean([0.1, math.nan]), "1 of 2 values are not finite"),
        (lambda: bootstrap_mean([0.1], ["a", "b"]), "1 values, but 2 groups"),
        (lambda: bootstrap_mean([0.1], samples=0), "samples"),
        (lambda: paired_difference([0.1], [0.1, 0.2]), "equally many"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
