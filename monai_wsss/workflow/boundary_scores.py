"""Score the boundaries that a network learnt from class maps against those of the true masks."""

from collections.abc import Sequence
from math import ceil, hypot
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage.segmentation import find_boundaries
from torch import Tensor
from torch.nn import functional as F

from monai_wsss.data import Case, PreparedDataset, write_json
from monai_wsss.engines import Heartbeat
from monai_wsss.errors import InputError
from monai_wsss.metrics.boundary_quality import boundary_counts, boundary_scores
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.truth_on_grid import array_beside, truth_on_grid

BOUNDARIES, MASKS = "pseudo_masks/boundary", "pseudo_masks/walk"
SPLITS = {"learnt": ("training", "validation"), "test": ("test",)}
_STRIDE = 4  # of the boundaries' grid, as of the walk
DEFINITION = (
    "skeleton of the boundary map, brought to the network's input grid by bilinear interpolation, against the "
    "boundaries of the true labels, whatever the classes; precision = share of its pixels within the tolerance of a "
    "true boundary, recall = share of the true boundary pixels within the tolerance of one of its pixels, pooled over "
    "all slices that have a class map and all that have a true lesion; max_f = largest F over thresholds, one for all "
    "slices, chosen by the truth and used nowhere; tolerance = share of the diagonal, and in pixels; learnt = training "
    "and validation, whose images the boundaries were learnt from; mask_outline = the outlines of the walked pseudo "
    "masks on the same slices, which used the boundaries themselves and need no threshold: the boundary map says more "
    "than the mask only where it is above this row"
)


def score_boundaries(
    run_folder: Path, dataset: PreparedDataset, preprocess: GridPreprocessing, tolerance: float, folder: Path
) -> dict[str, Any] | None:
    """Write `boundary_quality.json`: precision, recall and largest F of the boundary maps, by split.

    The row beside it are the outlines of the pseudo masks of the walk: they are what the run hands on, they lie on the
    same slices and need no threshold. A case that cannot be read is listed under `skipped`.

    Args:
        run_folder: holds `pseudo_masks/boundary/<case>.npy`, float16 `(D, h, w)` at stride 4, and `pseudo_masks/walk`.
        dataset: its cases with a true mask are scored.
        preprocess: the run's preprocessing.
        tolerance: share of the diagonal of the input grid; 0.02 in SBD's benchmark.
        folder: where to write.

    Returns:
        What the JSON file holds; None, and nothing is written, without boundaries of a case with a truth.

    Source: Chen et al., BES, ECCV 2020, Section 4.2 and Fig. 4.
    """
    wanted = {
        part: [case for split in splits for case in dataset.cases(split) if case.truth is not None]
        for part, splits in SPLITS.items()
    }
    if not (run_folder / BOUNDARIES).is_dir() or not any(wanted.values()):
        return None
    pixels = tolerance * hypot(*preprocess.parameters["size"])
    result: dict[str, Any] = {"tolerance": tolerance, "tolerance_pixels": pixels, "splits": {}, "skipped": []}
    heartbeat, done = Heartbeat("evaluate: boundaries of case", sum(map(len, wanted.values()))), 0
    for part, cases in wanted.items():
        found: list[tuple[Tensor, Tensor]] = []
        for case in cases:
            try:
                found.append(_case_counts(run_folder, case, preprocess, len(dataset.labels), pixels))
            except InputError as error:
                result["skipped"].append({"file": case.case, "reason": str(error)})
            heartbeat.beat(done := done + 1)
        if found:
            boundary, outline = (torch.cat(counts) for counts in zip(*found, strict=True))
            scores = boundary_scores(outline, (0.5,))
            result["splits"][part] = {
                "cases": len(found),
                "slices": len(boundary),
                "boundary": boundary_scores(boundary),
                "mask_outline": {"precision": scores["precision"], "recall": scores["recall"], "f": scores["max_f"]},
            }
    write_json(folder / "boundary_quality.json", {**result, "definition": DEFINITION})
    return result


def _case_counts(
    run_folder: Path, case: Case, preprocess: GridPreprocessing, num_labels: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Counts of one case's boundaries `(slices, T, 4)` and of its pseudo mask's outlines `(slices, 1, 4)`."""
    truth = truth_on_grid(case, preprocess, num_labels)
    coarse = array_beside(run_folder / BOUNDARIES / f"{case.case}.npy", len(truth), np.float16)
    masks = array_beside(run_folder / MASKS / f"{case.case}.npy", len(truth), np.uint8)
    size = truth.shape[1:]
    if coarse.shape[1:] != tuple(ceil(n / _STRIDE) for n in size) or masks.shape != truth.shape:
        raise InputError(f"case {case.case}: its boundaries or pseudo masks do not fit the grid {size}; walk again")
    if not ((coarse >= 0) & (coarse <= 1)).all():
        raise InputError(f"case {case.case}: its boundaries are not in [0, 1]; walk again")
    rows = coarse.any((1, 2)) | ((truth > 0) & (truth < 255)).any((1, 2))
    labels = torch.from_numpy(truth[rows])[:, None]
    outlines = [find_boundaries(mask, connectivity=1, mode="thick") for mask in masks[rows]]
    outline = torch.from_numpy(np.array(outlines, np.float32).reshape(-1, *size))[:, None]
    return (
        boundary_counts(_on_pixels(torch.from_numpy(coarse[rows]).float()[:, None], size), labels, tolerance),
        boundary_counts(outline, labels, tolerance, (0.5,)),
    )


def _on_pixels(boundary: Tensor, size: Sequence[int]) -> Tensor:
    """From `(B, 1, h, w)` to the pixels `(B, 1, H, W)` as the walk does it; the last cells may be cut."""
    if not len(boundary):
        return boundary.new_zeros(0, 1, *size)
    return F.interpolate(boundary, scale_factor=_STRIDE, mode="bilinear")[..., : size[0], : size[1]]
