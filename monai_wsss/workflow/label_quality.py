"""Score what segmenters learnt from, pseudo masks and seeds that grew, against true masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from monai_wsss.data import Case, PreparedDataset, write_json
from monai_wsss.errors import InputError
from monai_wsss.metrics.case_counts import IGNORED
from monai_wsss.metrics.label_quality import label_quality, labelled_confusion
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.curve import save_curves
from monai_wsss.workflow.tracking import Tracker
from monai_wsss.workflow.truth_on_grid import array_beside, truth_on_grid

SUPERVISION = "dsrg/supervision"
DEFINITION = (
    "labels of training cases, brought to the truth's grid by the nearest neighbour, all pixels of all cases in "
    "one confusion matrix; precision = TP / labelled, recall = TP / true (an unlabelled pixel is not found), "
    "iou = TP / (TP + FP + FN), means over the foreground classes, with_background over all labels; a class without a "
    "true positive scores 0, one that is neither labelled nor true is in no mean; labelled = share of pixels with a "
    "label; true masks are used to score alone"
)


def score_label_quality(
    run_folder: Path, dataset: PreparedDataset, preprocess: GridPreprocessing, folder: Path, tracker: Tracker
) -> dict[str, Any] | None:
    """Write `label_quality.json` and `label_quality.png`: precision, recall and IoU of the supervision by epoch.

    A case counts where its truth and its supervision of every epoch can be read, so that all epochs are scored on the
    same cases; the others are listed under `skipped`.

    Args:
        run_folder: holds `dsrg/supervision/<epoch>/<case>.npy`, uint8 `(D, h, w)`, 255 where there is no label.
        dataset: its training cases with a true mask are scored.
        preprocess: the run's preprocessing.
        folder: where to write.
        tracker: receives the picture.

    Returns:
        What the JSON file holds; None, and nothing is written, without a snapshot of a case with a truth.

    Source: Huang et al., DSRG, CVPR 2018, Section 4.5 and Fig. 4.
    """
    epochs = {str(epoch): path for epoch, path in _epochs(run_folder / SUPERVISION).items()}
    found = _score(epochs, dataset, preprocess)
    if found is None:
        return None
    rows = [{"epoch": int(epoch), **row} for epoch, row in found.pop("rows").items()]
    result = {"epochs": rows, **found}
    write_json(folder / "label_quality.json", result)
    if rows:
        names = ("precision", "recall", "iou", "labelled")
        curves = {name.replace("iou", "IoU"): [row[name] for row in rows] for name in names}
        save_curves(folder / "label_quality.png", [row["epoch"] for row in rows], curves, tracker=tracker)
    return result


def score_mask_quality(
    run_folder: Path, dataset: PreparedDataset, preprocess: GridPreprocessing, masks: Sequence[str], folder: Path
) -> dict[str, Any] | None:
    """Write `mask_quality.json`: precision, recall and IoU of the masks of training cases, a row for each folder.

    It is what the papers' tables "on train" hold. `with_background` has the mean IoU over all labels.

    Args:
        run_folder: holds `<folder>/<case>.npy`, uint8 `(D, H, W)`, 255 where there is no label.
        dataset: its training cases with a true mask are scored.
        preprocess: the run's preprocessing.
        masks: folders of the run; those that are not there are left out.
        folder: where to write.

    Returns:
        What the JSON file holds; None, and nothing is written, without a mask of a case with a truth.
    """
    found = _score({name: run_folder / name for name in masks if (run_folder / name).is_dir()}, dataset, preprocess)
    if found is None:
        return None
    result = {"masks": found.pop("rows"), **found}
    write_json(folder / "mask_quality.json", result)
    return result


def _score(
    folders: Mapping[str, Path], dataset: PreparedDataset, preprocess: GridPreprocessing
) -> dict[str, Any] | None:
    """Rows by the folder's name, on the training cases that can be read in each; None without any."""
    named = {file.stem for folder in folders.values() for file in folder.glob("*.npy")}
    size = len(dataset.labels) + 1
    counts = torch.zeros(len(folders), size, size + 1, dtype=torch.int64)
    cases, skipped = 0, []
    for case in dataset.cases("training"):
        if case.truth is None or case.case not in named:
            continue
        try:
            counts += _case_counts(case, list(folders.values()), preprocess, size)
        except InputError as error:
            skipped.append({"file": case.case, "reason": str(error)})
        else:
            cases += 1
    if not cases and not skipped:
        return None
    rows = {name: _row(matrix, dataset.labels) for name, matrix in zip(folders, counts, strict=True)} if cases else {}
    return {"rows": rows, "cases": cases, "skipped": skipped, "definition": DEFINITION}


def _epochs(folder: Path) -> dict[int, Path]:
    """Folders with arrays by epoch, in order."""
    found = {int(path.name): path for path in folder.glob("*") if path.name.isdigit() and any(path.glob("*.npy"))}
    return dict(sorted(found.items()))


def _case_counts(case: Case, folders: list[Path], preprocess: GridPreprocessing, size: int) -> Tensor:
    """Counts `(epochs, L, L + 1)` of one case."""
    truth = torch.from_numpy(truth_on_grid(case, preprocess, size - 1))
    rows = []
    for folder in folders:
        labels = torch.from_numpy(array_beside(folder / f"{case.case}.npy", len(truth), np.uint8))
        if int(labels.masked_fill(labels == IGNORED, 0).max()) >= size:
            raise InputError(f"case {case.case}: its array in {folder.name} holds labels above {size - 1}")
        fine = F.interpolate(labels[:, None], size=truth.shape[1:], mode="nearest-exact")[:, 0]
        rows.append(labelled_confusion(fine, truth, size).sum(0))
    return torch.stack(rows)


def _row(matrix: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    scores = label_quality(matrix)
    columns = {"precision": scores.precision, "recall": scores.recall, "iou": scores.iou}
    of_label = [{name: _plain(values[i]) for name, values in columns.items()} for i in range(len(names) + 1)]
    return {
        **{name: _plain(value) for name, value in scores.means().items()},
        "labelled": _plain(scores.labelled),
        "with_background": {name: _plain(value) for name, value in scores.means(background=True).items()},
        "background": of_label[0],
        "classes": dict(zip(names, of_label[1:], strict=True)),
    }


def _plain(value: Tensor) -> float | None:
    """None in the place of NaN, which JSON does not have."""
    return None if value.isnan() else float(value)
