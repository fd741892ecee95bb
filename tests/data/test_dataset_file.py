import json
from pathlib import Path

import pytest

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError


def dataset(folder: Path) -> PreparedDataset:
    inside = Case(folder / "images" / "a.nii.gz", "a", "P1", (1, -1), ((0, -1), (1, 0)), "north", folder / "t.nii")
    outside = Case(Path("/elsewhere/b.nii"), "b", "P2", (0, 0))
    return PreparedDataset(("tumor", "oedema"), {"size": [8, 8]}, training=(inside,), test=(outside,))


def test_round_trip(tmp_path):
    dataset(tmp_path).write(tmp_path)
    assert PreparedDataset.read(tmp_path) == dataset(tmp_path)


def test_shape_on_disk(tmp_path):
    dataset(tmp_path).write(tmp_path)
    assert json.loads((tmp_path / "dataset.json").read_text()) == {
        "version": 1,
        "labels": ["tumor", "oedema"],
        "preprocessing": {"size": [8, 8]},
        "training": [
            {
                "image": "images/a.nii.gz",
                "case": "a",
                "patient": "P1",
                "classes": [1, -1],
                "site": "north",
                "slice_classes": [[0, -1], [1, 0]],
                "truth": "t.nii",
            }
        ],
        "validation": [],
        "test": [{"image": "/elsewhere/b.nii", "case": "b", "patient": "P2", "classes": [0, 0]}],
    }


def test_paths_inside_move_with_the_folder(tmp_path):
    dataset(tmp_path / "one").write(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    moved = PreparedDataset.read(tmp_path / "two")
    assert moved.training[0].image == tmp_path / "two" / "images" / "a.nii.gz"
    assert moved.test[0].image == Path("/elsewhere/b.nii")


def test_cases_of_a_split_and_of_all(tmp_path):
    data = dataset(tmp_path)
    assert [c.case for c in data.cases()] == ["a", "b"]
    assert [c.case for c in data.cases("test")] == ["b"]
    assert data.cases("validation") == ()
    with pytest.raises(ValueError, match="'val'"):
        data.cases("val")


VALID = {"version": 1, "labels": ["x"], "preprocessing": {}, "training": [], "validation": [], "test": []}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (VALID | {"version": 2}, "version 2, this program reads version 1"),
        ({}, "version None"),
        ([], "version None"),
        ({key: VALID[key] for key in VALID if key != "labels"}, "missing key 'labels'"),
        (VALID | {"test": [{"image": "a", "case": "a", "patient": "p", "classes": [2]}]}, "case a needs 1 classes"),
        (VALID | {"test": [{"image": "a", "case": "a", "patient": "p", "classes": [1, 0]}]}, "case a needs 1 classes"),
        (VALID | {"test": [{"case": "a"}]}, "missing key 'image'"),
    ],
)
def test_unreadable_content_is_one_line_that_names_the_file(tmp_path, content, message):
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        PreparedDataset.read(tmp_path)
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "dataset.json")) and "\n" not in str(error.value)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(InputError, match="not found; prepare the data first"):
        PreparedDataset.read(tmp_path / "nowhere")
    (tmp_path / "dataset.json").write_text('{"version": 1,')
    with pytest.raises(InputError, match="not valid JSON"):
        PreparedDataset.read(tmp_path)
