"""The one table that names people: for its owner alone, and only where it is asked for."""

import csv
import os
import stat

import pytest

from monai_wsss.data.mapping_table import COLUMNS, MappingRow, drop_patient, is_mapping, write_mapping
from monai_wsss.errors import InputError

ROWS = [
    MappingRow("c1", "p1", "DOE^JANE", "scan", "1.2", "1.2.3", "ACC1", "/in/a, b/\udce9.dcm", "training"),
    MappingRow("c2", "p2", 'ROE "Jim"\n2', status="its rows name several patients"),
    MappingRow("f3", path="/in/broken"),
]


def read(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_what_is_written_can_be_read_by_its_owner_alone(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_mapping(tmp_path / "deep" / "names.csv", ROWS)
    finally:
        os.umask(before)
    path = tmp_path / "deep" / "names.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [MappingRow(**row) for row in read(path)] == ROWS
    assert [file.name for file in path.parent.iterdir()] == ["names.csv"]


def test_a_patient_is_dropped_and_the_others_stay(tmp_path):
    path = tmp_path / "names.csv"
    write_mapping(path, ROWS)
    assert [drop_patient(path, "p1"), drop_patient(path, "p1")] == [1, 0]
    assert [row["case"] for row in read(path)] == ["c2", "f3"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", ",".join(COLUMNS) + "\n1,2\n", b"\0\xff"])
def test_another_table_is_not_touched(tmp_path, text):
    path = tmp_path / "labels.csv"
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(content)
    assert not is_mapping(path) and not is_mapping(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"labels\.csv: .*--mapping"):
        drop_patient(path, "p1")
    assert path.read_bytes() == content


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        write_mapping(tmp_path, ROWS)
