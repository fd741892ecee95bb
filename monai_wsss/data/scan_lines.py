"""The report of a scan as text: how much there is, which kinds of series, what is wrong, and few series one by one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from monai_wsss.data.discovery import is_harmless
from monai_wsss.data.scan_rules import proposed_rules

if TYPE_CHECKING:
    from monai_wsss.data.scan import ScannedSeries, ScanReport

_MAX_KINDS = 30  # lines
_MAX_SERIES = 40  # that are listed one by one
_WIDE = 28  # letters of a description, and of its part
_LINE = 160  # letters
_SHORT = 7  # letters of a pseudonym, more where two would look alike


def scan_lines(report: ScanReport) -> list[str]:
    """Return the lines of the report."""
    series = report.series
    lines = [*_totals(series), *_kinds([entry for entry in series if not entry.problem]), *_problems(report)]
    ignored = [_count(count, kind) for kind, count in sorted(report.ignored.items())]
    harmless = Counter(item.reason for item in report.skipped if is_harmless(item))
    ignored += [f"{count:,} x {reason}" for reason, count in sorted(harmless.items())]
    if ignored:
        lines += ["", "Ignored: " + "; ".join(ignored)]
    if 1 < len(series) <= _MAX_SERIES:
        lines += ["", "One by one:", *_one_by_one(series)]
    return lines


def _totals(series: Sequence[ScannedSeries]) -> list[str]:
    dicom = [entry for entry in series if entry.kind == "dicom"]
    kinds = Counter(entry.kind for entry in series)
    counts = []
    if dicom:
        counts.append(_count(len({entry.patient for entry in dicom} - {""}), "patient"))
        counts.append(_count(len({(entry.patient, entry.study) for entry in dicom}), "study", "studies"))
        counts.append(f"{len({(entry.patient, entry.study, entry.series) for entry in dicom}):,} DICOM series")
        counts.append(_count(sum(entry.files for entry in dicom), "DICOM file"))
    words = {"nifti": "NIfTI file", "picture": "picture"}
    counts += [_count(kinds[kind], word) for kind, word in words.items() if kinds[kind]]
    usable, size = sum(not entry.problem for entry in series), sum(entry.megabytes for entry in series)
    lines = [", ".join(counts), f"{usable:,} of {_count(len(series), 'volume')} can be used ({_size(size)})"]
    anonymous = len({entry.study for entry in dicom if not entry.patient})
    if anonymous:
        studies = _count(anonymous, "study", "studies")
        lines.append(f"{studies} without a patient's ID: whose they are must stand in the labels table")
    return lines


def _kinds(usable: Sequence[ScannedSeries]) -> list[str]:
    kinds: dict[tuple[str, ...], list[ScannedSeries]] = {}
    for entry in usable:
        kinds.setdefault((_modality(entry), _description(entry), entry.plane), []).append(entry)
    if not kinds:
        return []
    rows = [["volumes", "studies", "type", "description", "plane", "slices", "voxels, mm", "stored as"]]
    stacks = {kind for kind, alike in kinds.items() if max(entry.slices for entry in alike) > 1}  # before localizers
    ranked = sorted(kinds.items(), key=lambda kind: (kind[0] not in stacks, -len(kind[1]), kind[0]))
    for (modality, description, plane), alike in ranked[:_MAX_KINDS]:
        studies = len({(entry.patient, entry.study) for entry in alike}) if alike[0].study else ""
        syntaxes = Counter(entry.transfer_syntax for entry in alike if entry.transfer_syntax)
        more = f" +{len(syntaxes) - 1}" if len(syntaxes) > 1 else ""
        stored = f"{syntaxes.most_common(1)[0][0]}{more}" if syntaxes else ""
        sizes = [_range([entry.slices for entry in alike]), _spacing(alike), stored]
        rows.append([f"{len(alike):,}", str(studies), modality, description, plane, *sizes])
    more_kinds = [f"and {len(kinds) - _MAX_KINDS} more kinds, see the JSON file"] if len(kinds) > _MAX_KINDS else []
    lines = ["", "Usable:", *_table(rows, right=(0, 1, 5)), *more_kinds]
    rules = proposed_rules(usable)
    lines += ["Rules that choose, for example:", *(f"  {rule}" for rule in rules)] if rules else []
    burned = sum(entry.burned_in == "YES" for entry in usable)
    if burned:
        lines.append(f"{_count(burned, 'volume')} may show text burned into the pixels, such as a name")
    return lines


def _problems(report: ScanReport) -> list[str]:
    found: dict[str, list[tuple[str, str]]] = {}
    reasons = [(entry.problem, entry.file) for entry in report.series if entry.problem]
    for reason, place in reasons + [(item.reason, item.file) for item in report.skipped if not is_harmless(item)]:
        found.setdefault(re.sub(r"\d+(\.\d+)?", "N", reason), []).append((reason, place))
    rows = [["", ""]]
    for general, cases in sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        exact = {reason for reason, _ in cases}
        place = f" ({cases[0][1]}{', ...' if len(cases) > 1 else ''})" if report.clear else ""
        rows.append([f"{len(cases):,}", (exact.pop() if len(exact) == 1 else general) + place])
    return ["", "Not usable:", *_table(rows, right=(0,))[1:]] if found else []


def _one_by_one(series: Sequence[ScannedSeries]) -> list[str]:
    short = [_shortened(getattr(entry, name) for entry in series) for name in ("patient", "study", "series")]
    rows = [["patient", "study", "series", "type", "description", "plane", "slices", "voxels, mm", "stored as"]]
    for entry in series:
        places = [short[0][entry.patient], short[1][entry.study], short[2][entry.series] or _shorten(entry.file, 20)]
        what = [_modality(entry), _description(entry), entry.plane, str(entry.slices), _spacing([entry])]
        rows.append([*places, *what, _shorten(entry.transfer_syntax, 20)])
    lines = _table(rows, right=(6,))
    width = max(map(len, lines))
    room = max(_LINE - width - 2, 20)
    usable = ["usable", *(_shorten(entry.problem or "yes", room) for entry in series)]
    return [f"{line.ljust(width)}  {text}" for line, text in zip(lines, usable, strict=True)]


def _table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Align columns below the titles in the first row; empty columns are left out."""
    shown = [k for k in range(len(rows[0])) if any(row[k] for row in rows[1:])]
    widths = {k: max(len(row[k]) for row in rows) for k in shown}
    cells = [[row[k].rjust(widths[k]) if k in right else row[k].ljust(widths[k]) for k in shown] for row in rows]
    return ["  " + "  ".join(row).rstrip() for row in cells]


