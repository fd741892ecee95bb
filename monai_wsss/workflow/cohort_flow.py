"""The cohort flow: what was found, what was left out and why, what went into each split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from monai_wsss.data import PreparedDataset, atomic_path
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.data.presence import sign_of

_SINGULAR = {"studies": "study", "series": "series"}
_NO_BREAK = "\u00a0"
_GROUPS = (
    (r"slices? (is|are) missing", "slices are missing"),
    (r"have the same position", "two slices at one position"),
)
_SHOWN_REASONS = 6  # in the picture; the text has them all
_SHOWN_CLASSES = 15
_FONT, _TITLE_FONT, _LINE, _PADDING, _GAP = 30, 34, 42, 20, 60  # pixels
_WIDTH, _MARGIN = 1800, 50
_INK, _TITLE_INK, _FILL, _SIDE_FILL = "#1a1a1a", "#0b3c6f", "#eef3f8", "#faf3e8"


@dataclass(frozen=True)
class _Step:
    title: str
    counts: dict[str, int]
    excluded: Counter[tuple[str, str]] = field(default_factory=Counter)  # (reason, unit)

    def total(self) -> str:
        """What was left out after it, by unit."""
        units: Counter[str] = Counter()
        for (_, unit), number in self.excluded.items():
            units[unit] += number
        return _counts(units)

    def reasons(self) -> list[tuple[str, str]]:
        """Reasons with their numbers as text, the most frequent first; with the unit where there are several."""
        several = len({unit for _, unit in self.excluded}) > 1
        ranked = sorted(self.excluded.items(), key=lambda item: (-item[1], item[0]))
        return [(reason, _count(n, unit) if several else f"{n:,}") for (reason, unit), n in ranked]


class CohortFlow:
    """Counts only, no names: found, excluded by reason, labelled, split.

    Call `step` for each stage of the choice, `exclude` for what was left out after it, and `split` at the end.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._splits: dict[str, dict[str, Any]] = {}
        self._labels: tuple[str, ...] = ()

    def step(self, title: str, **counts: int) -> None:
        """Add a stage such as "Found", with what it counts by plural: files=530, series=524, patients=340."""
        self._steps.append(_Step(title, counts))

    def exclude(self, reasons: Iterable[str], unit: str = "files") -> None:
        """Add what was left out after the last step: one reason for each thing, see `reason_group`."""
        self._steps[-1].excluded.update((reason_group(reason), unit) for reason in reasons)

    def split(self, dataset: PreparedDataset) -> None:
        """Add the splits: patients, cases, sites, and per class the cases (and slices) with and without it."""
        self._labels = dataset.labels
        if self._steps and self._steps[-1].excluded:
            self.step("Included", cases=len(dataset.cases()), patients=len({c.patient for c in dataset.cases()}))
        for name in SPLITS:
            cases = dataset.cases(name)
            classes = {}
            for k, label in enumerate(dataset.labels):
                signs = Counter(sign_of(case.classes[k]) for case in cases)
                rows = [row[k] for case in cases for row in case.slice_classes or ()]
                slices = Counter(sign_of(value) for value in rows)
                classes[label] = {"cases": dict(signs), "slices": dict(slices)}
            self._splits[name] = {
                "patients": len({case.patient for case in cases}),
                "cases": len(cases),
                "sites": len({case.site for case in cases if case.site}),
                "classes": classes,
            }

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        steps = [
            {
                "step": step.title,
                "counts": step.counts,
                "excluded": [
                    {"reason": r, "unit": unit, "number": n} for (r, unit), n in sorted(step.excluded.items())
                ],
            }
            for step in self._steps
        ]
        return {"steps": steps, "splits": self._splits}

    def text(self) -> str:
        """Return the flow as aligned lines."""
        lines = []
        width = max((len(step.title) for step in self._steps), default=0) + 2
        for step in self._steps:
            lines.append(f"{step.title:<{width}}" + _counts(step.counts))
            if step.excluded:
                lines.append(f"{'':<4}excluded: {step.total()}")
                lines += [f"{number:>12}  {reason}" for reason, number in step.reasons()]
        if self._splits:
            lines += ["", *self._table()]
        return "\n".join(lines) + "\n"

    def draw(self, path: str | Path) -> None:
        """Write the flow as a PNG, boxes and arrows."""
        picture = _Drawing()
        for number, step in enumerate(self._steps):
            picture.main([step.title, _counts(step.counts)])
            reasons = step.reasons()
            side = [f"{reason} {_unbroken(f'(n = {n})')}" for reason, n in reasons[:_SHOWN_REASONS]]
            if len(reasons) > _SHOWN_REASONS:
                side.append(f"and {_count(len(reasons) - _SHOWN_REASONS, 'other reasons')}")
            last = number == len(self._steps) - 1
            if side or not last:
                picture.gap([f"Excluded: {step.total()}", *side] if side else [])
        if self._splits:
            picture.fork([self._split_lines(name) for name in SPLITS])
        with atomic_path(path) as part:
            picture.crop().save(part)

    def _split_lines(self, name: str) -> list[str]:
        split, all_splits = self._splits[name], self._splits.values()
        lines = [name.capitalize(), _count(split["patients"], "patients"), _count(split["cases"], "cases")]
        if split["sites"]:
            lines.append(_count(split["sites"], "sites"))
        for unit in ("cases", "slices"):
            shown = [f"    {label}: {self._positives(name, label, unit)}" for label in self._labels[:_SHOWN_CLASSES]]
            if unit == "cases" or any(split["classes"][label][unit] for split in all_splits for label in self._labels):
                lines += [f"Positive {unit} (of those known)", *shown]
        if len(self._labels) > _SHOWN_CLASSES:
            lines.append(f"and {len(self._labels) - _SHOWN_CLASSES} more classes")
        return lines

    def _positives(self, name: str, label: str, unit: str) -> str:
        signs = self._splits[name]["classes"][label][unit]
        positive = signs.get("positive", 0)
        return _unbroken(f"{positive:,} of {positive + signs.get('negative', 0):,}")

    def _table(self) -> list[str]:
        splits = [self._splits[name] for name in SPLITS]
        rows = [(unit, [split[unit] for split in splits]) for unit in ("patients", "cases")]
        if any(split["sites"] for split in splits):
            rows.append(("sites", [split["sites"] for split in splits]))
        for label in self._labels:
            for unit in ("cases", "slices"):
                for sign in ("positive", "negative", "unknown"):
                    numbers = [split["classes"][label][unit].get(sign, 0) for split in splits]
                    if any(numbers) or (unit == "cases" and sign == "positive"):
                        rows.append((f"{label}, {sign} {unit}", numbers))
        width = max(len(title) for title, _ in rows) + 2
        head = " " * width + "".join(f"{name:>12}" for name in SPLITS)
        return [head, *(f"{title:<{width}}" + "".join(f"{n:>12}" for n in numbers) for title, numbers in rows)]


