"""What `prepare` did, in numbers and names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from monai_wsss.data import PreparedDataset, Pseudonyms, Skipped, write_json
from monai_wsss.data.atomic import atomic_path
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.data.presence import sign_of
from monai_wsss.workflow.cohort_flow import CohortFlow

_NAMED = 5  # names a line; all of them stand in the JSON file
_MANY_CLASSES = 7  # from here on one line for all classes, not one for each
_ROWS = "Rows of class "
_NO_AUDIT = " cannot be audited for shortcuts:"
_PRIVATE = ("names", "root", "flow")


@dataclass
class PrepareReport:
    """Counts and lists of one `prepare`; each entry of a list names one thing, by its pseudonym.

    Attributes:
        out: the prepared folder.
        labels: class names.
        names: pseudonyms of files.
        root: the input folder; files are named from there.
        flow: the cohort flow.
        policy: of blank and uncertain labels.
        matched_by: the column of the table that matched the files.
        split_by: "column NAME", "chance, seed N", "site, NAME left out" or "date, the newest test".
        patients, cases: split -> number.
        slices: number in all.
        class_counts: class -> {"cases", "slices"} -> {"positive", "negative", "unknown"} -> number.
        skipped: files and cases left out, with reasons; they make the report incomplete.
        rows_without_file, files_without_row, ambiguous_rows, contradicting_rows: what did not match.
        duplicates, contradictions, rows_outside: rows merged, labels set to unknown, slices that do not exist.
        table_problems, table_notes: cells and columns of the table that were not understood; what was made of it.
        empty_classes: classes that lack positives or negatives.
        cropped: cases whose body reaches past the grid.
        truth_problems: masks missing or unusable.
        burned_in: cases whose header says that text is burned into the image.
        near_duplicates: pairs of cases that look the same, in different splits or of different patients.
        shortcuts: what the shortcut audit says.
        notes: other things worth knowing.
    """

    out: Path
    labels: tuple[str, ...] = ()
    names: Pseudonyms = field(default_factory=lambda: Pseudonyms(None))
    root: Path = Path()
    flow: CohortFlow = field(default_factory=CohortFlow)
    policy: dict[str, Any] = field(default_factory=dict)
    matched_by: str = ""
    split_by: str = ""
    patients: dict[str, int] = field(default_factory=dict)
    cases: dict[str, int] = field(default_factory=dict)
    slices: int = 0
    class_counts: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    rows_without_file: list[str] = field(default_factory=list)
    files_without_row: list[str] = field(default_factory=list)
    ambiguous_rows: list[str] = field(default_factory=list)
    contradicting_rows: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    rows_outside: list[str] = field(default_factory=list)
    table_problems: list[str] = field(default_factory=list)
    table_notes: list[str] = field(default_factory=list)
    empty_classes: list[str] = field(default_factory=list)
    cropped: list[str] = field(default_factory=list)
    truth_problems: list[Skipped] = field(default_factory=list)
    burned_in: list[str] = field(default_factory=list)
    near_duplicates: list[str] = field(default_factory=list)
    shortcuts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether no file was left out."""
        return not self.skipped

    def file(self, path: str | Path) -> str:
        """Return what a file below the input is called in the report."""
        return self.names.below(path, self.root)

    def skip(self, skipped: Iterable[Skipped], unit: str = "files") -> None:
        """Add files that were left out, and count them in the flow."""
        skipped = list(skipped)
        self.skipped += [Skipped(self.file(item.file), item.reason) for item in skipped]
        self.flow.exclude([item.reason for item in skipped], unit)

    def why_none(self) -> str:
        """Return what became of the volumes, where none is left."""
        if self.skipped:
            return f"the first: {self.skipped[0].reason}"
        if self.ambiguous_rows:
            return f"{len(self.ambiguous_rows)} rows mean several volumes each: make the rule narrower (--series)"
        return "; ".join(self.notes[-1:]) or "none has a row in the table"

    def skip_cases(self, skipped: Iterable[Skipped]) -> None:
        """Add cases that were left out, by the names they would have had."""
        skipped = list(skipped)
        self.skipped += skipped
        self.flow.exclude([item.reason for item in skipped], "cases")

    def count(self, dataset: PreparedDataset, slices: int) -> None:
        """Count what is in the data set."""
        self.slices = slices
        self.patients = {name: len({case.patient for case in dataset.cases(name)}) for name in SPLITS}
        self.cases = {name: len(dataset.cases(name)) for name in SPLITS}
        for k, label in enumerate(dataset.labels):
            rows = {
                "cases": [case.classes[k] for case in dataset.cases()],
                "slices": [row[k] for case in dataset.cases() for row in case.slice_classes or ()],
            }
            self.class_counts[label] = {unit: _signs(values) for unit, values in rows.items()}
            for name in SPLITS:
                known = {sign_of(row[k]) for c in dataset.cases(name) for row in (c.slice_classes or (c.classes,))}
                if dataset.cases(name):
                    lacking = (sign for sign in ("positive", "negative") if sign not in known)
                    self.empty_classes += [f"Class {label} has no {sign} in {name}" for sign in lacking]
        self.burned_in = [case.case for case in dataset.cases() if case.burned_in]
        self.flow.split(dataset)

    def write(self) -> None:
        """Write prepare.json and the cohort flow as text and picture."""
        write_json(self.out / "prepare.json", self.to_json())
        with atomic_path(self.out / "cohort_flow.txt") as part:
            part.write_text(self.flow.text(), encoding="utf-8")
        self.flow.draw(self.out / "cohort_flow.png")

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        content = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _PRIVATE}
        content["out"] = self.out.name
        content["cohort_flow"] = self.flow.to_json()
        return content | {name: [s._asdict() for s in getattr(self, name)] for name in ("skipped", "truth_problems")}

    def lines(self) -> list[str]:
        """Return the report as sentences, one a line: first what there is, then what deserves a look."""
        sizes = ", ".join(
            f"{_some(self.patients[s], 'patient')} ({_some(self.cases[s], 'case')}) in {s}" for s in self.patients
        )
        cases, patients = sum(self.cases.values()), sum(self.patients.values())
        lines = [
            f"Prepared {_some(cases, 'case')} ({_some(self.slices, 'slice')}) of {_some(patients, 'patient')} "
            f"in {self.out}.",
            f"Matched by {self.matched_by}; split by {self.split_by}: {sizes}.",
        ]
        many = len(self.labels) >= _MANY_CLASSES
        lines += self._ranges() if many else self._counts()
        table_notes, empty, shortcuts = (
            self._folded() if many else (self.table_notes, self.empty_classes, self.shortcuts)
        )
        said = table_notes + self.notes + self.table_problems + empty + shortcuts
        lines += [f"{note[0].upper()}{note[1:].removesuffix('.')}." for note in said]
        for number, one, several, named in self._findings():
            if number:
                shown = "; ".join(named[:_NAMED]) + (f"; and {number - _NAMED} more" if number > _NAMED else "")
                lines.append(f"{number} {one if number == 1 else several}: {shown}.")
        if not self.names.keeps_names:
            lines.append(
                "Names are keyed hashes, the key is OUT/key. Which file is which: --mapping FILE; data without "
                "names: --keep-names."
            )
        return lines

    def _counts(self) -> list[str]:
        lines = []
        for label in self.labels:
            counts = [f"{_listed(self.class_counts[label]['cases'])} cases"]
            if any(self.class_counts[label]["slices"].values()):
                counts.append(f"{_listed(self.class_counts[label]['slices'])} slices")
            lines.append(f"Class {label}: {'; '.join(counts)}.")
        return lines

    def _ranges(self) -> list[str]:
        """One line for all classes: the class with the fewest positives, and the one with the most."""
        lines = []
        for unit in ("cases", "slices"):
            counts = {label: self.class_counts[label][unit] for label in self.labels}
            if any(any(values.values()) for values in counts.values()):
                few, most = (choose(counts, key=lambda label: counts[label]["positive"]) for choose in (min, max))
                lines.append(
                    f"{len(counts)} classes, from {few} ({_listed(counts[few])} {unit}) to {most} "
                    f"({_listed(counts[most])} {unit}); each class in prepare.json."
                )
        return lines

    def _folded(self) -> tuple[list[str], list[str], list[str]]:
        """Notes of the table, empty classes and shortcuts, with one line for what many classes share."""
        notes = [note for note in self.table_notes if not note.startswith(_ROWS)]
        if rows := [note for note in self.table_notes if note.startswith(_ROWS)]:
            notes.append(f"Rows of {len(rows)} classes: {_row_ranges(rows)}; each class in prepare.json")
        endings = [f" has no {sign} in {split}" for split in SPLITS for sign in ("positive", "negative")]
        empty = [line for ending in endings for line in self._shared(self.empty_classes, "Class ", ending)]
        warnings = [line for line in self.shortcuts if _NO_AUDIT not in line]
        if len(warnings) > _NAMED:
            warnings[_NAMED:] = [f"{len(warnings) - _NAMED} more such warnings in shortcuts.json"]
        return notes, empty, warnings + self._shared(self.shortcuts, "", _NO_AUDIT)

    def _shared(self, lines: Sequence[str], start: str, ending: str) -> list[str]:
        """One line that names the classes of all lines that say the same of one; nothing, or the line, of fewer."""
        same = [line for line in lines if ending in line]
        if len(same) < 2:
            return same
        names = [line.split(ending)[0].removeprefix(start) for line in same]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        said = ending.strip().removesuffix(":").replace("has no", "have no")
        return [f"{len(names)} of {len(self.labels)} classes {said}: {', '.join(names[:_NAMED])}{more}"]

    def _findings(self) -> Iterable[tuple[int, str, str, Sequence[str]]]:
        skipped = [f"{s.file} ({s.reason})" for s in self.skipped]
        truth = [f"{s.file} ({s.reason})" for s in self.truth_problems]
        for one, several, named in (
            ("file or case skipped", "files or cases skipped", skipped),
            ("row without a file", "rows without a file", self.rows_without_file),
            ("file without a row", "files without a row", self.files_without_row),
            (
                "row means several volumes, not used; narrow --series",
                "rows mean several volumes, not used; narrow --series",
                self.ambiguous_rows,
            ),
            ("row whose keys mean different files", "rows whose keys mean different files", self.contradicting_rows),
            ("duplicate key, merged", "duplicate keys, merged", self.duplicates),
            ("contradiction, set to unknown", "contradictions, set to unknown", self.contradictions),
            ("row names a slice that does not exist", "rows name slices that do not exist", self.rows_outside),
            ("case is cut by the grid", "cases are cut by the grid", self.cropped),
            ("case without a usable mask", "cases without a usable mask", truth),
            (
                "case may show a name in its pixels, kept out of every picture",
                "cases may show a name in their pixels, kept out of every picture",
                self.burned_in,
            ),
            ("pair of near duplicates", "pairs of near duplicates", self.near_duplicates),
        ):
            yield len(named), one, several, named


def _signs(values: Iterable[float]) -> dict[str, int]:
    counts = Counter(sign_of(value) for value in values)
    return {sign: counts[sign] for sign in ("positive", "negative", "unknown")}


def _row_ranges(notes: Sequence[str]) -> str:
    """The fewest and the most rows of a class that say each thing: "0 to 5 present, 4 absent"."""
    counts: dict[str, list[int]] = {}
    for note in notes:
        for part in note.rpartition(": ")[2].split(", "):
            number, word = part.split(" ", 1)
            counts.setdefault(word, []).append(int(number))
    ranges = {word: (min(values), max(values)) for word, values in counts.items()}
    return ", ".join(
        f"{few} to {most} {word}" if few != most else f"{few} {word}" for word, (few, most) in ranges.items()
    )


def _listed(counts: dict[str, int]) -> str:
    return f"{counts['positive']} positive, {counts['negative']} negative, {counts['unknown']} unknown"


def _some(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
