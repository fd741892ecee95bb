import json

import pytest

from monai_wsss.data.pseudonyms import Pseudonyms
from monai_wsss.data.withdrawn import FILE_NAME, Withdrawn, add_withdrawn, read_withdrawn
from monai_wsss.errors import InputError


def test_nobody_at_first(tmp_path):
    assert read_withdrawn(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_patients_are_added_and_none_is_lost(tmp_path):
    add_withdrawn(tmp_path, "p2", ["c3", "c1"])
    add_withdrawn(tmp_path, "p1")
    add_withdrawn(tmp_path, "p2", ["c2", "c3"])  # a later prepare found one more before it was told
    assert read_withdrawn(tmp_path) == {"p1": [], "p2": ["c1", "c2", "c3"]}
    before = (tmp_path / FILE_NAME).read_bytes()
    add_withdrawn(tmp_path, "p2")
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"version": 1}', '{"version": 1, "patients": 3}', '{"version": 2, "patients": {}}'],
)
def test_a_broken_file_is_refused_and_kept(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    for call in (lambda: read_withdrawn(tmp_path), lambda: add_withdrawn(tmp_path, "p1")):
        with pytest.raises(InputError, match=FILE_NAME) as raised:
            call()
        assert "\n" not in str(raised.value)
    assert (tmp_path / FILE_NAME).read_text() == text


def test_the_file_is_plain_json(tmp_path):
    add_withdrawn(tmp_path, "p1", ["c1"])
    assert json.loads((tmp_path / FILE_NAME).read_text()) == {"version": 1, "patients": {"p1": ["c1"]}}


def test_other_ids_of_the_person_are_noted_with_the_same_cases(tmp_path):
    add_withdrawn(tmp_path, "p1", iter(["c1"]), others=["p2", "p3"])
    assert read_withdrawn(tmp_path) == {"p1": ["c1"], "p2": ["c1"], "p3": ["c1"]}


@pytest.mark.parametrize("kept", [False, True], ids=["hashes", "names"])
def test_a_person_is_known_however_names_were_written(tmp_path, kept):
    key = Pseudonyms.open(tmp_path / "key")
    names = Pseudonyms(None) if kept else key
    add_withdrawn(tmp_path, names.patient("P 4"), [names.case("scan 4")], [names.patient("X-99")])
    withdrawn = Withdrawn.read(tmp_path)
    for clear, cases, held in [
        (["P 4"], [], True),
        (["new", "X-99"], ["another scan"], True),  # a new study under another ID
        (["new"], ["scan 4"], True),
        (["new"], [names.case("scan 4")], True),  # as it was written
        (["P 5", "P"], ["scan 5", key.case("scan 5")], False),
        ([], [], False),
    ]:
        assert withdrawn.holds(iter(clear), iter(cases)) == held, (clear, cases)


def test_hashes_without_the_key_are_refused_and_clear_names_are_not(tmp_path):
    assert not Withdrawn.read(tmp_path).holds(["P4"], ["scan"])
    add_withdrawn(tmp_path, "P4", ["scan"])
    assert Withdrawn.read(tmp_path).holds(["P4"], [])
    add_withdrawn(tmp_path, "p955066b796bf")
    with pytest.raises(InputError, match="put the key back") as raised:
        Withdrawn.read(tmp_path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "key").exists()  # a new one would know nobody
