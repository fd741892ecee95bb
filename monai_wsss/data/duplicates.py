"""Find images that are nearly the same, by perceptual hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import imagehash
import numpy as np
from PIL import Image

MAX_DISTANCE = 0.14
"""Share of bits in which two hashes of one image may differ, see `image_hash`."""

_SIDE = 16  # bits: 16 x 16
_DEPTHS = (0.25, 0.5, 0.75)
_EMPTY = 0.2  # of the range: outer rows and columns that stay below are padding or collimation
_MAX_PAIRS = 100_000

Pair = tuple[str, str, float]


def image_hash(array: np.ndarray) -> np.ndarray:
    """Return the perceptual hash (pHash) of an image as bits: 256 for one slice, 3 x 256 for a volume.

    One slice, or the slices at 1/4, 1/2 and 3/4 of the depth: scaled from percentiles 1 to 99, dark margins trimmed,
    shrunk to 64 x 64, then the signs of the 16 x 16 lowest cosine coefficients about their median (`imagehash`).

    Measured on the 521 chest films of 340 patients of cxr_nih at 256 px: saved as JPEG (quality 30 or 75), rescaled by
    10 %, padded to 90 % of its size, with noise, or 25 of 255 grey levels brighter or darker, a film keeps within .102
    of itself (.117 after `GridPreprocessing`; 95 % of the films within .086, and within .05 if the brightness stays).
    Of the 135,000 pairs of films of different patients the nearest are .227 apart, one in 10,000 is below .27, half
    are below .47; films of one patient start at .195. The 780 pairs of volumes of lgg_mri start at .289. A film cut by
    2 % on each side is up to .27 away, and is not found.

    Args:
        array: `(D, C, H, W)`, the cached array; a memory map is read only where it must be.
    """
    depth = len(array)
    indices = [round(share * (depth - 1)) for share in _DEPTHS] if depth > 1 else [0]
    slices = [np.asarray(array[index], dtype=np.float32).mean(axis=0) for index in indices]
    return np.concatenate([imagehash.phash(_picture(image), hash_size=_SIDE).hash.ravel() for image in slices])


def near_duplicates(hashes: Mapping[str, np.ndarray], max_distance: float = MAX_DISTANCE) -> list[Pair]:
    """Return (case, case, distance) of the pairs of cases at most `max_distance` apart, the nearest first.

    Distance: the share of bits that differ. Volumes are compared with volumes, single images with single images. At
    most 100,000 pairs are returned, so that a folder of empty images does not fill the memory.

    Args:
        hashes: case -> bits, see `image_hash`.
        max_distance: 0 to 1.
    """
    found: list[Pair] = []
    for length in sorted({bits.size for bits in hashes.values()}):
        names = sorted(case for case, bits in hashes.items() if bits.size == length)
        found += _near(names, np.stack([hashes[name] for name in names]), max_distance)
    return sorted(found, key=lambda pair: (pair[2], pair[:2]))[:_MAX_PAIRS]


def across_splits(pairs: Iterable[Pair], split_of: Mapping[str, str]) -> list[Pair]:
    """Return the pairs whose cases are in different splits: what is trained on is tested on.

    Args:
        pairs: see `near_duplicates`; pairs with a case in no split are left out.
        split_of: case -> split.
    """
    return [p for p in pairs if p[0] in split_of and p[1] in split_of and split_of[p[0]] != split_of[p[1]]]


def across_patients(pairs: Iterable[Pair], patient_of: Mapping[str, str]) -> list[Pair]:
    """Return the pairs whose cases belong to different patients: perhaps one person under two names.

    Args:
        pairs: see `near_duplicates`.
        patient_of: case -> patient.
    """
    return [pair for pair in pairs if patient_of[pair[0]] != patient_of[pair[1]]]


def _near(names: list[str], bits: np.ndarray, max_distance: float, chunk: int = 1024) -> list[Pair]:
    """Distances from products of signs, `(bits - a . b) / 2 bits`, a block of rows at a time."""
    signs = np.where(bits, np.float32(1), np.float32(-1))
    length = bits.shape[1]
    found = []
    for start in range(0, len(names), chunk):
        block = (length - signs[start : start + chunk] @ signs[start:].T) / (2 * length)
        rows, columns = np.nonzero(np.triu(block <= max_distance, k=1))
        distances = block[rows, columns]
        nearest = np.argsort(distances, kind="stable")[:_MAX_PAIRS]
        found += [(names[start + rows[n]], names[start + columns[n]], round(float(distances[n]), 4)) for n in nearest]
    return found


def _picture(image: np.ndarray) -> Image.Image:
    low, high = np.percentile(image, [1, 99])
    scaled = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    for axis in (0, 1):
        filled = np.flatnonzero(scaled.max(axis=1 - axis) > _EMPTY)
        if len(filled):
            scaled = scaled.take(np.arange(filled[0], filled[-1] + 1), axis)
    return Image.fromarray((scaled * 255).astype(np.uint8))
