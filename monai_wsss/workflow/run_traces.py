"""What a run folder holds of one patient."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_wsss.data import atomic_path, write_json
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.workflow.run_registry import UsingRun

_CASE_SUFFIXES = (".nii.gz", ".nii", ".npy", ".json", ".png")
_TRAINED = ("training", "validation")  # the first changes the weights, the second chooses among them


class Mentions:
    """Finds the pseudonyms of a patient and its cases in file names and texts.

    Args:
        patients: pseudonyms of all IDs of one person.
        cases: pseudonyms.
    """

    def __init__(self, patients: Iterable[str], cases: Iterable[str]) -> None:
        self.patients, self.cases = tuple(sorted(patients)), tuple(sorted(cases))
        self.names = {*self.patients, *self.cases}
        self._files = {f"{case}{suffix}" for case in self.cases for suffix in _CASE_SUFFIXES}
        self._words = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, sorted(self.names)))})(?!\w)")

    def in_name(self, path: Path) -> bool:
        """Return whether a file is named after a case; a half-written one too."""
        return re.sub(r"^\.[0-9a-f]{8}\.", "", path.name) in self._files

    def in_text(self, text: str) -> bool:
        """Return whether a text holds one of the names as a word."""
        return self._words.search(text) is not None

    def without(self, value: Any) -> Any:
        """Return plain data without the entries of lists and the keys that speak of the patient."""
        if isinstance(value, dict):
            kept = {key: item for key, item in value.items() if not self.in_text(key)}
            return {k: self.without(v) for k, v in kept.items() if not isinstance(v, str) or not self.in_text(v)}
        if isinstance(value, list):
            return [self.without(v) for v in value if not self.in_text(json.dumps(v, ensure_ascii=False))]
        return value


@dataclass(frozen=True)
class RunTrace:
    """What is left of a patient in one run folder.

    Attributes:
        folder: the run folder.
        parts: splits in which the patient stood; empty if that is not known.
        files: files of the patient alone, relative to the folder.
        tables: tables and reports with lines of it.
        pictures: pictures that may show it.
        weights: weights that were trained with it or chosen by it.
        exists: whether the folder is there.
        deleted: whether files, pictures and lines were removed.
    """

    folder: Path
    parts: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()
    pictures: tuple[Path, ...] = ()
    weights: tuple[Path, ...] = ()
    exists: bool = True
    deleted: bool = False

    @property
    def used(self) -> bool:
        """Whether the run used the patient, as far as anything tells."""
        return bool(self.parts or self.files or self.tables)

    def lines(self) -> list[str]:
        """Return what there is, in sentences."""
        if not self.exists:
            return [f"{self.folder}: in {self._parts()}; the folder is not there any more (moved or removed?)"]
        lines = [f"{self.folder}: in {self._parts()}"]
        verb = "removed" if self.deleted else "holds"
        for word, found in (
            ("files", self.files),
            ("lines in", self.tables),
            ("pictures that may show it", self.pictures),
        ):
            if found:
                names = ", ".join(path.as_posix() for path in found[:5])
                lines.append(f"  {verb} {word}: {names}" + (f" and {len(found) - 5} more" if len(found) > 5 else ""))
        if self.weights:
            names = ", ".join(path.as_posix() for path in self.weights)
            how = "were trained with it" if "training" in self.parts else "were chosen by its labels"
            how = how if self.parts else "may have been trained with it"
            lines.append(f"  weights that {how}: {names}; run again into this folder to train them without it")
        return lines

    def _parts(self) -> str:
        return " and ".join(self.parts) or "a split that is not recorded"


def find_traces(run: UsingRun, mentions: Mentions) -> RunTrace:
    """Look through a run folder."""
    known = {part for patient in mentions.patients for part in run.parts(patient)}
    parts = tuple(part for part in SPLITS if part in known)
    if not run.folder.is_dir():
        return RunTrace(run.folder, parts, exists=False)
    found = sorted(path for path in run.folder.rglob("*") if path.is_file())
    files = [path for path in found if mentions.in_name(path)]
    tables = [
        path for path in found if path.suffix in (".csv", ".json") and path not in files and _holds(path, mentions)
    ]
    used = bool(parts or files or tables)
    pictures = [path for path in found if path.name == "preview.png" and ("validation" in parts or not parts)]
    weights = [path for path in found if path.suffix == ".pt" and (set(parts) & set(_TRAINED) or not parts)]
    return RunTrace(
        run.folder,
        parts,
        _relative(files, run.folder),
        _relative(tables, run.folder),
        _relative(pictures if used else (), run.folder),
        _relative(weights if used else (), run.folder),
    )


def delete_traces(trace: RunTrace, mentions: Mentions) -> None:
    """Remove the patient's files, the pictures that may show it and its lines; weights stay."""
    for path in (*trace.files, *trace.pictures):
        (trace.folder / path).unlink(missing_ok=True)
    for path in trace.tables:
        drop_lines(trace.folder / path, mentions)


def drop_lines(path: Path, mentions: Mentions) -> None:
    """Remove from a CSV or JSON file what speaks of the patient."""
    if path.suffix == ".json":
        write_json(path, mentions.without(json.loads(path.read_text(encoding="utf-8"))))
        return
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if not mentions.names & set(row)]
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _holds(path: Path, mentions: Mentions) -> bool:
    try:
        return mentions.in_text(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return False


def _relative(paths: Iterable[Path], folder: Path) -> tuple[Path, ...]:
    return tuple(path.relative_to(folder) for path in paths)
