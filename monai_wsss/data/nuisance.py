"""Properties of an image that say how it was taken and stored, and nothing of what it shows."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from PIL import Image

from monai_wsss.data.volume import Volume

VARIABLES: dict[str, tuple[str, ...]] = {
    "file size": ("file_size",),
    "image size": ("columns", "rows", "aspect"),
    "number of slices": ("slices",),
    "spacing": ("spacing_columns", "spacing_rows", "spacing_slices"),
    "image border": ("border_mean", "border_std", "border_minimum", "saturated"),
    "colour mode": ("colour_mode",),
    "compression": ("compression",),
    "scanner": ("scanner",),
}
"""Variable -> the keys of `image_nuisance` that make it up."""

_FRAME = 0.05  # of the side: the width of the border


def image_nuisance(
    array: np.ndarray, affine: np.ndarray, volume: Volume | None = None
) -> dict[str, float | str | None]:
    """Return the nuisance variables of a volume by name, see `VARIABLES`; None where unknown.

    Args:
        array: `(columns, rows, slices)` as read, before any preprocessing.
        affine: 4x4, indices to mm.
        volume: gives the file size, the scanner and how the source stores its values.
    """
    columns, rows, slices = array.shape
    header = volume.header if volume else None
    spacing = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    known = (header is None or header.spacing_known) and np.isfinite(spacing).all()
    colour_mode, compression = _storage(volume) if volume else (None, None)
    tags = volume.tags if volume else None
    scanner = " ".join(word for word in (tags.manufacturer, tags.model) if word) if tags else ""
    return {
        "file_size": float(volume.bytes if volume else 0) or None,
        "columns": float(columns),
        "rows": float(rows),
        "aspect": columns / rows,
        "slices": float(slices),
        "spacing_columns": round(float(spacing[0]), 4) if known else None,
        "spacing_rows": round(float(spacing[1]), 4) if known else None,
        "spacing_slices": round(float(spacing[2]), 4) if known and slices > 1 else None,
        **_border(array),
        "colour_mode": colour_mode,
        "compression": compression,
        "scanner": scanner or None,
    }


def slice_positions(slices: int) -> np.ndarray:
    """Return the place of each slice in its volume, from 0 (first) to 1 (last); 0.5 for a single one."""
    return np.arange(slices) / (slices - 1) if slices > 1 else np.full(slices, 0.5)


def _border(array: np.ndarray) -> dict[str, float | str | None]:
    """Statistics of a frame of 5 % around each slice, on a scale from the volume's minimum, 0, to its maximum, 1."""
    low, high = float(array.min()), float(array.max())
    if not high > low:
        return {"border_mean": 0.0, "border_std": 0.0, "border_minimum": 1.0, "saturated": 0.0}
    columns, rows = (max(1, round(_FRAME * side)) for side in array.shape[:2])
    sides = (array[:columns], array[-columns:], array[columns:-columns, :rows], array[columns:-columns, -rows:])
    frame = np.concatenate([side.ravel() for side in sides])
    return {
        "border_mean": float(frame.mean(dtype=np.float64) - low) / (high - low),
        "border_std": float(frame.std(dtype=np.float64)) / (high - low),
        "border_minimum": float((frame == low).mean()),
        "saturated": float((array == high).mean()),
    }


def _storage(volume: Volume) -> tuple[str | None, str | None]:
    """Colour mode and compression of the source's pixels."""
    if volume.tags is not None:
        mode = f"{volume.tags.photometric} {volume.tags.bits_stored or ''}".strip()
        return mode or None, volume.tags.transfer_syntax or None
    try:
        if volume.kind == "picture":
            with Image.open(volume.path) as picture:
                return picture.mode, picture.format
        return str(nib.load(volume.path).get_data_dtype()), _suffix(volume.path)  # type: ignore[attr-defined]
    except (OSError, ValueError, ImageFileError):
        return None, None


def _suffix(path: Path) -> str:
    return "gzip" if path.suffix.lower() == ".gz" else "none"
