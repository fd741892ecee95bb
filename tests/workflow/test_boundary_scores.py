"""Learnt boundaries against the true ones, on run folders written here."""

import json
from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from scored_runs import dataset_of, slices, write_case, write_npy

from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.boundary_scores import DEFINITION, score_boundaries

WIDE = 0.05  # of the diagonal, 2.3 of 32 x 32 pixels: the skeleton of a perfect map is within it
LEFT = (0, 32, 0, 14)  # its only edge lies between columns 13 and 14
NONE = None


def walls(*columns, size=32):
    """Boundaries (D, h, w): a wall in a column of cells, or None; the middle of cell 3 is at pixel 13.5."""
    cells = ceil(size / 4)
    maps = np.zeros((len(columns), cells, cells))
    for plane, column in zip(maps, columns, strict=True):
        if column is not None:
            plane[:, column] = 1
    return maps


@pytest.fixture
def run(tmp_path):
    """Scores `{split: {case: (truth, boundary, mask)}}`, all written to a run folder."""

    def score(tolerance=WIDE, size=32, labels=("a",), backwards=False, **splits):
        cases = {}
        for split, given in splits.items():
            cases[split] = []
            for name, (truth, boundary, mask) in given.items():
                cases[split].append(write_case(tmp_path, name, truth))
                write_npy(tmp_path / "run" / "pseudo_masks" / "boundary" / f"{name}.npy", boundary, np.float16)
                write_npy(tmp_path / "run" / "pseudo_masks" / "walk" / f"{name}.npy", mask, np.uint8)
            cases[split] = cases[split][::-1] if backwards else cases[split]
        grid = GridPreprocessing(pixel_spacing=None, size=(size, size))
        score.again = lambda dataset: score_boundaries(tmp_path / "run", dataset, grid, tolerance, tmp_path / "out")
        score.dataset = dataset_of(labels, **cases)
        return score.again(score.dataset)

    return score


def of_test(result):
    scores = result["splits"]["test"]
    return [scores["boundary"][name] for name in ("precision", "recall", "max_f")], scores["mask_outline"]


PERFECT = {"precision": 1, "recall": 1, "f": 1}
NOTHING = {"precision": None, "recall": 0, "f": 0}


@pytest.mark.parametrize(
    ("lesions", "columns", "masks", "expected", "outline", "counted"),
    [
        ([LEFT], [3], [LEFT], [1, 1, 1], PERFECT, 1),
        ([LEFT], [6], [LEFT], [0, 0, 0], PERFECT, 1),  # 12 pixels off, and the mask's own outline is better
        ([LEFT], [3], [(0, 32, 0, 26)], [1, 1, 1], {"precision": 0, "recall": 0, "f": 0}, 1),  # or worse
        ([LEFT, LEFT], [3, NONE], [LEFT, NONE], [1, 1 / 2, 2 / 3], {"precision": 1, "recall": 1 / 2, "f": 2 / 3}, 2),
        ([LEFT, NONE], [3, 3], [LEFT, LEFT], [1 / 2, 1, 2 / 3], {"precision": 1 / 2, "recall": 1, "f": 2 / 3}, 2),
        ([LEFT, NONE], [3, NONE], [LEFT, LEFT], [1, 1, 1], PERFECT, 1),  # no map, no lesion: not looked at
        ([LEFT], [NONE], [NONE], [None, 0, 0], NOTHING, 1),
    ],
)
def test_by_hand(run, lesions, columns, masks, expected, outline, counted):
    truth, mask = slices(*lesions, size=32), slices(*masks, size=32)
    result = run(test={"x": (truth, walls(*columns), mask)})
    found, beside = of_test(result)
    assert found == pytest.approx(expected) and beside == pytest.approx(outline)
    assert result["splits"]["test"]["slices"] == counted and result["splits"]["test"]["cases"] == 1


def test_the_file(run, tmp_path):
    result = run(0.02, test={"x": (slices(LEFT, size=32), walls(3), slices(LEFT, size=32))})
    assert result["tolerance_pixels"] == pytest.approx(0.02 * 32 * 2**0.5)
    assert json.loads((tmp_path / "out" / "boundary_quality.json").read_text()) == {**result, "definition": DEFINITION}


@pytest.mark.parametrize(("tolerance", "expected"), [(WIDE, 1), (0.01, 0)])
def test_the_tolerance_is_a_share_of_the_diagonal(run, tolerance, expected):
    """The edge between columns 15 and 16 is 1 to 2 pixels from the wall: within 2.3 of it, and not within 0.5."""
    truth = slices((0, 32, 0, 16), size=32)
    assert of_test(run(tolerance, test={"x": (truth, walls(3), truth)}))[0][0] == expected


