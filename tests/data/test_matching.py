from pathlib import Path

import numpy as np
import pytest

from monai_wsss.data import LabelsTable, Row, Volume, VolumeHeader, match_rows, stem_of
from monai_wsss.errors import InputError

HEADER = VolumeHeader((4, 4, 2), np.eye(4), (1.0, 1.0, 1.0))


def match(rows, files):
    """Match rows (keys, slice) to files: (key, file -> line numbers, without file, ambiguous, without row)."""
    volumes = [Volume((Path("/in") / f,), Path(f), f, HEADER) for f in files]
    table = LabelsTable(Path("t.csv"), ("x",), tuple(Row(i, keys, (1,), s) for i, (keys, s) in enumerate(rows)))
    m = match_rows(table, volumes)
    return (
        m.key,
        {case: [row.line for row in found] for case, found in m.rows.items()},
        [row.line for row in m.rows_without_file],
        [row.line for row in m.ambiguous_rows],
        [volume.case for volume in m.volumes_without_row],
    )


@pytest.mark.parametrize("name", ["d/a.nii.gz", "a.nii.gz", "a", "images/d/a.nii.gz", "d\\a.nii.gz"])
def test_file_by_path_name_or_stem(name):
    assert match([({"file": name}, None)], ["d/a.nii.gz", "b.nii"]) == ("file", {"d/a.nii.gz": [0]}, [], [], ["b.nii"])


@pytest.mark.parametrize("key", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber"])
@pytest.mark.parametrize("file", ["1.2.3.nii.gz", "1.2.3/flair.nii", "site/1.2.3/mr/flair.nii"])
def test_identifier_by_stem_or_folder(key, file):
    assert match([({key: "1.2.3"}, None), ({key: "9"}, None)], [file]) == (key, {file: [0]}, [1], [], [])


def test_most_specific_column_that_fits_any_file():
    rows = [
        ({"SeriesInstanceUID": "1.2", "PatientID": "P1"}, None),
        ({"SeriesInstanceUID": "1.3", "PatientID": "P2"}, None),
    ]
    assert match(rows, ["P1.nii", "P2.nii"])[:2] == ("PatientID", {"P1.nii": [0], "P2.nii": [1]})
    assert match(rows, ["P1.nii", "1.3.nii"])[:3] == ("SeriesInstanceUID", {"1.3.nii": [1]}, [0])


def test_same_file_name_under_each_patient():
    rows = [({"file": "flair.nii", "PatientID": p}, None) for p in ("P1", "P2", "P3")]
    # P3 has no folder: neither P1's nor P2's file is his
    assert match(rows, ["P1/flair.nii", "P2/flair.nii"]) == (
        "file", {"P1/flair.nii": [0], "P2/flair.nii": [1]}, [2], [], [],
    )  # fmt: skip


def test_a_patients_row_speaks_of_all_his_volumes_but_a_slice_or_file_of_one():
    files = ["P1/a.nii", "P1/b.nii"]
    assert match([({"PatientID": "P1"}, None)], files)[1] == {"P1/a.nii": [0], "P1/b.nii": [0]}
    assert match([({"PatientID": "P1"}, 0)], files)[1:4] == ({}, [], [0])
    assert match([({"file": "a"}, None)], ["x/a.nii", "y/a.nii"])[1:4] == ({}, [], [0])


def test_rows_of_one_file_stay_in_order():
    rows = [({"file": "a"}, 1), ({"file": "b"}, 0), ({"file": "a"}, 0)]
    assert match(rows, ["a.nii", "b.nii"])[1] == {"a.nii": [0, 2], "b.nii": [1]}


def test_no_match_at_all_is_an_error_that_shows_both_sides():
    with pytest.raises(InputError, match=r"t\.csv: no row matches a file \(first row: P1; files: P2\.nii, \.\.\.\)"):
        match([({"PatientID": "P1"}, None)], ["P2.nii"])


def test_stem_of_the_examples():
    assert stem_of("1.2.3.nii.gz") == "1.2.3"
