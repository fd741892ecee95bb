from pathlib import Path

import pytest

from monai_wsss.data.generic_reason import generic_reason
from monai_wsss.errors import InputError

FILES = [Path("/in/DOE/a1.dcm"), Path("/in/DOE/b2.dcm"), Path("/in/DOE/3")]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("/in/DOE/a1.dcm: cut short", "cut short"),
        ("/in/DOE/b2.dcm: cut short", "slice 1: cut short"),
        ("no pixel data in '/in/DOE/b2.dcm'", "no pixel data in 'slice 1'"),
        ("decoder failed on b2.dcm", "decoder failed on slice 1"),
        ("slices 3 and 4 have the same position", "slices 3 and 4 have the same position"),  # a file is called "3" too
        ("nothing found in /in/DOE", "nothing found in its folder"),
    ],
)
def test_a_series(message, expected):
    assert generic_reason(InputError(message), FILES) == expected


@pytest.mark.parametrize("message", ["/in/DOE/a1.dcm: is short", "is short", "is short\nand more of /in/DOE"])
def test_one_file(message):
    assert generic_reason(InputError(message), FILES[:1]) == "is short"


def test_what_wraps_the_reason_is_left_out():
    try:
        try:
            raise InputError("/in/DOE/a1.dcm: is short")
        except InputError as error:
            raise RuntimeError("applying transform to /in/DOE/a1.dcm") from error
    except RuntimeError as error:
        assert generic_reason(error, FILES[:1]) == "is short"
