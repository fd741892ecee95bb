"""Pooling on patients whose Dice is worked by hand, and counts as plain data."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.scores.counts import from_plain, to_plain
from benchmarks.scores.pooling import dice_difference, mean, pool
from monai_wsss.metrics import CaseCounts, bootstrap_mean, count_case, summarise


def counted(case, predicted, true=4, slices=1, patient=None, probability=None):
    """`slices` slices of 10 pixels: the first `true` of a slice are lesion, the first `predicted` are claimed."""
    truth, claim = (torch.zeros(slices, 1, 10, dtype=torch.uint8) for _ in range(2))
    truth[..., :true], claim[..., :predicted] = 1, 1
    return count_case(case, claim, truth, 1, patient=patient, probability=probability)


# 2 TP / (2 TP + FP + FN) of 4 true pixels: 4 claimed 1, 1 claimed 2 / 5, 2 claimed 4 / 6, none 0.
FIRST = [counted("a", 4), counted("b", 1), counted("c", 0)]
SECOND = [counted("c", 4), counted("a", 2), counted("b", 1)]


def test_one_seed_is_what_summarise_says():
    found, expected = pool([FIRST], ["x"]), summarise(FIRST, ["x"])
    for key in ("patients", "positives", "negatives", "lesions", "dataset", "papers", "classification", "counts"):
        assert found[key] == expected[key]
    assert found["spread"]["patients"] == [pytest.approx((1 + 0.4 + 0) / 3)]


def test_seeds_are_averaged_per_patient():
    """a: (1 + 2 / 3) / 2, b: 2 / 5 twice, c: (0 + 1) / 2."""
    found = pool([FIRST, SECOND], ["x"])
    assert found["per_patient"] == pytest.approx({"a": 5 / 6, "b": 0.4, "c": 0.5})
    assert found["patients"]["dice"] == bootstrap_mean([5 / 6, 0.4, 0.5], ["a", "b", "c"])
    assert found["patients"]["dice"]["n"] == 3 and found["counts"]["patients"] == 3
    assert found["spread"]["patients"] == pytest.approx([1.4 / 3, (2 / 3 + 0.4 + 1) / 3])


def test_slices_of_all_seeds_come_with_their_patient():
    """One slice a patient: the interval of slices is that of the patients' means over the seeds."""
    score = pool([FIRST, SECOND], ["x"])["positives"]["dice"]
    expected = bootstrap_mean([1, 0.4, 0, 2 / 3, 0.4, 1], ["a", "b", "c", "a", "b", "c"])
    assert score["mean"] == pytest.approx((5 / 6 + 0.4 + 0.5) / 3)
    assert score["ci95"] == pytest.approx(expected["ci95"]) and (score["n"], score["patients"]) == (3, 3)


def test_seeds_add_no_patients():
    """The same masks once more change nothing, the intervals neither."""
    once, twice = pool([FIRST], ["x"]), pool([FIRST, FIRST], ["x"])
    assert twice["positives"]["dice"]["ci95"] == pytest.approx(once["positives"]["dice"]["ci95"])
    assert twice.pop("spread") == {key: means * 2 for key, means in once.pop("spread").items()}
    assert {**twice, "positives": None} == {**once, "positives": None}


def test_order_of_folds_and_of_seeds_does_not_matter():
    found, turned = pool([FIRST, SECOND], ["x"]), pool([SECOND[::-1], FIRST[::-1]], ["x"])
    for score in (found, turned):
        del score["spread"], score["per_patient"]
    assert turned == found


def test_cases_of_one_patient_are_one():
    """4 of 4 and 0 of 4 pixels found: 2 * 4 / (2 * 4 + 4) together, not the mean of 1 and 0."""
    cases = [counted("a1", 4, patient="a"), counted("a2", 0, patient="a"), counted("b", 4)]
    assert pool([cases, cases], ["x"])["per_patient"] == pytest.approx({"a": 2 / 3, "b": 1})


def test_seeds_with_other_cases_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        pool([FIRST, FIRST[:2]], ["x"])


def test_the_difference_is_paired_over_patients():
    """a: 1 - 2 / 3, b: 0, c: 0 - 1."""
    found = dice_difference(pool([FIRST], ["x"]), pool([SECOND], ["x"]))
    assert found["mean"] == pytest.approx((1 / 3 - 1) / 3) and found["n"] == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 2], 1.5), ([3, 3], 3), ([None, 2.0], 2.0), ([None, None], None), ([{"a": 1}, {"a": 3}], {"a": 2.0})],
)
def test_mean(values, expected):
    assert mean(values) == expected


def test_classes_are_averaged():
    volume = torch.tensor([[[0, 1, 2, 2]]], dtype=torch.uint8)
    right, wrong = (count_case("a", claim, volume, 2) for claim in (volume, volume * (volume == 1)))
    found = pool([[right], [wrong]], ["one", "two"])
    assert found["classes"] == {"one": {"iou": 1.0, "dice": 1.0}, "two": {"iou": 0.5, "dice": 0.5}}


@pytest.mark.parametrize("probability", [None, torch.tensor([[0.25], [torch.nan]], dtype=torch.float64)])
def test_counts_survive_as_json(probability):
    counts = counted("a", 3, slices=2, patient="p", probability=probability)
    again = from_plain(json.loads(json.dumps(to_plain(counts), allow_nan=False)))
    assert isinstance(again, CaseCounts) and (again.case, again.patient, again.missing) == ("a", "p", False)
    for name in ("matrices", "lesions", "probability"):
        ours, theirs = getattr(again, name), getattr(counts, name)
        assert (ours is None) == (theirs is None)
        assert ours is None or (ours.dtype == theirs.dtype and np.array_equal(ours, theirs, equal_nan=True))


def test_an_empty_slice_keeps_its_shape():
    counts = replace(counted("a", 0, true=0, slices=3), matrices=torch.zeros(3, 2, 2, dtype=torch.int64))
    assert torch.equal(from_plain(to_plain(counts)).matrices, counts.matrices)
