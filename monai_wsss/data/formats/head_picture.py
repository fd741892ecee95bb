"""A picture of one axial CT slice of the head, freed of how it was saved: the head alone, always at one size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu
from skimage.measure import label
from skimage.morphology import isotropic_opening
from skimage.transform import resize

SIDE = 256
"""Pixels of a side of a normalised picture."""

_WHITE = 250  # of 255: a margin that is brighter is paper
_MIN_SHARE, _MIN_SIDE = 0.05, 24  # of the picture's area; pixels: less is no head
_NECK = 1 / 40  # of the picture's shorter side: what hangs on the head by less than twice that is cut off


@dataclass(frozen=True)
class HeadPicture:
    """The head of a picture.

    Attributes:
        pixels: uint8 `(rows, columns)`, the box around the head; 0 outside the head.
        outside: share of the picture that is brighter than air and no head: text, table, frame.
    """

    pixels: np.ndarray
    outside: float

    @property
    def side(self) -> int:
        """The box's longer side, in pixels."""
        return max(self.pixels.shape)


def find_head(picture: np.ndarray) -> HeadPicture:
    """Cut out the head, and blacken what is not of it.

    White margins are cut off. The lower of two thresholds (multi-Otsu: air, brain, bone) tells bright from air; thin
    lines and letters are opened away and holes filled; the largest component that is left is the head.

    Args:
        picture: grey values from 0, `(rows, columns)`; those of 16 bits are scaled to 255.

    Raises:
        ValueError: the reason, if there is no head in it.

    Source: Liao, Chen and Chung, A fast algorithm for multilevel thresholding, J. Inf. Sci. Eng. 17 (2001).
    """
    values = np.asarray(picture, np.float32)
    values = values * (255 / max(255.0, float(values.max())))
    try:
        values = values[_box(values < _WHITE)]
        bright = values > threshold_multiotsu(values, classes=3)[0]
    except ValueError as error:  # white, or fewer than three grey values
        raise ValueError("no head in it") from error
    solid = ndimage.binary_fill_holes(ndimage.binary_opening(bright, np.ones((3, 3))))
    solid = isotropic_opening(solid, _NECK * min(values.shape))
    parts = label(solid, connectivity=1)
    sizes = np.bincount(parts.ravel())[1:]
    if not sizes.size or sizes.max() < _MIN_SHARE * values.size:
        raise ValueError("no head in it")
    head = parts == sizes.argmax() + 1
    pixels = np.where(head, np.rint(values), 0)[_box(head)].astype(np.uint8)
    if min(pixels.shape) < _MIN_SIDE:
        raise ValueError("no head in it")
    return HeadPicture(pixels, float((bright & ~head).mean()))


def square_picture(pixels: np.ndarray, detail: int = SIDE) -> np.ndarray:
    """Pad with black to a square, bring it to `detail` pixels if it has more, and then to `SIDE`.

    A picture that is enlarged is less sharp than one that is reduced: a common `detail` takes most of that away.

    Args:
        pixels: uint8 `(rows, columns)`.
        detail: pixels of a side.

    Returns:
        uint8 `(SIDE, SIDE)`.
    """
    longer = max(pixels.shape)
    before = [(longer - length) // 2 for length in pixels.shape]
    padding = [(start, longer - length - start) for start, length in zip(before, pixels.shape, strict=True)]
    picture = np.pad(pixels, padding).astype(np.float32)
    for side in (min(detail, longer), SIDE):
        picture = resize(picture, (side, side), order=1, anti_aliasing=side < picture.shape[0])
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the bounding box of a mask; raises ValueError if it is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        raise ValueError("empty")
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
