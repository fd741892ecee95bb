import pytest

from monai_wsss.data.labels.case_labels import merge_rows
from monai_wsss.data.labels.label_values import ABSENT, BLANK, PRESENT, UNCERTAIN, UNKNOWN, LabelPolicy
from monai_wsss.data.labels.labels_table import Row

P, A, U, B, X = PRESENT, ABSENT, UNCERTAIN, BLANK, UNKNOWN


def row(slice_, *classes, line=2):
    return Row(line, {"file": "SECRET"}, classes, slice_)


@pytest.mark.parametrize(
    ("rows", "classes", "slices"),
    [
        ([row(None, P)], (1,), None),
        ([row(0, A), row(1, P)], (1,), ((0,), (1,))),
        ([row(0, A), row(1, A)], (0,), ((0,), (0,))),
        ([row(0, A)], (-1,), ((0,), (-1,))),  # slice 1 may hold anything
        ([row(1, P)], (1,), ((-1,), (1,))),
        ([row(None, A), row(0, A)], (0,), ((0,), (0,))),  # a negative volume has negative slices
        ([row(None, A), row(0, B), row(1, U)], (0,), ((0,), (0,))),
        ([row(None, P), row(0, A)], (1,), ((0,), (-1,))),
        ([row(0, P, B), row(1, A, A)], (1, -1), ((1, -1), (0, 0))),
    ],
)
def test_labels_of_volume_and_slices(rows, classes, slices):
    merged = merge_rows(rows, ["x", "y"][: len(classes)], depth=2)
    assert (merged.classes, merged.slice_classes) == (classes, slices)
    assert merged.duplicates == merged.contradictions == []


@pytest.mark.parametrize(
    ("rows", "classes", "slices"),
    [
        ([row(None, U)], (0.7,), None),
        ([row(None, B)], (0,), None),
        ([row(0, U), row(1, A)], (0.7,), ((0.7,), (0,))),  # the highest of its slices
        ([row(0, U), row(1, P)], (1,), ((0.7,), (1,))),
        ([row(0, B), row(1, A)], (0,), ((0,), (0,))),
        ([row(0, U)], (-1,), ((0.7,), (-1,))),  # the policy is for cells, not for slices that no row names
        ([row(None, U), row(0, A)], (0.7,), ((0,), (-1,))),
        ([row(None, B), row(0, P)], (1,), ((1,), (-1,))),
        # the policy makes no contradiction: the finding is in some slice that is not said to be absent
        ([row(None, P), row(0, B), row(1, B)], (1,), ((-1,), (-1,))),
        ([row(None, P), row(0, A), row(1, B)], (1,), ((0,), (-1,))),
        ([row(None, P), row(0, U), row(1, B)], (1,), ((0.7,), (0,))),
        ([row(None, X)], (-1,), None),  # what was not understood is no blank
        ([row(0, X), row(1, A)], (-1,), ((-1,), (0,))),
    ],
)
def test_policy_after_merging(rows, classes, slices):
    merged = merge_rows(rows, ["x"], depth=2, policy=LabelPolicy(blank="zeros", uncertain=0.7))
    assert (merged.classes, merged.slice_classes, merged.contradictions) == (classes, slices, [])


@pytest.mark.parametrize(
    ("codes", "label"),
    [((P, U), 1), ((B, P), 1), ((U, A), 0), ((A, B), 0), ((U, B), 0.7), ((B, B), 0), ((X, P), 1), ((X, B), -1)],
)
def test_of_two_rows_the_one_that_says_more_counts(codes, label):
    for pair in (codes, codes[::-1]):
        merged = merge_rows([row(None, code) for code in pair], ["x"], 2, LabelPolicy("zeros", 0.7))
        assert merged.classes == (label,) and merged.contradictions == []


def test_equal_duplicates_are_merged_and_named_by_their_lines():
    merged = merge_rows([row(0, P), row(0, P, line=5), row(1, A)], ["x"], depth=2)
    assert merged.slice_classes == ((1,), (0,))
    assert merged.duplicates == ["lines 2, 5"] and merged.contradictions == []
    assert merge_rows([row(0, P, line=n) for n in range(9)], ["x"], 1).duplicates == ["lines 0, 1, 2, 3, 4 and 4 more"]


def test_contradiction_is_unknown_for_its_class_alone_whatever_the_policy():
    merged = merge_rows([row(0, P, P), row(0, A, P, line=9)], ["x", "y"], depth=1, policy=LabelPolicy("ones", "ones"))
    assert merged.slice_classes == ((-1, 1),) and merged.classes == (-1, 1)
    assert merged.contradictions == ["lines 2, 9: x is both present and absent"] and merged.duplicates == []


def test_uncertain_slices_of_a_present_volume_are_not_all_absent():
    rows = [row(None, P, P), row(0, U, P), row(1, U, U)]
    assert merge_rows(rows, ["x", "y"], 2, LabelPolicy("mask", "zeros")).slice_classes == ((-1, 1), (-1, 0))


@pytest.mark.parametrize(("code", "slice_"), [(A, 0), (P, 1)])
def test_volume_rows_that_contradict_each_other_are_unknown_whatever_the_slices_say(code, slice_):
    merged = merge_rows([row(None, P), row(None, A, line=3), row(0, code), row(1, code)], ["x"], depth=2)
    assert (merged.classes, merged.slice_classes) == ((-1,), ((slice_,), (slice_,)))
    assert merged.contradictions == ["lines 2, 3: x is both present and absent"]


@pytest.mark.parametrize("rows", [[row(None, A), row(1, P)], [row(None, P), row(0, A), row(1, A)]])
def test_volume_against_slices_is_unknown_everywhere(rows):
    merged = merge_rows(rows, ["x"], depth=2)
    assert merged.classes == (-1,) and merged.slice_classes == ((-1,), (-1,))
    (text,) = merged.contradictions
    assert text.startswith("lines 2, 2") and text.endswith(": x of the volume against its slices")