def reason_group(reason: str) -> str:
    """Return `reason` up to the first of : ; ( without its numbers, so that like reasons are counted together."""
    reason = re.sub(r"^\d+ of \d+ \w+: ", "", reason)  # how much of a series it concerns
    for words, group in _GROUPS:
        if re.search(words, reason):
            return group
    return re.sub(r"\d+(?:\.\d+)?", "N", re.split(r"[:;(]", reason, maxsplit=1)[0]).strip() or "no reason given"


def _count(number: int, plural: str) -> str:
    return f"{number:,} {plural}" if number != 1 else f"1 {_SINGULAR.get(plural, plural.removesuffix('s'))}"


def _unbroken(text: str) -> str:
    return text.replace(" ", _NO_BREAK)


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(_count(number, plural) for plural, number in numbers.items())


class _Drawing:
    """A page that grows downwards: boxes in the middle, boxes beside the arrow, a last row of three."""

    def __init__(self) -> None:
        self._page = Image.new("RGB", (_WIDTH, 8000), "white")
        self._draw = ImageDraw.Draw(self._page)
        self._font, self._title_font = ImageFont.load_default(_FONT), ImageFont.load_default(_TITLE_FONT)
        self._top = _MARGIN

    def main(self, lines: Sequence[str]) -> None:
        """A box in the middle."""
        self._top += self._box(_WIDTH / 2 - 420, self._top, 840, lines, centred=True)

    def gap(self, side: Sequence[str]) -> None:
        """An arrow down, with an arrow to a box on the right if there are lines."""
        left, width = _WIDTH / 2 + 90, _WIDTH / 2 - 90 - _MARGIN
        height = self._height(side, width) if side else 0
        bottom = self._top + height + (2 if side else 1) * _GAP
        self._arrow((_WIDTH / 2, self._top), (_WIDTH / 2, bottom))
        if side:
            self._box(left, self._top + _GAP, width, side, fill=_SIDE_FILL)
            self._arrow((_WIDTH / 2, self._top + _GAP + height / 2), (left, self._top + _GAP + height / 2))
        self._top = bottom

    def fork(self, columns: Sequence[Sequence[str]]) -> None:
        """A row of boxes of one height, an arrow to each."""
        width = (_WIDTH - 2 * _MARGIN - (len(columns) - 1) * _GAP / 2) / len(columns)
        height = max(self._height(lines, width) for lines in columns)
        bar, boxes = self._top + _GAP, self._top + 2 * _GAP
        centres = [_MARGIN + width / 2 + number * (width + _GAP / 2) for number in range(len(columns))]
        self._draw.line([(_WIDTH / 2, self._top), (_WIDTH / 2, bar)], _INK, 3)
        self._draw.line([(centres[0], bar), (centres[-1], bar)], _INK, 3)
        for centre, lines in zip(centres, columns, strict=True):
            self._arrow((centre, bar), (centre, boxes))
            self._box(centre - width / 2, boxes, width, lines, height)
        self._top = int(boxes + height)

    def crop(self) -> Image.Image:
        """The page down to its last box."""
        return self._page.crop((0, 0, _WIDTH, self._top + _MARGIN))

    def _wrap(self, line: str, width: float) -> list[str]:
        """Return rows that fit; what hangs over is indented, a word that never fits is cut."""
        indent = line[: len(line) - len(line.lstrip())]
        rows = [indent]
        for word in line.strip().split(" "):
            longer = f"{rows[-1]} {word}" if rows[-1].strip() else rows[-1] + word
            if rows[-1].strip() and self._font.getlength(longer) > width:
                rows.append(f"{indent}    {word}")
            else:
                rows[-1] = longer
        return [self._cut(row.replace(_NO_BREAK, " "), width) for row in rows]  # the font has no such space

    def _cut(self, row: str, width: float) -> str:
        if self._font.getlength(row) <= width:
            return row
        while self._font.getlength(row + "...") > width:
            row = row[:-1]
        return row + "..."

    def _rows(self, lines: Sequence[str], width: float) -> list[tuple[str, bool]]:
        return [
            (row, number == 0) for number, line in enumerate(lines) for row in self._wrap(line, width - 3 * _PADDING)
        ]

    def _height(self, lines: Sequence[str], width: float) -> int:
        return len(self._rows(lines, width)) * _LINE + 2 * _PADDING

    def _box(
        self,
        left: float,
        top: float,
        width: float,
        lines: Sequence[str],
        height: int = 0,
        fill: str = _FILL,
        centred: bool = False,
    ) -> int:
        rows = self._rows(lines, width)
        height = height or self._height(lines, width)
        self._draw.rounded_rectangle((left, top, left + width, top + height), 10, fill, _INK, 3)
        for number, (row, is_title) in enumerate(rows):
            y = top + _PADDING + number * _LINE + _LINE / 2
            x, anchor = (left + width / 2, "mm") if centred else (left + _PADDING, "lm")
            colour, font = (_TITLE_INK, self._title_font) if is_title else (_INK, self._font)
            self._draw.text((x, y), row, colour, font, anchor)
        return height

    def _arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        (x0, _), (x1, y1) = start, end
        self._draw.line([start, end], _INK, 3)
        head = [(x1 - 14, y1 - 22), (x1 + 14, y1 - 22)] if x0 == x1 else [(x1 - 22, y1 - 14), (x1 - 22, y1 + 14)]
        self._draw.polygon([end, *head], _INK)
