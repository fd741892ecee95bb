import pytest

from monai_wsss.data import Row, merge_rows


def row(slice_, *classes, line=2):
    return Row(line, {"file": "a"}, classes, slice_)


@pytest.mark.parametrize(
    ("rows", "classes", "slices"),
    [
        ([row(None, 1)], (1,), None),
        ([row(0, 0), row(1, 1)], (1,), ((0,), (1,))),
        ([row(0, 0), row(1, 0)], (0,), ((0,), (0,))),
        ([row(0, 0)], (-1,), ((0,), (-1,))),  # slice 1 may hold anything
        ([row(1, 1)], (1,), ((-1,), (1,))),
        ([row(None, 0), row(0, 0)], (0,), ((0,), (0,))),  # a negative volume has negative slices
        ([row(None, 1), row(0, 0)], (1,), ((0,), (-1,))),
        ([row(0, 1, -1), row(1, 0, 0)], (1, -1), ((1, -1), (0, 0))),
    ],
)
def test_labels_of_volume_and_slices(rows, classes, slices):
    merged = merge_rows(rows, ["x", "y"][: len(classes)], depth=2)
    assert (merged.classes, merged.slice_classes) == (classes, slices)
    assert merged.duplicates == merged.contradictions == merged.outside == []


def test_equal_duplicates_are_merged_and_named():
    merged = merge_rows([row(0, 1), row(0, 1, line=5), row(1, 0)], ["x"], depth=2)
    assert merged.slice_classes == ((1,), (0,))
    assert merged.duplicates == ["a, slice 0 (lines 2, 5)"] and merged.contradictions == []


def test_unknown_gives_way_to_known():
    merged = merge_rows([row(None, -1), row(None, 1)], ["x"], depth=2)
    assert merged.classes == (1,) and len(merged.duplicates) == 1


def test_contradiction_is_unknown_for_its_class_alone():
    merged = merge_rows([row(0, 1, 1), row(0, 0, 1, line=9)], ["x", "y"], depth=1)
    assert merged.slice_classes == ((-1, 1),) and merged.classes == (-1, 1)
    assert merged.contradictions == ["a, slice 0 (lines 2, 9): x is both 0 and 1"] and merged.duplicates == []


@pytest.mark.parametrize("rows", [[row(None, 0), row(1, 1)], [row(None, 1), row(0, 0), row(1, 0)]])
def test_volume_against_slices_is_unknown_everywhere(rows):
    merged = merge_rows(rows, ["x"], depth=2)
    assert merged.classes == (-1,) and merged.slice_classes == ((-1,), (-1,))
    assert merged.contradictions == ["a: x of the volume against its slices"]


def test_slices_outside_the_volume_are_named_and_left_out():
    merged = merge_rows([row(0, 0), row(1, 0), row(2, 1, line=7)], ["x"], depth=2)
    assert merged.classes == (0,)
    assert merged.outside == ["a, slice 2 (line 7): the volume has slices 0 to 1"]
