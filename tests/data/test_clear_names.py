from pathlib import Path

import pytest

from monai_wsss.data.clear_names import file_names, place_of, unique_names


@pytest.mark.parametrize(
    ("candidates", "names"),
    [
        ([("a", "x__a"), ("b", "x__b")], ["a", "b"]),
        ([("a", "x__a"), ("a", "y__a")], ["x__a", "y__a"]),
        # The second might be called as the first is: both take longer names.
        ([("x__a", "x__x__a"), ("a", "x__a", "x__a.nii"), ("a", "y__a")], ["x__x__a", "x__a.nii", "y__a"]),
        ([("a",), ("a",)], ["a__0", "a__1"]),
        ([], []),
    ],
)
def test_unique_names(candidates, names):
    assert unique_names(candidates) == names


def test_names_of_a_file():
    assert file_names(Path("P1/s/flair.nii.gz")) == ("flair", "P1__s__flair", "P1__s__flair.nii.gz")


def test_place():
    assert place_of([Path("/a/b/1")]) == Path("/a/b/1")
    assert place_of([Path("/a/b/1"), Path("/a/c/2")]) == Path("/a")
    assert place_of([Path("/a/b/1"), Path("/a/bc/2")]) == Path("/a")
