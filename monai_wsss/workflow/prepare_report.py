"""What `prepare` did, in numbers and names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from monai_wsss.data import Skipped

_NAMED = 5  # names a line; all of them stand in the JSON file


@dataclass
class PrepareReport:
    """Counts and lists of one `prepare`; each entry of a list names one thing.

    Attributes:
        out: the prepared folder.
        labels: class names.
        matched_by: the column of the table that matched the files.
        split_by: "column NAME" or "chance, seed N".
        patients, cases: split -> number.
        slices: number in all.
        positive_slices, positive_cases: class -> number; slices as labelled, 0 where only volumes are.
        skipped: files left out, with reasons; they make the report incomplete.
        rows_without_file, files_without_row, ambiguous_rows: what did not match.
        duplicates, contradictions, rows_outside: rows merged, labels set to unknown, slices that do not exist.
        table_problems: cells and columns of the table that were not understood.
        empty_classes: classes that lack positives or negatives.
        cropped: cases whose body reaches past the grid.
        truth_problems: masks missing or unusable.
        notes: other things worth knowing.
    """

    out: Path
    labels: tuple[str, ...] = ()
    matched_by: str = ""
    split_by: str = ""
    patients: dict[str, int] = field(default_factory=dict)
    cases: dict[str, int] = field(default_factory=dict)
    slices: int = 0
    positive_cases: dict[str, int] = field(default_factory=dict)
    positive_slices: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    rows_without_file: list[str] = field(default_factory=list)
    files_without_row: list[str] = field(default_factory=list)
    ambiguous_rows: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    rows_outside: list[str] = field(default_factory=list)
    table_problems: list[str] = field(default_factory=list)
    empty_classes: list[str] = field(default_factory=list)
    cropped: list[str] = field(default_factory=list)
    truth_problems: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether no file was left out."""
        return not self.skipped

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        content = asdict(self) | {"out": str(self.out)}
        return content | {name: [s._asdict() for s in getattr(self, name)] for name in ("skipped", "truth_problems")}

    def lines(self) -> list[str]:
        """Return the report as sentences, one a line: first what there is, then what deserves a look."""
        sizes = ", ".join(f"{self.patients[s]} patients ({self.cases[s]} cases) in {s}" for s in self.patients)
        cases, patients = sum(self.cases.values()), sum(self.patients.values())
        lines = [
            f"Prepared {cases} cases ({self.slices} slices) of {patients} patients in {self.out}.",
            f"Matched by {self.matched_by}; split by {self.split_by}: {sizes}.",
        ]
        for label in self.labels:
            slices = f" and {self.positive_slices[label]} slices" if self.positive_slices[label] else ""
            lines.append(f"Class {label}: {self.positive_cases[label]} cases{slices} positive.")
        lines += [f"{note}." for note in self.notes + self.table_problems + self.empty_classes]
        for number, one, several, names in self._findings():
            if number:
                shown = "; ".join(names[:_NAMED]) + (f"; and {number - _NAMED} more" if number > _NAMED else "")
                lines.append(f"{number} {one if number == 1 else several}: {shown}.")
        return lines

    def _findings(self) -> Iterable[tuple[int, str, str, Sequence[str]]]:
        skipped = [f"{s.file} ({s.reason})" for s in self.skipped]
        truth = [f"{s.file} ({s.reason})" for s in self.truth_problems]
        for one, several, names in (
            ("file skipped", "files skipped", skipped),
            ("row without a file", "rows without a file", self.rows_without_file),
            ("file without a row", "files without a row", self.files_without_row),
            ("row means several files, not used", "rows mean several files, not used", self.ambiguous_rows),
            ("duplicate key, merged", "duplicate keys, merged", self.duplicates),
            ("contradiction, set to unknown", "contradictions, set to unknown", self.contradictions),
            ("row names a slice that does not exist", "rows name slices that do not exist", self.rows_outside),
            ("case is cut by the grid", "cases are cut by the grid", self.cropped),
            ("case without a usable mask", "cases without a usable mask", truth),
        ):
            yield len(names), one, several, names
