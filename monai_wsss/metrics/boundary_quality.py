"""Boundary maps against the boundaries of a true mask, whatever the labels on both sides."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import skeletonize
from torch import Tensor

THRESHOLDS = tuple(step / 20 for step in range(1, 20))
_IGNORED = 255  # of a truth, as `case_counts.IGNORED`
_CROSS = ndimage.generate_binary_structure(2, 1)


def boundary_counts(
    boundary: Tensor, truth: Tensor, tolerance: float, thresholds: Sequence[float] = THRESHOLDS
) -> Tensor:
    """Boundary pixels that are right, predicted, found and true, of every image at every threshold.

    Predicted are the pixels of the skeleton of ``boundary >= threshold``; right are those with a true boundary pixel
    within ``tolerance``, found the true ones with a predicted pixel within it. The benchmarks of BSDS and SBD match
    pixels one to one instead: this is more lenient, two predicted lines along one true boundary are both right.

    True boundary pixels have another label beside them, above or below (``skimage.segmentation.find_boundaries`` with
    ``mode="thick"``): both sides of an edge alike, so that no label, nor the background, is drawn thinner than another,
    and the line's middle is the edge itself. A perfect map so scores 1 from a tolerance of about 2 pixels on. Where the
    other label is ignored there is no boundary, and pixels that the truth ignores are neither predicted nor true: a
    truth whose objects all have an ignored border has none.

    Only 2D, since the skeleton of a surface is no surface. Thinning and distances are computed on the host; of
    boundaries on a coarser grid the caller makes some on the truth's, by bilinear interpolation.

    Args:
        boundary: probability of a boundary, (B, 1, H, W) in [0, 1].
        truth: true labels, 255 ignored, (B, 1, H, W), uint8.
        tolerance: Euclidean distance, pixels, >= 0; 0.02 of the image's diagonal in SBD's benchmark.
        thresholds: T numbers; SBD's benchmark has 99. At 128 x 128 an image takes about 15 ms at the default 19.

    Returns:
        int64, (B, T, 4): right, predicted, found, true; to be pooled by ``boundary_scores``.

    Raises:
        ValueError: shapes that do not fit, values out of range, no threshold.

    Source: Chen et al., BES, ECCV 2020, Sec. 4.2; Hariharan et al., Semantic contours from inverse detectors, 2011.
    """
    if boundary.ndim != 4 or boundary.shape[1] != 1 or boundary.shape != truth.shape:
        raise ValueError(f"boundary and truth must be (B, 1, H, W), got {tuple(boundary.shape)}, {tuple(truth.shape)}")
    if not bool(((boundary >= 0) & (boundary <= 1)).all()):
        raise ValueError("boundary must be in [0, 1], and no NaN")
    if not tolerance >= 0 or not len(thresholds):
        raise ValueError(f"tolerance must be >= 0 with one threshold or more, got {tolerance} and {tuple(thresholds)}")
    maps, labels = boundary[:, 0].detach().float().cpu().numpy(), truth[:, 0].cpu().numpy()
    rows = [_image_counts(*pair, tolerance, thresholds) for pair in zip(maps, labels, strict=True)]
    return torch.tensor(rows, dtype=torch.int64, device=boundary.device).reshape(-1, len(thresholds), 4)


def boundary_scores(counts: Tensor, thresholds: Sequence[float] = THRESHOLDS) -> dict[str, float | None]:
    """Precision, recall and F at the threshold, one for all images, at which F is largest.

    ``precision = right / predicted``, ``recall = found / true``, ``F = 2 precision recall / (precision + recall)`` of
    the counts' sums over the images

    Args:
        counts: of ``boundary_counts``, (..., T, 4).
        thresholds: those of the counts.

    Returns:
        `precision` (None if nothing is predicted), `recall` (None without a true boundary), `max_f` and its
        `threshold`, the lowest of several. F is 0 where nothing is predicted; without a true boundary there is none,
        and the lowest threshold's precision is given.

    Raises:
        ValueError: counts of another number of thresholds.
    """
    if counts.ndim < 2 or counts.shape[-2:] != (len(thresholds), 4):
        raise ValueError(f"counts must be (..., {len(thresholds)}, 4), got {tuple(counts.shape)}")
    right, predicted, found, true = counts.reshape(-1, len(thresholds), 4).sum(dim=0).double().cpu().unbind(-1)
    precision, recall = right / predicted, found / true
    f = (2 * precision * recall / (precision + recall)).nan_to_num(0.0)
    order = torch.argsort(torch.tensor(thresholds))
    best = int(order[f[order].argmax()])  # argmax gives the first of several
    known = bool(true[best] > 0)
    return {
        "precision": float(precision[best]) if predicted[best] else None,
        "recall": float(recall[best]) if known else None,
        "max_f": float(f[best]) if known else None,
        "threshold": float(thresholds[best]) if known else None,
    }


def _image_counts(
    boundary: np.ndarray, labels: np.ndarray, tolerance: float, thresholds: Sequence[float]
) -> list[list[int]]:
    known = labels != _IGNORED
    true = _true_boundary(labels, known)
    near_true, count = _near(true, tolerance), int(true.sum())
    rows: list[list[int]] = []
    before = None
    for threshold in thresholds:
        above = boundary >= np.float32(threshold)
        if before is not None and np.array_equal(above, before):  # thinning is the dear part
            rows.append(rows[-1])
            continue
        before, predicted = above, skeletonize(above) & known
        right, found = (predicted & near_true).sum(), (true & _near(predicted, tolerance)).sum()
        rows.append([int(right), int(predicted.sum()), int(found), count])
    return rows


def _true_boundary(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Known pixels beside another known label: an ignored pixel is neither the largest nor the smallest label."""
    largest = ndimage.maximum_filter(np.where(known, labels, 0), footprint=_CROSS)
    smallest = ndimage.minimum_filter(np.where(known, labels, _IGNORED), footprint=_CROSS)
    return (largest != smallest) & known


def _near(pixels: np.ndarray, tolerance: float) -> np.ndarray:
    """Pixels at most `tolerance` from one of `pixels`."""
    if not pixels.any():
        return np.zeros_like(pixels)
    return ndimage.distance_transform_edt(~pixels) <= tolerance