def _modality(entry: ScannedSeries) -> str:
    return entry.modality or {"nifti": "NIfTI", "picture": "picture"}.get(entry.kind, "?")


def _description(entry: ScannedSeries) -> str:
    part = f"[{_shorten(entry.part, _WIDE)}]" if entry.part else ""
    return " ".join(filter(None, (_shorten(entry.description, _WIDE), part)))


def _spacing(entries: Sequence[ScannedSeries]) -> str:
    known = [entry.spacing for entry in entries if entry.spacing is not None]
    if not known:
        return "unknown" if all(not entry.problem for entry in entries) else ""
    axes = 2 if all(entry.slices == 1 for entry in entries) else 3
    return " x ".join(_range([round(spacing[axis], 2) for spacing in known]) for axis in range(axes))


def _range(values: Sequence[float]) -> str:
    return "-".join(dict.fromkeys(f"{value:g}" for value in (min(values), max(values))))


def _shortened(names: Iterable[str]) -> dict[str, str]:
    """Return name -> as few of its first letters as still tell the names apart."""
    distinct = set(names)
    for length in range(_SHORT, max(map(len, distinct), default=0)):
        if len({name[:length] for name in distinct}) == len(distinct):
            return {name: name[:length] for name in distinct}
    return {name: name for name in distinct}


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."


def _count(number: int, word: str, several: str = "") -> str:
    return f"{number:,} {word if number == 1 else several or word + 's'}"


def _size(megabytes: float) -> str:
    return f"{megabytes / 1000:,.1f} GB" if megabytes >= 1000 else f"{megabytes:,.1f} MB"
