"""Resample slices with gaps, uneven spacing or tilt onto a regular grid."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from monai_wsss.data.dicom.geometry import Stack

_ON_GRID = 1e-3  # of a gap: a slice this near its place is taken as it is


def resample_stack(array: np.ndarray, stack: Stack) -> np.ndarray:
    """Return the volume on the stack's grid, float32 `(columns, rows, slices)`, by linear interpolation.

    value(i, j, z) = (1 - w) S_k(i - u_k, j - v_k) + w S_k+1(i - u_k+1, j - v_k+1), z between slices k and k + 1

    Where one of the two slices does not reach, the smallest value of the volume stands (air).

    Args:
        array: the slices in the order of `stack.order`, `(columns, rows, N)`.
        stack: from `stack(..., resample=True)`; if nothing had to be resampled, the array comes back as it is.
    """
    array = np.asarray(array, dtype=np.float32)
    if not stack.problem:
        return array
    result = np.empty(stack.shape, np.float32)
    depths = stack.offsets[:, 2]
    for z in range(stack.shape[2]):
        k = int(np.clip(np.searchsorted(depths, z, side="right") - 1, 0, len(depths) - 1))
        after = min(k + 1, len(depths) - 1)
        weight = (z - depths[k]) / (depths[after] - depths[k]) if after > k else 0.0
        if weight < _ON_GRID or weight > 1 - _ON_GRID:
            result[..., z] = _placed(array, stack, k if weight < 0.5 else after)
        else:
            result[..., z] = (1 - weight) * _placed(array, stack, k) + weight * _placed(array, stack, after)
    return np.nan_to_num(result, copy=False, nan=float(array.min()))


def _placed(array: np.ndarray, stack: Stack, k: int) -> np.ndarray:
    """Slice k, shifted to its place on the grid; NaN where it does not reach."""
    shift = stack.offsets[k, :2]
    if not shift.any() and array.shape[:2] == stack.shape[:2]:
        return array[..., k]
    options = {"output_shape": stack.shape[:2], "order": 1, "mode": "constant", "cval": np.nan}
    return ndimage.affine_transform(array[..., k], (1.0, 1.0), offset=-shift, **options)
