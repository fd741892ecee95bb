from pathlib import Path

import numpy as np
import pytest

from monai_wsss.data.labels.file_index import FileIndex
from monai_wsss.data.volume import Volume, VolumeHeader

HEADER = VolumeHeader((4, 4, 2), np.eye(4), (1.0, 1.0, 1.0))


def single(*files):
    return [Volume((Path("/in") / file,), Path(file), file, HEADER) for file in files]


def series(folder, names):
    return Volume(tuple(Path("/in") / folder / name for name in names), Path(folder), folder, HEADER, "dicom")


def find(value, volumes, others=()):
    return FileIndex([value, *others], volumes).find(value)


@pytest.mark.parametrize(
    "value",
    [
        "a.nii.gz",
        "a",
        "A.NII",
        "d/a.nii.gz",
        "d\\a.nii.gz",
        "/old/disk/d/a.nii.gz",
        "/in/d/a.nii.gz",
        "x/a.png",
        "./d/a",
    ],
)
def test_path_name_or_stem(value):
    assert find(value, single("d/a.nii.gz", "d/b.nii")) == {0: None}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a.nii", {0: None, 1: None}),  # ambiguous
        ("x/a.nii", {0: None}),
        ("z/a.nii", {}),  # neither is meant
        ("z/y/a.nii", {1: None}),
    ],
)
def test_files_of_one_name(value, found):
    assert find(value, single("x/a.nii", "y/a.nii")) == found


def test_part_of_a_path_is_enough_only_if_no_other_value_has_it():
    assert find("z/a.nii", single("x/a.nii")) == {0: None}
    assert find("z/a.nii", single("x/a.nii"), ["y/a.nii"]) == {}  # one of the two is not there: which?
    assert find("x/a.nii", single("x/a.nii"), ["y/a.nii"]) == {0: None}


def test_the_suffix_decides_between_files_of_one_stem():
    files = single("a.nii", "a.png")
    assert find("a.png", files) == {1: None} and find("a.dcm", files) == find("a", files) == {0: None, 1: None}


def test_a_file_of_a_series_is_a_slice_and_a_folder_all_of_it():
    volumes = [series("p/s1", ["i1.dcm", "i2.dcm"]), series("p/s2", ["j1.dcm", "j2.dcm"]), *single("q/c.nii")]
    assert find("i2.dcm", volumes) == {0: 1} and find("p/s2/j1.dcm", volumes) == {1: 0}
    assert find("p/s2", volumes) == find("s2", volumes) == {1: None}
    assert find("p", volumes) == {0: None, 1: None} and find("q", volumes) == {2: None}
    index = FileIndex(["p", "s2", "i2.dcm", "no"], volumes)
    assert [index.is_folder(value) for value in ("p", "s2", "i2.dcm", "no")] == [True, True, False, False]


def test_one_name_for_several_slices_of_a_series_is_none_of_them():
    spread = Volume((Path("/in/1/i.dcm"), Path("/in/2/i.dcm")), Path(), "s", HEADER, "dicom")
    assert find("i.dcm", [spread]) == {0: -1} and find("2/i.dcm", [spread]) == {0: 1}


@pytest.mark.parametrize("value", ["", "/", "b", "1.2.3"])
def test_nothing(value):
    assert find(value, single("1.2.4", "a.nii")) == {}
