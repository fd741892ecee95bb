"""Split a series into the volumes that it holds: by orientation, echo, b-value, and whatever else tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from monai_wsss.data.dicom.file_header import FileHeader, FrameHeader
from monai_wsss.data.dicom.geometry import Stack
from monai_wsss.data.dicom.geometry import stack as build_stack
from monai_wsss.data.dicom.planes import plane_of
from monai_wsss.errors import InputError

_SAME_DIRECTION = 1e-3  # cosines of slices of one orientation differ by less
_SAME_SPACING = 1e-3  # mm
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_SMALLEST_PART = 3  # slices: fewer prove nothing, any two make a regular stack


@dataclass(frozen=True, slots=True)
class Slice:
    """One frame of a file; `index` counts from 0."""

    file: FileHeader
    index: int = 0

    @property
    def frame(self) -> FrameHeader:
        """Its geometry and contrast."""
        return self.file.frames[self.index]


@dataclass(frozen=True, eq=False)
class Part:
    """Slices of one volume, in order if `stack` is there; else `problem` says why they make none."""

    slices: tuple[Slice, ...]
    name: str = ""
    stack: Stack | None = None
    problem: str = ""


Label = Callable[[Any, int], str]  # of a key, and of its number among the keys counted from 1


def split_slices(slices: Sequence[Slice], resample: bool = False) -> list[Part]:
    """Return the volumes of a series of slices with positions.

    Orientation, echo time, b-value, stack, matrix and pixel size always part slices. Image type, time point and
    acquisition do so only where the slices make no volume together and do when parted.

    Args:
        slices: of one series, in any fixed order.
        resample: see `stack`.
    """
    found = []
    for labels, group in _part_always(slices):
        for more, part, built, problem in _resolve(group, resample, _SOFT):
            found.append((", ".join(filter(None, (labels, more))), part, built, problem))
    return [
        Part(part, name, built, problem)
        for name, (_, part, built, problem) in zip(_unique([entry[0] for entry in found]), found, strict=True)
    ]


def _part_always(slices: Sequence[Slice]) -> list[tuple[str, list[Slice]]]:
    directions = _clusters([s.frame.orientation for s in slices], _SAME_DIRECTION)
    spacings = _clusters([s.frame.spacing for s in slices], _SAME_SPACING)
    columns: list[tuple[list[Hashable], Label]] = [
        ([directions[s.frame.orientation] for s in slices], lambda key, _: _plane(key)),
        ([_rounded(s.frame.echo_time, 1) for s in slices], lambda key, _: f"echo time {_text(key, 'ms')}"),
        (
            [s.frame.echo_number if s.frame.echo_time is None else None for s in slices],
            lambda key, _: f"echo {_text(key)}",
        ),
        ([_rounded(s.frame.b_value, 0) for s in slices], lambda key, _: f"b {_text(key, 's/mm2')}"),
        ([s.frame.stack for s in slices], lambda key, _: f"stack {key or 'unknown'}"),
        (
            [str(s.file.path) if len(s.file.frames) > 1 else "" for s in slices],
            lambda key, number: f"object {number}" if key else "single slices",
        ),
        ([s.file.tags.photometric in _COLOURS for s in slices], lambda key, _: "colour" if key else "grey"),
        ([(s.file.columns, s.file.rows) for s in slices], lambda key, _: f"{key[0]} x {key[1]} pixels"),
        (
            [spacings[s.frame.spacing] for s in slices],
            lambda key, _: f"pixels of {key[1]:.3g} x {key[0]:.3g} mm" if key else "pixels of unknown size",
        ),
    ]
    groups: dict[tuple[Hashable, ...], list[Slice]] = {}
    for entry, *key in zip(slices, *(keys for keys, _ in columns), strict=True):
        groups.setdefault(tuple(key), []).append(entry)
    shown = _telling_columns(list(groups), len(columns))
    labels = {k: _labels([key[k] for key in groups], columns[k][1]) for k in shown}
    return [(", ".join(labels[k][key[k]] for k in shown), group) for key, group in groups.items()]


def _telling_columns(keys: list[tuple[Hashable, ...]], width: int) -> list[int]:
    """Return the first columns that together tell all keys apart."""
    shown: list[int] = []
    told_apart = 1
    for k in range(width):
        distinct = len({tuple(key[i] for i in (*shown, k)) for key in keys})
        if distinct > told_apart:
            told_apart = distinct
            shown.append(k)
    return shown


def _labels(keys: Iterable[Any], label: Label) -> dict[Any, str]:
    distinct = sorted(dict.fromkeys(keys), key=_sortable)
    return {key: label(key, number) for key, number in zip(distinct, count(1))}


_SOFT: tuple[tuple[Callable[[Slice], Hashable], Callable[[Any, int, list[Any]], str]], ...] = (
    (lambda s: s.frame.image_type, lambda key, _, keys: f"image type {_own_values(key, keys)}"),
    (lambda s: s.frame.temporal, lambda key, number, _: f"time point {number}"),
    (lambda s: s.frame.acquisition, lambda key, number, _: f"acquisition {_text(key)}"),
    (lambda s: s.frame.trigger, lambda key, _, __: f"{_text(key, 'ms')} after the trigger"),
    (lambda s: s.frame.time, lambda key, number, _: f"repetition {number}"),
)
_Resolved = tuple[str, tuple[Slice, ...], Stack | None, str]


def _resolve(slices: list[Slice], resample: bool, attributes: Sequence[Any]) -> list[_Resolved]:
    """Return (label, slices, stack, problem) of each part."""
    built, problem = _stacked(slices, False)
    if built is None:
        repeats = _repeats(slices)
        for k, (key, label) in enumerate(attributes):
            groups: dict[Any, list[Slice]] = {}
            for entry in slices:
                groups.setdefault(key(entry), []).append(entry)
            if len(groups) > 1 and _helps(list(groups.values()), repeats):
                keys, others = sorted(groups, key=_sortable), (*attributes[:k], *attributes[k + 1 :])
                return [
                    (", ".join(filter(None, (label(value, number, keys), more))), part, stack, why)
                    for number, value in enumerate(keys, 1)
                    for more, part, stack, why in _resolve(groups[value], resample, others)
                ]
        if resample:
            built, problem = _stacked(slices, True)
    if built is not None:
        slices = [slices[k] for k in built.order]
    return [("", tuple(slices), built, problem)]


def _helps(groups: list[list[Slice]], repeats: int) -> bool:
    """Whether groups repeat positions less; or, where none was repeated, whether each is a proper volume."""
    if repeats > 1:
        return len(groups) <= repeats and max(_repeats(group) for group in groups) < repeats
    return all(len(group) >= _SMALLEST_PART and _stacked(group, False)[0] is not None for group in groups)


def _stacked(slices: list[Slice], resample: bool) -> tuple[Stack | None, str]:
    file, frame = slices[0].file, slices[0].frame
    if frame.orientation is None or frame.spacing is None:
        return None, f"no {'orientation' if frame.orientation is None else 'pixel spacing'} in its header"
    positions = _positions(slices)
    if len(positions) < len(slices):
        return None, f"{len(slices) - len(positions)} of {len(slices)} slices have no position"
    try:
        size = (file.columns, file.rows)
        return build_stack(positions, frame.orientation, frame.spacing, *size, resample, frame.thickness), ""
    except InputError as error:
        return None, str(error)


def _positions(slices: list[Slice]) -> list[tuple[float, ...]]:
    return [entry.frame.position for entry in slices if entry.frame.position is not None]


def _repeats(slices: list[Slice]) -> int:
    """Return how many slices lie at the most frequent depth."""
    orientation, positions = slices[0].frame.orientation, _positions(slices)
    if orientation is None or not positions:
        return 1
    normal = np.cross(orientation[:3], orientation[3:])
    return max(Counter(np.round(np.asarray(positions) @ normal, 2)).values())


def _clusters(vectors: Iterable[tuple[float, ...] | None], tolerance: float) -> dict[Any, Any]:
    """Return for each vector the first one that differs from it by no more than `tolerance`."""
    centres: list[tuple[float, ...]] = []
    nearest: dict[Any, Any] = {None: None}
    for vector in vectors:
        if vector not in nearest and vector is not None:
            close = [c for c in centres if max(abs(a - b) for a, b in zip(c, vector, strict=True)) <= tolerance]
            if not close:
                centres.append(vector)
            nearest[vector] = close[0] if close else vector
    return nearest


def _unique(names: list[str]) -> list[str]:
    """Number names that occur more than once."""
    total, seen, result = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        result.append(name if total[name] == 1 else f"{name or 'part'} {seen[name]}")
    return result


def _own_values(key: str, keys: list[str]) -> str:
    r"""Return the values of ORIGINAL\PRIMARY\M that not all image types have."""
    common = set.intersection(*({*value.split("\\")} for value in keys))
    return " ".join(value.strip() for value in key.split("\\") if value not in common) or "other"


def _plane(orientation: tuple[float, ...] | None) -> str:
    return plane_of(orientation)[0] if orientation else "unknown orientation"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _text(value: float | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:g} {unit}".strip()


def _sortable(key: Any) -> tuple[bool, Any]:
    return (key is not None, key if key is not None else 0)