def test_splits_are_apart_and_training_goes_with_validation(run):
    truth = slices(LEFT, size=32)
    good, bad = (truth, walls(3), truth), (truth, walls(6), truth)
    result = run(training={"a": good}, validation={"b": bad}, test={"c": good, "d": good, "e": good})
    learnt, test = (result["splits"][part] for part in ("learnt", "test"))
    assert [learnt["cases"], test["cases"]] == [2, 3]
    assert learnt["boundary"]["max_f"] == pytest.approx(0.5) and test["boundary"]["max_f"] == 1


def test_cases_are_pooled_in_any_order(run):
    """a: right, one slice; b: two slices, of which it marks none: R = 1/3, not the mean of 1 and 0."""
    given = {
        "a": (slices(LEFT, size=32), walls(3), slices(LEFT, size=32)),
        "b": (slices(LEFT, LEFT, size=32), walls(None, None), slices(None, None, size=32)),
    }
    result = run(test=given)
    assert of_test(result)[0][1] == pytest.approx(1 / 3) and run(test=given, backwards=True) == result


def test_a_grid_that_four_does_not_divide_is_cut(run):
    """30 pixels are 8 cells, the last one cut: the middle of cell 3 stays at pixel 13.5."""
    truth = slices((0, 30, 0, 14), size=30)
    assert of_test(run(size=30, test={"x": (truth, walls(3, size=30), truth)}))[0] == [1, 1, 1]


def test_classes_and_void(run):
    """Two classes side by side have a boundary; of a slice that is void besides background nothing is asked."""
    truth = np.zeros((2, 32, 32), np.uint8)
    truth[0, :, :14], truth[0, :, 14:], truth[1, :, :14] = 1, 2, 255
    mask = truth.copy()
    mask[1] = 0
    result = run(labels=("a", "b"), test={"x": (truth, walls(3, None), mask)})
    assert of_test(result) == ([1, 1, 1], PERFECT) and result["splits"]["test"]["slices"] == 1


def test_negatives_alone_have_no_score_and_fail_nothing(run):
    empty = slices(None, None, size=32)
    result = run(test={"x": (empty, walls(None, None), empty)})
    assert of_test(result) == ([None] * 3, {"precision": None, "recall": None, "f": None})
    assert result["splits"]["test"]["slices"] == 0


def test_broken_cases_are_listed_and_the_rest_is_scored(run, tmp_path):
    truth = slices(LEFT, size=32)
    good, folder = (truth, walls(3), truth), tmp_path / "run" / "pseudo_masks"
    names = ("grid", "range", "nan", "absent", "mask", "gone")
    splits = {"test": dict.fromkeys(("good", *names), good), "training": {"other": good}}
    run(**splits)
    write_npy(folder / "boundary" / "grid.npy", np.zeros((1, 9, 8)), np.float16)
    write_npy(folder / "boundary" / "range.npy", 2 * walls(3), np.float16)
    write_npy(folder / "boundary" / "nan.npy", np.nan * walls(3), np.float16)
    (folder / "boundary" / "absent.npy").unlink()
    write_npy(folder / "walk" / "mask.npy", truth[:, :16], np.uint8)
    (tmp_path / "truth" / "gone.nii.gz").unlink()
    (tmp_path / "truth" / "other.nii.gz").write_bytes(b"")
    result = run.again(run.dataset)
    assert {item["file"] for item in result["skipped"]} == {*names, "other"} and len(result["skipped"]) == 7
    assert not any(str(tmp_path) in item["reason"] for item in result["skipped"])
    assert list(result["splits"]) == ["test"] and of_test(result)[0] == [1, 1, 1]


@pytest.mark.parametrize("lacking", ["boundaries", "truth"])
def test_nothing_is_written_without_boundaries_or_truths(run, tmp_path, lacking):
    truth = slices(LEFT, size=32)
    run(test={"x": (truth, walls(3), truth)})
    dataset, file = run.dataset, tmp_path / "out" / "boundary_quality.json"
    file.unlink()
    if lacking == "truth":
        dataset = dataset_of(test=[replace(dataset.test[0], truth=None)])
    else:
        (tmp_path / "run" / "pseudo_masks" / "boundary").rename(tmp_path / "elsewhere")
    assert run.again(dataset) is None and not file.exists()
