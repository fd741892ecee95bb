from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_wsss.data.labels.labels_table import Row
from monai_wsss.data.labels.slice_key import check_counting, find_slice_column, resolve_slice, slice_number
from monai_wsss.data.volume import SeriesTags, Volume, VolumeHeader
from monai_wsss.errors import InputError

TABLE = Path("t.csv")


def volume(depth=4, **tags):
    header = VolumeHeader((8, 8, depth), np.eye(4), (1.0, 1.0, 1.0))
    return Volume((Path("/in/a.nii"),), Path("a.nii"), "a", header, tags=SeriesTags(**tags) if tags else None)


# InstanceNumber runs against the slice order, as where a scanner counts from the head down
SERIES = volume(instances=("1.9", "1.8", "1.7", "1.6"), instance_numbers=(4, 3, 2, 1))

# three files, and two slices between the second and the third that resampling inserted
GAP = volume(5, instances=("1.1", "1.2", "", "", "1.3"), instance_numbers=(1, 2, None, None, 3))


def row(number=None, key="", uid=None, line=2):
    return Row(line, {"SOPInstanceUID": uid} if uid else {}, (1,), slice_number=number, slice_key=key)


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), ("3.0", 3), ("3,0", 3), ("-1", None), ("1.5", None), ("", None)]
)
def test_whole_numbers(text, number):
    assert slice_number(text) == number


@pytest.mark.parametrize(
    ("columns", "given", "sop", "expected"),
    [
        (["slice"], None, None, ("slice", "0-based")),
        (["Slice_Index"], None, None, ("Slice_Index", "0-based")),
        (["slice_1based"], None, None, ("slice_1based", "1-based")),
        (["slice"], "1-based", None, ("slice", "1-based")),
        (["Slice Number"], "0-based", None, ("Slice Number", "0-based")),
        (["InstanceNumber"], None, "uid", ("InstanceNumber", "InstanceNumber")),
        (["InstanceNumber"], None, None, ("InstanceNumber", "InstanceNumber")),
        (["slice", "Image Number"], None, None, ("Image Number", "InstanceNumber")),  # it leaves no doubt
        (["slice", "InstanceNumber"], "1-based", None, ("slice", "1-based")),
        (["slice"], "sopinstanceuid", "uid", ("uid", "SOPInstanceUID")),
        (["x"], None, "uid", ("uid", "SOPInstanceUID")),
        (["x"], None, None, (None, "")),
    ],
)
def test_convention_by_the_name_of_the_column_unless_given(columns, given, sop, expected):
    assert find_slice_column(TABLE, columns, given, sop)[:2] == expected


@pytest.mark.parametrize(
    ("row", "slice_"),
    [
        (row(), None),
        (row(0, "0-based"), 0),
        (row(3, "0-based"), 3),
        (row(1, "1-based"), 0),
        (row(4, "1-based"), 3),
        (row(1, "InstanceNumber"), 3),
        (row(4, "InstanceNumber"), 0),
        (row(None, "SOPInstanceUID", "1.8"), 1),
        (row(3, "InstanceNumber", "1.8"), 1),
        (row(None, "InstanceNumber", "1.8"), 1),
        (row(2, "0-based", "5.5"), 2),  # an object of another export
    ],
)
def test_slice_of_a_series(row, slice_):
    assert resolve_slice(row, SERIES) == slice_


