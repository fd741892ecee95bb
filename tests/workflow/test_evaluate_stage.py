"""What the stage scores, what it leaves alone, and when it runs again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from label_map_files import write
from scored_runs import GRID, dataset_of, slices, write_case, write_npy

from monai_wsss.workflow import EvaluateStage

LESION = slices((0, 8, 0, 4))
CHOICE = {"refine": "bes", "supervision": "dsrg"}
MORE = {"mask_quality.json", "label_quality.json", "label_quality.png", "boundary_quality.json"}


@pytest.fixture
def cases(tmp_path):
    """A run with predictions, supervision of two epochs and boundaries, of a case a split; all of them are right."""
    found = {split: write_case(tmp_path, split, LESION) for split in ("training", "validation", "test")}
    run = tmp_path / "run"
    write(run / "predictions", "test.nii.gz", np.moveaxis(LESION, 0, -1))
    write_npy(run / "dsrg" / "supervision" / "0000" / "training.npy", [[[1, 255], [255, 0]]], np.uint8)
    write_npy(run / "dsrg" / "supervision" / "0002" / "training.npy", [[[1, 0], [1, 0]]], np.uint8)
    for name in found:
        write_npy(run / "pseudo_masks" / "boundary" / f"{name}.npy", np.ones((1, 2, 2)), np.float16)
        write_npy(run / "pseudo_masks" / "walk" / f"{name}.npy", LESION, np.uint8)
    return found


@pytest.fixture
def stage(cases, tmp_path):
    def make(without=(), **settings):
        kept = {split: [replace(c, truth=None) if split in without else c] for split, c in cases.items()}
        dataset_of(**kept).write(tmp_path / "data")
        place = {"dataset_dir": str(tmp_path / "data"), "output_dir": str(tmp_path / "run"), "tracking_uri": "none"}
        return EvaluateStage(**CHOICE | settings, **place)

    return make


def files(stage_):
    return {path.name for path in stage_.folder.iterdir()}


def test_predictions_alone_without_preprocessing(stage):
    made = stage()
    record = made.run()
    assert files(made) == {"scores.json"} and record["summary"]["patients_dice"] == 1
    assert set(record["inputs"]) == {"dataset", "predictions", "truth"}


def test_headline_numbers_are_those_of_the_files(stage):
    made = stage(preprocessing=GRID, boundary_tolerance=0.3)
    summary = made.run()["summary"]
    assert files(made) == MORE | {"scores.json"} and summary["patients_dice"] == 1
    quality, boundary = (json.loads((made.folder / f"{n}_quality.json").read_text()) for n in ("label", "boundary"))
    assert [summary[f"label_quality_iou_{place}"] for place in ("first", "last")] == [1 / 2, 1]
    assert [row["iou"] for row in quality["epochs"]] == [1 / 2, 1]
    assert summary["label_quality_cases"] == 1 and summary["label_quality_skipped"] == 0
    assert summary["boundary_max_f"] == boundary["splits"]["test"]["boundary"]["max_f"] > 0
    assert summary["boundary_max_f_learnt"] == boundary["splits"]["learnt"]["boundary"]["max_f"] > 0
    assert summary["boundary_max_f_outline"] == summary["boundary_max_f_learnt_outline"] == 1
    assert boundary["tolerance"] == 0.3 and boundary["splits"]["learnt"]["cases"] == 2


def test_masks_that_were_learnt_from_are_scored_on_training_cases(stage, tmp_path):
    """Right in half of the lesion: P = 1, R = IoU = 1/2; all of it and as much beside it: P = IoU = 1/2, R = 1."""
    for folder, columns in (("confident_masks", 2), ("relabelled", 8)):
        write_npy(tmp_path / "run" / folder / "training.npy", slices((0, 8, 0, columns)), np.uint8)
    made = stage(preprocessing=GRID)
    summary = made.run()["summary"]
    masks = json.loads((made.folder / "mask_quality.json").read_text())["masks"]
    found = {name: [row[score] for score in ("precision", "recall", "iou")] for name, row in masks.items()}
    half, twice = [1, 1 / 2, 1 / 2], [1 / 2, 1, 1 / 2]
    assert found == {"confident_masks": half, "pseudo_masks/walk": [1, 1, 1], "relabelled": twice}
    assert summary["iou_confident_masks"] == 1 / 2 and summary["iou_pseudo_masks_walk"] == 1


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"supervision": "static"}, {"mask_quality.json", "boundary_quality.json"}),
        ({"refine": "crf"}, {"label_quality.json", "label_quality.png"}),
        ({"refine": "none", "supervision": "static"}, set()),
    ],
)
def test_what_another_choice_left_in_the_folder_is_not_scored(stage, choice, expected):
    made = stage(preprocessing=GRID, **choice)
    made.run()
    assert files(made) == expected | {"scores.json"}


def test_a_broken_training_mask_spoils_nothing_else(stage, cases):
    cases["training"].truth.write_bytes(b"")
    summary = stage(preprocessing=GRID).run()["summary"]
    assert summary["patients_dice"] == 1 and "label_quality_iou_last" not in summary
    assert [summary[f"{name}_skipped"] for name in ("label_quality", "boundary")] == [1, 1]


def test_masks_of_training_cases_alone(stage):
    made = stage(["test"], preprocessing=GRID)
    assert made.run()["status"] == "done" and files(made) == MORE


@pytest.mark.parametrize(("without", "preprocessing"), [(["training", "validation", "test"], GRID), (["test"], None)])
def test_skipped_where_nothing_can_be_scored(stage, without, preprocessing):
    made = stage(without, preprocessing=preprocessing)
    record = made.run()
    assert record["status"] == "skipped" and "no test case has a true mask" in record["reason"] and not files(made)


def began(stage_):
    ran = []
    work = stage_.work
    stage_.work = lambda tracker: ran.append(1) or work(tracker)
    stage_.run()
    return bool(ran)


@pytest.mark.parametrize("changed", ["training truth", "supervision", "boundary", "walk"])
def test_what_is_scored_is_an_input(stage, cases, tmp_path, changed):
    assert began(stage(preprocessing=GRID)) and not began(stage(preprocessing=GRID))
    if changed == "training truth":
        write_case(tmp_path, "training", slices((0, 8, 0, 3)))
    if changed == "supervision":
        write_npy(tmp_path / "run" / "dsrg" / "supervision" / "0002" / "training.npy", [[[1, 1], [1, 0]]], np.uint8)
    if changed == "boundary":
        write_npy(tmp_path / "run" / "pseudo_masks" / "boundary" / "test.npy", np.zeros((1, 2, 2)), np.float16)
    if changed == "walk":
        write_npy(tmp_path / "run" / "pseudo_masks" / "walk" / "test.npy", 0 * LESION, np.uint8)
    assert began(stage(preprocessing=GRID))


def test_a_negative_tolerance_is_refused(stage):
    with pytest.raises(ValueError, match=r"boundary_tolerance must be >= 0, got -0\.1"):
        stage(boundary_tolerance=-0.1)
