"""True masks on the network's grid, and who may read them."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_map_files import write
from scored_runs import GRID, slices, write_case, write_npy

import monai_wsss
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.truth_on_grid import array_beside, truth_on_grid

LPS, RAS = np.diag([-1.0, -1.0, 5.0, 1.0]), np.diag([1.0, 1.0, 5.0, 1.0])
SWAPPED = np.array([[0, -1.0, 0, 7], [-1.0, 0, 0, 3], [0, 0, 5.0, 2], [0, 0, 0, 1]])
TRUTH = np.zeros((2, 8, 8), np.uint8)
TRUTH[1, 1:3, 2:7], TRUTH[1, 5, 0], TRUTH[0, 7] = 1, 2, 255


@pytest.mark.parametrize(
    ("affine", "expected"),
    [(LPS, TRUTH), (RAS, TRUTH[:, ::-1, ::-1]), (SWAPPED, TRUTH.swapaxes(1, 2))],
    ids=["LPS", "RAS", "swapped"],
)
def test_labels_and_void_stay_and_slices_turn_upright(tmp_path, affine, expected):
    found = truth_on_grid(write_case(tmp_path, "x", TRUTH, affine=affine), GRID, 2)
    assert found.dtype == np.uint8 and np.array_equal(found, expected)


def test_colour_changes_no_truth(tmp_path):
    grid = GridPreprocessing(pixel_spacing=None, size=(8, 8), channels=3)
    assert np.array_equal(truth_on_grid(write_case(tmp_path, "x", TRUTH), grid, 2), TRUTH)


def test_the_one_lesion_may_have_any_value(tmp_path):
    found = truth_on_grid(write_case(tmp_path, "x", 255 * slices((1, 3, 2, 7))), GRID, 1)
    assert np.array_equal(found, slices((1, 3, 2, 7)))


def test_beyond_the_image_is_background_and_half_the_pixels_are_every_second(tmp_path):
    """4 x 4 pixels of 2 mm hold the source's 8 x 8 of 1 mm, in the middle of 8 x 8."""
    case = write_case(tmp_path, "x", slices((0, 4, 2, 8)), affine=LPS)
    found = truth_on_grid(case, GridPreprocessing(pixel_spacing=2.0, size=(8, 8), inside_body=False), 1)
    expected = np.zeros((1, 8, 8))
    expected[0, 2:4, 3:6] = 1
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("none", "case x: has no true mask"),
        ("gone", "case x: its true mask: .*cannot be read"),
        ("values", "case x: its true mask: holds the values 3, but the labels are 0..2"),
        ("image", "case x: its image: .*not found"),
    ],
)
def test_bad_files_are_named_by_their_case_alone(tmp_path, broken, message):
    case = write_case(tmp_path / "secret", "x", TRUTH)
    if broken == "none":
        case = replace(case, truth=None)
    if broken == "gone":
        case.truth.unlink()
    if broken == "values":
        write(case.truth.parent, "x.nii.gz", np.full((8, 8, 2), 3, np.uint8))
    if broken == "image":
        case.image.unlink()
    with pytest.raises(InputError, match=message) as raised:
        truth_on_grid(case, GRID, 2)
    assert "secret" not in str(raised.value) and "\n" not in str(raised.value)


def test_array_beside(tmp_path):
    write_npy(tmp_path / "walk" / "x.npy", np.ones((3, 2, 2)), np.float16)
    assert array_beside(tmp_path / "walk" / "x.npy", 3, np.float16).tolist() == np.ones((3, 2, 2)).tolist()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, "is not there"),
        (b"", "cannot be read"),
        (b"no array", "cannot be read"),
        (np.zeros((2, 4, 4), np.uint8), r"is uint8 \(2, 4, 4\), the truth has 3 slices"),
        (np.zeros((3, 4, 4), np.float32), "is float32"),
        (np.zeros((3, 1, 4, 4), np.uint8), r"\(3, 1, 4, 4\)"),
        (np.zeros((3, 0, 4), np.uint8), r"\(3, 0, 4\)"),
    ],
)
def test_bad_arrays(tmp_path, array, message):
    file = tmp_path / "secret" / "walk" / "x.npy"
    file.parent.mkdir(parents=True)
    if array is not None:
        file.write_bytes(array) if isinstance(array, bytes) else np.save(file, array)
    with pytest.raises(InputError, match=f"case x: its array in walk .*{message}") as raised:
        array_beside(file, 3, np.uint8)
    assert "secret" not in str(raised.value)


def test_evaluate_alone_reads_truths():
    """What imports it, and what imports that."""
    root, found = Path(monai_wsss.__file__).parent, {}
    for module in ("truth_on_grid", "label_quality", "boundary_scores", "evaluate_stage"):
        pattern = re.compile(rf"(from|import) monai_wsss\.workflow\.{module}\b")
        found[module] = {path.stem for path in root.rglob("*.py") if pattern.search(path.read_text())}
    assert found == {
        "truth_on_grid": {"label_quality", "boundary_scores"},
        "label_quality": {"evaluate_stage"},
        "boundary_scores": {"evaluate_stage"},
        "evaluate_stage": {"__init__"},
    }
