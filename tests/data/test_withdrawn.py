import json

import pytest

from monai_wsss.data.withdrawn import FILE_NAME, add_withdrawn, read_withdrawn
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