@pytest.mark.parametrize(
    ("row", "volume", "reason"),
    [
        (row(4, "0-based"), SERIES, r"slice 4 \(0-based\) is not in the volume of 4 slices"),
        (row(0, "1-based"), SERIES, r"slice 0 \(1-based\) is not in"),
        (row(5, "1-based"), SERIES, "is not in the volume of 4 slices"),
        (row(9, "InstanceNumber"), SERIES, "no slices of the series have InstanceNumber 9"),
        (
            row(1, "InstanceNumber"),
            volume(instance_numbers=(1, 1, 1, 1)),
            "4 slices of the series have InstanceNumber 1",
        ),
        (row(1, "InstanceNumber"), volume(), "given by InstanceNumber, which its files do not have"),
        (row(1, "InstanceNumber"), volume(instance_numbers=(None,) * 4), "which its files do not have"),
        (row(None, "SOPInstanceUID", "5.5"), SERIES, "the volume has no slice of its SOPInstanceUID"),
        (row(None, "SOPInstanceUID", "5.5"), volume(), "the volume has no slice of its SOPInstanceUID"),
        (row(2, "0-based", "1.8"), SERIES, r"slice 2 \(0-based\) is not the slice of its SOPInstanceUID"),
    ],
)
def test_slices_that_do_not_exist(row, volume, reason):
    with pytest.raises(InputError, match=reason):
        resolve_slice(row, volume)


def test_an_image_or_the_frames_of_one_object_are_the_whole_volume():
    frames = volume(instances=("1.5",) * 4)
    assert resolve_slice(row(None, "SOPInstanceUID", "1.5"), frames) is None
    assert resolve_slice(row(None, "SOPInstanceUID", "5.5"), volume(depth=1)) is None
    assert resolve_slice(row(7, "InstanceNumber"), volume(depth=1)) == 0


@pytest.mark.parametrize(
    ("row", "slice_"),
    [
        (row(0, "0-based"), 0),
        (row(2, "0-based"), 4),
        (row(2, "1-based"), 1),
        (row(3, "1-based"), 4),
        (row(3, "1-based", "1.3"), 4),
        (row(3, "InstanceNumber"), 4),
    ],
)
def test_numbers_count_the_slices_of_files_and_not_those_that_resampling_inserted(row, slice_):
    assert resolve_slice(row, GAP) == slice_


def test_bounds_and_counting_are_those_of_the_files_of_a_resampled_series():
    with pytest.raises(InputError, match=r"slice 3 \(0-based\) is not in the volume of 3 slices"):
        resolve_slice(row(3, "0-based"), GAP)
    with pytest.raises(InputError, match="seems to count slices from 1"):
        check_counting(TABLE, [row(3, "0-based")], [(row(3, "0-based"), GAP)])
    check_counting(TABLE, [row(5, "0-based")], [(row(5, "0-based"), GAP)])


def test_slices_that_resampling_joined_are_not_counted():
    joined = replace(GAP, files=tuple(Path(f"/in/{k}.dcm") for k in range(4)))
    with pytest.raises(InputError, match="resampling joined slices"):
        resolve_slice(row(2, "0-based"), joined)
    assert resolve_slice(row(2, "0-based", "1.3"), replace(joined, files=joined.files[:3])) == 4


@pytest.mark.parametrize(
    ("key", "reason"),
    [("0-based", r"^its slice \(0-based\) is not in"), ("InstanceNumber", "^no slices .* have its InstanceNumber$")],
)
def test_long_numbers_are_not_repeated_for_they_may_tell_who_it_is(key, reason):
    with pytest.raises(InputError, match=reason):
        resolve_slice(row(61003, key), SERIES)


def test_counting_from_1_where_0_is_said_is_refused():
    rows = [row(n, "0-based", line=n + 1) for n in (1, 2, 3, 4)]
    with pytest.raises(
        InputError, match=r"seems to count slices from 1 \(line 5 says as many as .* --slice-key .*1-based"
    ):
        check_counting(TABLE, rows, [(r, SERIES) for r in rows])
    check_counting(TABLE, rows[:3], [(r, SERIES) for r in rows[:3]])
    check_counting(TABLE, [*rows, row(0, "0-based")], [(r, SERIES) for r in rows])  # a row outside, nothing worse
    ones = [row(n, "1-based") for n in (1, 4)]
    check_counting(TABLE, ones, [(r, SERIES) for r in ones])
    with pytest.raises(InputError, match="line 9 says slice 0 where slices count from 1; give --slice-key 0-based"):
        check_counting(TABLE, [row(0, "1-based", line=9)], [])
