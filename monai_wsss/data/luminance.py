"""Luminance of colours."""

import numpy as np


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Return Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) of `(..., 3)` as float32 `(...)`; grey stays exact."""
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    return ((299 * red + 587 * green + 114 * blue) / 1000).astype(np.float32)
