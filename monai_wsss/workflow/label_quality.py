"""Score the supervision that grew while a segmenter learnt from seeds, epoch by epoch, against true masks."""

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
    "supervision of training cases, brought to the truth's grid by the nearest neighbour, all pixels of all cases in "
    "one confusion matrix an epoch; precision = TP / labelled, recall = TP / true (an unlabelled pixel is not found), "
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
    epochs = _epochs(run_folder / SUPERVISION)
    named = {file.stem for files in epochs.values() for file in files.glob("*.npy")}
    size = len(dataset.labels) + 1
    counts = torch.zeros(len(epochs), size, size + 1, dtype=torch.int64)
    cases, skipped = 0, []
    for case in dataset.cases("training"):
        if case.truth is None or case.case not in named:
            continue
        try:
            counts += _case_counts(case, list(epochs.values()), preprocess, size)
        except InputError as error:
            skipped.append({"file": case.case, "reason": str(error)})
        else:
            cases += 1
    if not cases and not skipped:
        return None
    rows = [_row(epoch, matrix, dataset.labels) for epoch, matrix in zip(epochs, counts, strict=True)] if cases else []
    result = {"epochs": rows, "cases": cases, "skipped": skipped, "definition": DEFINITION}
    write_json(folder / "label_quality.json", result)
    if rows:
        names = ("precision", "recall", "iou", "labelled")
        curves = {name.replace("iou", "IoU"): [row[name] for row in rows] for name in names}
        save_curves(folder / "label_quality.png", list(epochs), curves, tracker=tracker)
    return result


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


def _row(epoch: int, matrix: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    scores = label_quality(matrix)
    columns = {"precision": scores.precision, "recall": scores.recall, "iou": scores.iou}
    of_label = [{name: _plain(values[i]) for name, values in columns.items()} for i in range(len(names) + 1)]
    return {
        "epoch": epoch,
        **{name: _plain(value) for name, value in scores.means().items()},
        "labelled": _plain(scores.labelled),
        "with_background": {name: _plain(value) for name, value in scores.means(background=True).items()},
        "background": of_label[0],
        "classes": dict(zip(names, of_label[1:], strict=True)),
    }


def _plain(value: Tensor) -> float | None:
    """None in the place of NaN, which JSON does not have."""
    return None if value.isnan() else float(value)
