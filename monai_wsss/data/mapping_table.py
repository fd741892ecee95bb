"""The table that tells which pseudonym is whose; written only where the user asks for it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from monai_wsss.data.atomic import atomic_path
from monai_wsss.errors import InputError


@dataclass(frozen=True)
class MappingRow:
    """One volume, in clear and in hashes; texts are empty where something is not known.

    Attributes:
        case, patient: pseudonyms.
        patient_id: the patient in clear.
        name: the case in clear.
        study_uid, series_uid, accession: of a DICOM series.
        path: the file, or the first of them.
        status: the split it went into, or the reason why it was left out.
    """

    case: str = ""
    patient: str = ""
    patient_id: str = ""
    name: str = ""
    study_uid: str = ""
    series_uid: str = ""
    accession: str = ""
    path: str = ""
    status: str = ""


COLUMNS = tuple(field.name for field in fields(MappingRow))


def write_mapping(path: str | Path, rows: Iterable[MappingRow]) -> None:
    """Write a CSV table that only its owner may read (mode 0600).

    Raises:
        InputError: `path` is a folder.
    """
    _write(Path(path), map(astuple, rows))


def drop_patient(path: str | Path, patient: str) -> int:
    """Remove the rows of a patient's pseudonym from a mapping table; returns how many there were.

    Raises:
        InputError: no such file, or no mapping table.
    """
    rows = _read(Path(path))
    kept = [row for row in rows if row[COLUMNS.index("patient")] != patient]
    if len(kept) < len(rows):
        _write(Path(path), kept)
    return len(rows) - len(kept)


def is_mapping(path: str | Path) -> bool:
    """Return whether a file is a mapping table."""
    try:
        _read(Path(path))
    except InputError:
        return False
    return True


def _read(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read; give the table that `--mapping` wrote") from error
    if tuple(header) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise InputError(f"{path}: is no mapping table; give the one that `--mapping` wrote")
    return rows


def _write(path: Path, rows: Iterable[Iterable[str]]) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; --mapping takes a file to write, such as mapping.csv")
    with atomic_path(path) as part:
        part.touch(mode=0o600)  # before anything is in it
        with part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
