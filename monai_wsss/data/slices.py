"""Slice items: what a 2D network trains on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_wsss.data.dataset_file import Case
from monai_wsss.errors import InputError


def slice_items(
    cases: Sequence[Case], cache: str | Path, num_classes: int, extra: Mapping[str, str | Path] | None = None
) -> list[dict[str, Any]]:
    """Return one dictionary a slice: image, case, slice, classes, and one entry for each of `extra`.

    `image` is `(array file, index)`, for `LoadSliced`. A volume without slice labels hands its own to each slice,
    see `bag_items` for what becomes of it.

    Args:
        cases: the volumes.
        cache: folder of CASE.npy, see `build_cache`.
        num_classes: K; `classes` is float32 `(K,)` with 0, 1 or -1 (unknown).
        extra: key -> folder of further CASE.npy arrays, slices first (seeds, pseudo masks).

    Raises:
        InputError: if an array is missing, or its slices or classes do not match the case.
    """
    items = []
    for case in cases:
        arrays = {"image": Path(cache) / f"{case.case}.npy"}
        arrays |= {key: Path(folder) / f"{case.case}.npy" for key, folder in (extra or {}).items()}
        depths = {path: _depth(path) for path in arrays.values()}
        depth = depths[arrays["image"]]
        rows = case.slice_classes if case.slice_classes is not None else (case.classes,) * depth
        for path, count in depths.items():
            if count != len(rows):
                raise InputError(
                    f"{path}: {count} slices, the case has {len(rows)}; run the stage that writes it again"
                )
        for index, row in enumerate(rows):
            classes = np.asarray(row, dtype=np.float32)
            if classes.shape != (num_classes,):
                raise InputError(f"case {case.case}: {classes.size} classes for {num_classes} labels; prepare again")
            item: dict[str, Any] = {"case": case.case, "slice": index, "classes": classes}
            items.append(item | {key: (str(path), index) for key, path in arrays.items()})
    return items


def _depth(path: Path) -> int:
    try:
        return int(np.load(path, mmap_mode="r", allow_pickle=False).shape[0])
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: missing or unreadable; run the stage that writes it") from error
