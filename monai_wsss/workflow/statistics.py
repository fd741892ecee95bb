"""What is said of a case beside its mask."""

import math
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage


def voxel_volume(mask: torch.Tensor) -> float | None:
    """Volume of a voxel in ml, |det A| / 1000 of the affine A in mm; None where the source says nothing of spacing."""
    if not isinstance(mask, MetaTensor) or not mask.meta.get("spacing_known", True):
        return None
    return abs(float(np.linalg.det(mask.affine[:3, :3].numpy()))) / 1000


def case_statistics(case: str, mask: torch.Tensor, probability: torch.Tensor | None, labels: list[str]) -> list[list]:
    """Rows `case, class, probability, voxels, ml, components`, one a class.

    Args:
        case: name of the case.
        mask: label map `(1, H, W, D)` in the source's geometry.
        probability: classifier's `(D, K)`; the case's is the highest of its slices.
        labels: K class names.
    """
    volume, array = voxel_volume(mask), np.asarray(mask[0])
    neighbours = ndimage.generate_binary_structure(array.ndim, array.ndim)
    rows: list[list[Any]] = []
    for k, label in enumerate(labels):
        lesion = array == k + 1
        voxels = int(lesion.sum())
        _, components = ndimage.label(lesion, structure=neighbours)
        ml = "" if volume is None else f"{voxels * volume:.3f}"
        rows.append(
            [case, label, _text(None if probability is None else probability[:, k].max()), voxels, ml, components]
        )
    return rows


def slice_statistics(case: str, mask: torch.Tensor, probability: torch.Tensor | None, labels: list[str]) -> list[list]:
    """Rows `case, slice, class, probability, voxels`; slices count from 0 along the source's third axis."""
    array = np.asarray(mask[0])
    array = array.reshape(*array.shape[:2], -1)
    rows: list[list[Any]] = []
    for index in range(array.shape[2]):
        for k, label in enumerate(labels):
            value = None if probability is None else probability[index, k]
            rows.append([case, index, label, _text(value), int((array[..., index] == k + 1).sum())])
    return rows


def _text(value: torch.Tensor | None) -> str:
    return "" if value is None or math.isnan(float(value)) else f"{float(value):.4f}"
