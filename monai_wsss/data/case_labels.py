"""One volume's labels from all rows that speak of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monai_wsss.data.labels_table import Row

UNKNOWN = -1


@dataclass(frozen=True)
class CaseLabels:
    """`classes` and `slice_classes` as in `Case`; the rest are the rows that were merged, overruled or left out."""

    classes: tuple[int, ...]
    slice_classes: tuple[tuple[int, ...], ...] | None
    duplicates: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def merge_rows(rows: Sequence[Row], labels: Sequence[str], depth: int) -> CaseLabels:
    """Merge the rows of one volume of `depth` slices.

    Rows of one slice (or of the volume) that agree count once; where they hold both 0 and 1 the label is unknown. A
    volume is positive if any slice is, negative if all are; if its own row says otherwise, its labels are unknown.
    Slices that no row names take a negative volume's 0, else they are unknown.
    """
    groups: dict[int | None, list[Row]] = defaultdict(list)
    outside = []
    for row in rows:
        if row.slice is not None and row.slice >= depth:
            outside.append(f"{row} (line {row.line}): the volume has slices 0 to {depth - 1}")
        else:
            groups[row.slice].append(row)
    duplicates: list[str] = []
    contradictions: list[str] = []
    merged = {key: _merge_group(group, labels, duplicates, contradictions) for key, group in groups.items()}
    volume = merged.pop(None, np.full(len(labels), UNKNOWN))
    if not merged:
        return CaseLabels(_plain(volume), None, duplicates, contradictions, outside)

    slices = np.tile(np.where(volume == 0, 0, UNKNOWN), (depth, 1))
    for index, values in merged.items():
        if index is not None:
            slices[index] = values
    derived = np.where((slices == 1).any(0), 1, np.where((slices == 0).all(0), 0, UNKNOWN))
    clash = (volume != UNKNOWN) & (derived != UNKNOWN) & (volume != derived)
    name = next(iter(rows[0].keys.values()))
    contradictions += [
        f"{name}: {label} of the volume against its slices" for label, bad in zip(labels, clash, strict=True) if bad
    ]
    slices[:, clash] = UNKNOWN
    classes = np.where(clash, UNKNOWN, np.where(volume != UNKNOWN, volume, derived))
    return CaseLabels(_plain(classes), tuple(map(_plain, slices)), duplicates, contradictions, outside)


def _merge_group(
    rows: Sequence[Row], labels: Sequence[str], duplicates: list[str], contradictions: list[str]
) -> np.ndarray:
    values = np.array([row.classes for row in rows])
    positive, negative = (values == 1).any(0), (values == 0).any(0)
    clash = positive & negative
    lines = ", ".join(str(row.line) for row in rows)
    if clash.any():
        names = ", ".join(label for label, bad in zip(labels, clash, strict=True) if bad)
        contradictions.append(f"{rows[0]} (lines {lines}): {names} is both 0 and 1")
    elif len(rows) > 1:
        duplicates.append(f"{rows[0]} (lines {lines})")
    return np.where(clash, UNKNOWN, np.where(positive, 1, np.where(negative, 0, UNKNOWN)))


def _plain(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
