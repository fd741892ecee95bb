"""Lesion-wise detection: connected components in place of voxels."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

# Two voxels that touch by a face, an edge or a corner belong to one lesion (8 neighbours in 2D, 26 in 3D).
LESION_RULE = (
    "a lesion is a component connected by faces, edges or corners; a true lesion is found (TP) if any predicted voxel "
    "lies in it, else missed (FN); a predicted component without any true voxel is a false positive (FP)"
)


def lesion_counts(pred: Tensor, truth: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Lesions found, falsely claimed and missed, by any overlap.

    A lesion is a connected component (8 neighbours in 2D, 26 in 3D). TP = true lesions with at least one predicted
    voxel; FN = true lesions without; FP = predicted components without a true voxel. So two predictions in one lesion
    are one TP, one prediction over two lesions is two TP, and neither is an FP.

    Ignored voxels are no true lesion, and a predicted component that lies in them alone is no FP. They still connect
    what is predicted on both sides: else a prediction that goes beyond a lesion's ignored border would break in two.

    Components come from ``scipy.ndimage.label``, which works on the host: a mask on another device is copied there.

    Args:
        pred: predicted lesion, bool or 0/1, (B, *spatial) with two or three spatial axes.
        truth: true lesion, same shape.
        ignored: voxels that count neither for nor against, bool, same shape.

    Returns:
        int64, (B, 3): TP, FP, FN, on the device of the input.

    Raises:
        ValueError: shapes differ.
    """
    if pred.shape != truth.shape or (ignored is not None and ignored.shape != truth.shape):
        raise ValueError(f"pred {tuple(pred.shape)} and truth {tuple(truth.shape)} must have one shape (B, *spatial)")
    if ignored is None:
        ignored = torch.zeros_like(truth, dtype=torch.bool)
    structure = ndimage.generate_binary_structure(pred.ndim - 1, pred.ndim - 1)
    rows = []
    for predicted, true, void in zip(*(mask.bool().cpu().numpy() for mask in (pred, truth, ignored)), strict=True):
        true = true & ~void
        true_components, lesions = ndimage.label(true, structure)
        predicted_components, claims = ndimage.label(predicted, structure)
        if void.any():
            claims = np.unique(predicted_components[predicted & ~void]).size
        both = predicted & true
        found = np.unique(true_components[both]).size
        matched = np.unique(predicted_components[both]).size
        rows.append((found, claims - matched, lesions - found))
    return torch.tensor(rows, dtype=torch.int64, device=pred.device).reshape(-1, 3)


def lesion_f1(counts: Tensor) -> Tensor:
    """Pooled lesion-wise ``F1 = 2 TP / (2 TP + FP + FN)`` of counts (..., 3); NaN where there is no lesion at all."""
    tp, fp, fn = counts.double().unbind(-1)
    return 2 * tp / (2 * tp + fp + fn)
