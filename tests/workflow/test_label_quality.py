"""The quality of the supervision by epoch, on run folders written here."""

import json
from dataclasses import replace

import numpy as np
import pytest
from label_map_files import write
from PIL import Image
from scored_runs import GRID, dataset_of, slices, write_case, write_npy

from monai_wsss.workflow.label_quality import DEFINITION, score_label_quality

# The lesion is 4 x 4 pixels: one of the four cells of 4 x 4 that the network's grid has.
TRUTH = slices((0, 4, 0, 4))


class Pictures(list):
    def log_picture(self, path):
        self.append(path.name)


@pytest.fixture
def run(tmp_path):
    """Writes snapshots `{epoch: {case: rows}}` and scores them; gives the result and what was logged."""

    def score(cases, snapshots, labels=("a",), **splits):
        for epoch, arrays in snapshots.items():
            for name, array in arrays.items():
                write_npy(tmp_path / "run" / "dsrg" / "supervision" / epoch / f"{name}.npy", array, np.uint8)
        dataset = dataset_of(labels, **{"training": cases} | splits)
        logged = Pictures()
        result = score_label_quality(tmp_path / "run", dataset, GRID, tmp_path / "out", logged)
        return result, logged

    return score


def test_growing_seeds_by_hand(run, tmp_path):
    """Epoch 0: one cell of 2 x 2 pixels is lesion, one background; 12: all of the lesion and a cell too many."""
    few = np.full((1, 4, 4), 255)
    few[0, 0, 0], few[0, 3, 3] = 1, 0
    more = np.zeros((1, 4, 4))
    more[0, :2, :2], more[0, 2, 2], more[0, 3] = 1, 1, 255
    result, logged = run([write_case(tmp_path, "x", TRUTH)], {"0000": {"x": few}, "0012": {"x": more}})
    first, last = result["epochs"]
    assert [first["epoch"], last["epoch"], result["cases"], result["skipped"]] == [0, 12, 1, []]
    assert {k: first[k] for k in ("precision", "recall", "iou", "labelled")} == {
        "precision": 1,
        "recall": 4 / 16,
        "iou": 4 / 16,
        "labelled": 8 / 64,
    }
    assert [last["precision"], last["recall"], last["iou"], last["labelled"]] == [16 / 20, 1, 16 / 20, 48 / 64]
    assert first["classes"] == {"a": {"precision": 1, "recall": 1 / 4, "iou": 1 / 4}}
    # background: 48 true pixels, 4 of them labelled; then 28, all labelled ones right
    assert first["background"] == {"precision": 1, "recall": 4 / 48, "iou": 4 / 48}
    assert last["with_background"] == pytest.approx({"precision": 0.9, "recall": 38 / 48, "iou": (0.8 + 28 / 48) / 2})
    assert json.loads((tmp_path / "out" / "label_quality.json").read_text()) == result
    assert result["definition"] == DEFINITION and logged == ["label_quality.png"]
    assert Image.open(tmp_path / "out" / "label_quality.png").size == (640, 400)


def test_cases_are_pooled_and_their_order_is_nothing(run, tmp_path):
    """x: 16 of 16 found; y: 0 of 4, and 16 pixels too many. So R = 16/20 and P = 16/32, not the means of two cases."""
    x, y = write_case(tmp_path, "x", TRUTH), write_case(tmp_path, "y", slices((6, 8, 6, 8)))
    labels = np.zeros((1, 2, 2))
    labels[0, 0, 0] = 1
    result, _ = run([x, y], {"0001": {"x": labels, "y": labels}})
    (row,) = result["epochs"]
    assert [row["precision"], row["recall"], row["iou"], result["cases"]] == [16 / 32, 16 / 20, 16 / 36, 2]
    assert run([y, x], {})[0] == result


def test_classes_void_and_empty_classes(run, tmp_path):
    """Truth: class 1 in a cell, class 2 in another, one void; class 3 is neither true nor labelled."""
    truth = np.zeros((1, 8, 8), np.uint8)
    truth[0, :4, :4], truth[0, :4, 4:], truth[0, 4:, :4] = 1, 2, 255
    result, _ = run([write_case(tmp_path, "x", truth)], {"0001": {"x": [[[1, 1], [2, 255]]]}}, ("a", "b", "c"))
    (row,) = result["epochs"]
    assert row["classes"] == {
        "a": {"precision": 1 / 2, "recall": 1, "iou": 1 / 2},
        "b": {"precision": 0, "recall": 0, "iou": 0},
        "c": {"precision": None, "recall": None, "iou": None},
    }
    assert [row["precision"], row["recall"], row["labelled"]] == [1 / 4, 1 / 2, 2 / 3]


def test_a_case_that_cannot_be_read_in_one_epoch_is_left_out_of_all(run, tmp_path):
    good, cell = write_case(tmp_path, "good", TRUTH), np.array([[[1, 0], [0, 255]]])
    cases = [write_case(tmp_path, name, TRUTH) for name in ("values", "shape", "absent", "mask", "gone")]
    first = {case.case: cell for case in cases} | {"good": cell}
    second = first | {"values": 3 * cell.clip(0, 1), "shape": np.zeros((2, 2, 2))}
    del second["absent"]
    write(tmp_path / "truth", "mask.nii.gz", np.arange(64).reshape(8, 8, 1).astype(np.uint8))
    cases[-1].truth.unlink()
    result, _ = run([*cases, good], {"0001": first, "0002": second})
    assert result["cases"] == 1 and [row["recall"] for row in result["epochs"]] == [1, 1]
    reasons = {item["file"]: item["reason"] for item in result["skipped"]}
    assert set(reasons) == {"values", "shape", "absent", "mask", "gone"}
    assert "0002 holds labels above 1" in reasons["values"] and "the truth has 1 slices" in reasons["shape"]
    assert "in 0002 is not there" in reasons["absent"] and "true mask" in reasons["mask"]
    assert not any(str(tmp_path) in reason for reason in reasons.values())


def test_where_all_cases_are_broken_nothing_fails(run, tmp_path):
    case = write_case(tmp_path, "x", TRUTH)
    case.image.unlink()
    result, logged = run([case], {"0001": {"x": [[[1, 0], [0, 255]]]}})
    assert result["epochs"] == [] and len(result["skipped"]) == 1 and logged == []


@pytest.mark.parametrize("lacking", ["snapshots", "epochs", "truth", "training"])
def test_nothing_is_written_without_snapshots_or_truths(run, tmp_path, lacking):
    case = write_case(tmp_path, "x", TRUTH)
    snapshots = {} if lacking == "snapshots" else {"0001": {"x": [[[1, 0], [0, 255]]]}}
    if lacking == "epochs":
        snapshots = {"notes": snapshots["0001"]}
    if lacking == "truth":
        case = replace(case, truth=None)
    cases, test = ([], [case]) if lacking == "training" else ([case], [])
    assert run(cases, snapshots, test=test) == (None, []) and not (tmp_path / "out").exists()
