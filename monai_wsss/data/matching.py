"""Which row of the labels table speaks of which volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from monai_wsss.data.discovery import stem_of
from monai_wsss.data.labels_table import KEYS, LabelsTable, Row
from monai_wsss.data.volume import Volume
from monai_wsss.errors import InputError


@dataclass(frozen=True)
class Matches:
    """`key`: the column that matched; `rows`: case -> its rows; then what is left over on either side."""

    key: str
    rows: dict[str, list[Row]] = field(default_factory=dict)
    rows_without_file: list[Row] = field(default_factory=list)
    ambiguous_rows: list[Row] = field(default_factory=list)
    volumes_without_row: list[Volume] = field(default_factory=list)


def match_rows(table: LabelsTable, volumes: Sequence[Volume]) -> Matches:
    """Match rows to volumes by the most specific key column that fits any file.

    `file` is a path below the input, a file name or a stem; the identifiers are a stem or a folder above the file. A
    file whose path names another PatientID of the table never matches. A row of a slice, or of a file, must mean one
    volume; a row of a patient or study may mean several.

    Raises:
        InputError: if no row matches any file.
    """
    finder = _Finder(table, volumes)
    key = next((k for k in KEYS if any(finder.find(row, k) for row in table.rows)), None)
    if key is None:
        example = next((str(row) for row in table.rows), "")
        names = ", ".join(volume.relative.as_posix() for volume in volumes[:3])
        raise InputError(f"{table.path}: no row matches a file (first row: {example}; files: {names}, ...)")
    matches = Matches(key)
    for row in table.rows:
        found = finder.find(row, key)
        if not found:
            matches.rows_without_file.append(row)
        elif len(found) > 1 and (row.slice is not None or key == "file"):
            matches.ambiguous_rows.append(row)
        else:
            for volume in found:
                matches.rows.setdefault(volume.case, []).append(row)
    matches.volumes_without_row.extend(volume for volume in volumes if volume.case not in matches.rows)
    return matches


class _Finder:
    """The volumes by every name a row may call them."""

    def __init__(self, table: LabelsTable, volumes: Sequence[Volume]) -> None:
        patients = {row.keys["PatientID"] for row in table.rows if "PatientID" in row.keys}
        self.by_file: dict[str, list[Volume]] = defaultdict(list)
        self.by_identifier: dict[str, list[Volume]] = defaultdict(list)
        self.patients: dict[str, set[str]] = {}
        for volume in volumes:
            identifiers = {stem_of(volume.path), *volume.relative.parent.parts}
            for name in {volume.relative.as_posix(), volume.path.name, stem_of(volume.path)}:
                self.by_file[name].append(volume)
            for name in identifiers:
                self.by_identifier[name].append(volume)
            self.patients[volume.case] = identifiers & patients

    def find(self, row: Row, key: str) -> list[Volume]:
        """Return the volumes that `row` can mean by `key`."""
        value = row.keys.get(key)
        if value is None:
            return []
        found = self._by_file(value) if key == "file" else self.by_identifier.get(value, [])
        patient = row.keys.get("PatientID")
        if patient is None:
            return found
        found = [volume for volume in found if not self.patients[volume.case] or patient in self.patients[volume.case]]
        named = [volume for volume in found if self.patients[volume.case]]
        return named if key == "file" and len(found) > 1 and named else found

    def _by_file(self, value: str) -> list[Volume]:
        path = PurePosixPath(value.replace("\\", "/"))
        for name in (path.as_posix(), path.name, stem_of(path.name)):
            if name in self.by_file:
                return self.by_file[name]
        return []
