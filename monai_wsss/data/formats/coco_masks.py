"""Polygons and run-length codes of COCO's instances, drawn into one label map."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from monai_wsss.data.formats.run_length import mask_of_runs

_MAX_SHIFT = 30  # bits of a compressed count before its last character; no image has that many pixels


class Instance(NamedTuple):
    """One object.

    Attributes:
        label: k + 1 of class k.
        crowd: whether it is a group of objects, outlined roughly.
        segmentation: polygons, each `[x, y, x, y, ...]` in pixels, or a run-length code `{"size": [rows, columns],
            "counts": numbers or compressed text}`.
    """

    label: int
    crowd: bool
    segmentation: Any


def label_map(instances: Iterable[Instance], shape: tuple[int, int]) -> np.ndarray:
    """Return the labels `(columns, rows)`, uint8: 0 background, k + 1 class k.

    Where instances overlap, the one with fewer pixels lies on top, and of two equal ones the later; a crowd lies below
    all others. Every pixel of an instance has its class, a crowd's too: nothing is 255.

    Args:
        instances: in the order of the file.
        shape: columns, rows.

    Raises:
        ValueError: as `instance_mask`.
    """
    size = shape[0] * shape[1]
    labels = np.zeros(size, np.uint8)
    top = np.full(size, 2 * size + 1)  # pixels of the instance that lies on top
    for instance in instances:
        pixels = np.flatnonzero(instance_mask(instance.segmentation, shape))
        rank = len(pixels) + (size if instance.crowd else 0)
        pixels = pixels[top[pixels] >= rank]
        labels[pixels], top[pixels] = instance.label, rank
    return labels.reshape(shape)


def instance_mask(segmentation: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels `(columns, rows)`, bool, of polygons or of a run-length code.

    Polygons are drawn by COCO's own code (pycocotools). Codes are not: it reads past the end of one that is too short.

    Args:
        segmentation: see `Instance`.
        shape: columns, rows.

    Raises:
        ValueError: saying in words that fit a list of reasons what is wrong with it.
    """
    if isinstance(segmentation, list):
        return _draw_polygons(segmentation, shape)
    if isinstance(segmentation, dict):
        return _decode(segmentation, shape)
    raise ValueError("a segmentation is neither polygons nor a run-length code")


def expand_counts(code: str) -> list[int]:
    """Return the lengths that a compressed code holds.

    A character is six bits above "0": five of the number, lowest first, and one that says whether more follow; the
    highest of the last five is the sign. From the fourth length on the number is the difference to the length two
    before.

    Raises:
        ValueError: another character, a length that is too large, or one without its end.

    Source: Lin et al., "Microsoft COCO", 2014; rleFrString of its interface.
    """
    counts: list[int] = []
    value = shift = 0
    for character in code:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > _MAX_SHIFT:
            raise ValueError("a compressed run-length code cannot be read")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("a compressed run-length code is cut short")
    return counts


def _draw_polygons(polygons: list[Any], shape: tuple[int, int]) -> np.ndarray:
    columns, rows = shape
    reach = max(shape)
    if not polygons:
        raise ValueError("an annotation has no segmentation")
    drawn = []
    for polygon in polygons:
        if not isinstance(polygon, array):
            raise ValueError("a polygon holds something other than numbers")
        points = np.array(polygon, dtype=np.float64)
        if len(points) % 2:
            raise ValueError("a polygon has an x without a y")
        if not ((points >= -reach) & (points <= 2 * reach)).all():  # also where it is no number
            raise ValueError(f"a polygon lies far outside the image of {columns} x {rows} pixels")
        if len(points) >= 6:  # two points enclose nothing
            drawn.append(points)
    if not drawn:
        return np.zeros(shape, bool)
    code = coco_mask.merge(coco_mask.frPyObjects(drawn, rows, columns))
    return coco_mask.decode(code).T.astype(bool)


def _decode(code: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    columns, rows = shape
    if code.get("size") != [rows, columns]:
        raise ValueError(f"a run-length code is not for an image of {columns} x {rows} pixels")
    counts = code.get("counts")
    if not isinstance(counts, array | str):
        raise ValueError("a run-length code holds something other than whole numbers")
    numbers = np.array(expand_counts(counts) if isinstance(counts, str) else counts, dtype=np.int64)
    if ((numbers < 0) | (numbers > columns * rows)).any() or numbers.sum() != columns * rows:
        raise ValueError(f"a run-length code does not fill the image of {columns} x {rows} pixels")
    return mask_of_runs(numbers, shape)
