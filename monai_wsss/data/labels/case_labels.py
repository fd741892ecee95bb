"""One volume's labels from all rows that speak of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from monai_wsss.data.labels.label_values import ABSENT, BLANK, MASK, PRESENT, UNCERTAIN, UNKNOWN, LabelPolicy
from monai_wsss.data.labels.labels_table import Row

_WEAKEST_FIRST = (BLANK, UNCERTAIN, UNKNOWN, ABSENT, PRESENT)
_CLASH = -4  # rows of one slice, or of the volume, that say present and absent
_SHOWN = 5  # lines in a message


@dataclass(frozen=True)
class CaseLabels:
    """`classes` and `slice_classes` as in `Case`; the rest are the rows that were merged or overruled."""

    classes: tuple[float, ...]
    slice_classes: tuple[tuple[float, ...], ...] | None
    duplicates: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)


def merge_rows(rows: Sequence[Row], labels: Sequence[str], depth: int, policy: LabelPolicy | None = None) -> CaseLabels:
    """Merge the rows of one volume of `depth` slices, then apply the policy.

    Rows of one slice (or of the volume) that agree count once; present and absent beat uncertain, which beats blank.
    Where rows hold both present and absent the label is unknown, whatever the policy. A volume is present if any slice
    is, absent if all are, and has its slices' highest label if all have one; its own row comes first, but if one says
    present and the other absent, its labels are unknown. In an absent volume the slices that are blank, uncertain or
    named by no row are absent; elsewhere those that no row names are unknown, and no policy touches them. If the policy
    leaves a present volume no slice above 0, its slices that no row calls absent are unknown.

    Args:
        rows: as `match_rows` gives them, with slices below `depth`.
        labels: class names.
        depth: number of slices.
        policy: for blank and uncertain labels; by default both are unknown.
    """
    policy = policy or LabelPolicy()
    groups: dict[int | None, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.slice].append(row)
    duplicates: list[str] = []
    contradictions: list[str] = []
    merged = {key: _merge_group(group, labels, duplicates, contradictions) for key, group in groups.items()}
    volume = merged.pop(None, np.full(len(labels), UNKNOWN))
    if not merged:
        return CaseLabels(_plain(policy.apply(volume)), None, duplicates, contradictions)

    codes = np.tile(np.where(volume == ABSENT, ABSENT, UNKNOWN), (depth, 1))
    for index, values in merged.items():
        if index is not None:
            codes[index] = np.where((volume == ABSENT) & np.isin(values, (UNCERTAIN, BLANK)), ABSENT, values)
    any_present, all_absent = (codes == PRESENT).any(0), (codes == ABSENT).all(0)
    clash = ((volume == ABSENT) & any_present) | ((volume == PRESENT) & all_absent)
    contradictions += [
        f"{_lines(rows)}: {label} of the volume against its slices"
        for label, bad in zip(labels, clash, strict=True)
        if bad
    ]
    codes[:, clash] = UNKNOWN
    slices = policy.apply(codes)
    hidden = (volume == PRESENT) & ~(slices > 0).any(0)  # the finding is in a slice that the policy took for absent
    slices[hidden & (codes != ABSENT)] = MASK
    highest = np.where((slices == 1).any(0) | (slices != MASK).all(0), slices.max(0), MASK)
    own = np.where(np.isin(volume, (PRESENT, ABSENT, _CLASH)) | (highest == MASK), policy.apply(volume), highest)
    return CaseLabels(_plain(np.where(clash, MASK, own)), tuple(map(_plain, slices)), duplicates, contradictions)


def _merge_group(
    rows: Sequence[Row], labels: Sequence[str], duplicates: list[str], contradictions: list[str]
) -> np.ndarray:
    values = np.array([row.classes for row in rows])
    clash = (values == PRESENT).any(0) & (values == ABSENT).any(0)
    if clash.any():
        names = ", ".join(label for label, bad in zip(labels, clash, strict=True) if bad)
        contradictions.append(f"{_lines(rows)}: {names} is both present and absent")
    elif len(rows) > 1:
        duplicates.append(_lines(rows))
    merged = values[0]
    for code in _WEAKEST_FIRST:
        merged = np.where((values == code).any(0), code, merged)
    return np.where(clash, _CLASH, merged)


def _lines(rows: Sequence[Row]) -> str:
    named = ", ".join(str(row.line) for row in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"line{'s' if len(rows) > 1 else ''} {named}{more}"


def _plain(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(int(value) if value in (0, 1, -1) else float(value) for value in values)
