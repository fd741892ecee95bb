import pytest

from monai_wsss.data.archives import is_archive


@pytest.mark.parametrize(
    ("name", "content", "archive"),
    [
        ("a.zip", b"", True),
        ("a.TGZ", b"x", True),
        ("a.dcm.gz", b"x", True),
        ("a.rar", b"x", True),
        ("a", b"PK\x03\x04....", True),
        ("a", b"\x1f\x8b....", True),
        ("a", b"Rar!\x1a\x07\x00", True),
        ("a", bytes(257) + b"ustar", True),
        ("a.dcm", b"PK\x03\x04....", True),
        ("labels.xlsx", b"PK\x03\x04....", False),
        ("weights.pt", b"PK\x03\x04....", False),
        ("a", b"PK", False),
        ("a", bytes(300), False),
        ("a", b"", False),
    ],
)
def test_is_archive(tmp_path, name, content, archive):
    (tmp_path / name).write_bytes(content)
    assert is_archive(tmp_path / name) == archive


def test_a_file_that_cannot_be_opened_is_none(tmp_path):
    assert not is_archive(tmp_path / "none")
