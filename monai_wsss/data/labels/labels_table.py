"""The labels table: image-level labels, one row a patient, study, series, file or slice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from monai_wsss.data.labels.class_columns import count_note, label_codes, odd_values, propose_classes, spread_findings
from monai_wsss.data.labels.label_values import ABSENT, PRESENT, UNKNOWN
from monai_wsss.data.labels.slice_key import slice_number
from monai_wsss.data.labels.table_columns import SPLIT_NAMES, Columns, find_column, key_names, patient_folder
from monai_wsss.data.labels.table_dates import read_dates
from monai_wsss.data.labels.table_file import read_table
from monai_wsss.errors import InputError

_ROUNDED = re.compile(r"\d([.,]\d+)?E\+\d+", re.IGNORECASE)  # what a spreadsheet makes of a long number


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        line: line or row number in the file.
        keys: key (one of KEYS) -> value.
        classes: a code of `label_values` per class.
        slice: slice of the volume, from 0 in slice order; None for the volume. `match_rows` finds it.
        split: training, validation or test.
        site, group: texts of these columns.
        date: 2024-01-31.
        patient: PatientID, or the patient's folder in the path of `file`; "" if neither is there.
        slice_number: the slice as the table numbers it.
        slice_key: how: one of SLICE_KEYS, "" if the table has no slices.
    """

    line: int
    keys: dict[str, str]
    classes: tuple[int, ...]
    slice: int | None = None
    split: str | None = None
    site: str | None = None
    group: str | None = None
    date: str | None = None
    patient: str = ""
    slice_number: int | None = None
    slice_key: str = ""

    def __str__(self) -> str:
        """Name the row as the user sees it, and no patient."""
        return f"line {self.line}"


@dataclass(frozen=True)
class LabelsTable:
    """The table read.

    Attributes:
        path: the file.
        labels: class names.
        rows: those that name something.
        split_column: None if there is none.
        problems: what was not understood, one line each.
        notes: what was assumed, one line each.
        slice_key: convention of the slices, "" if there are none.
    """

    path: Path
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    split_column: str | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    slice_key: str = ""


def read_labels_table(
    path: str | Path,
    classes: Sequence[str] | None = None,
    split_column: str | None = None,
    slice_key: str | None = None,
    group_column: str | None = None,
) -> LabelsTable:
    """Read a table (see `read_table`) with one column at least that names files, studies or patients.

    Columns are known by their names in several spellings (`table_columns`): keys, slice, split, site and date.

    Args:
        path: CSV or XLSX.
        classes: class columns, or findings of a list column; by default those of `propose_classes`.
        split_column: column of train / val / test; by default one called so, if it holds these words.
        slice_key: how slices are numbered, one of SLICE_KEYS; by default as their column's name says.
        group_column: column whose values join patients that belong together.

    Raises:
        InputError: if the file cannot be read, or a column that is needed is missing or holds something else.
    """
    path = Path(path)
    frame = read_table(path, known=key_names())
    notes: list[str] = list(frame.attrs["notes"])
    problems: list[str] = []
    columns = Columns.find(path, frame, classes, split_column, slice_key, group_column)
    frame, keys = _read_keys(path, frame, columns.keys, problems)
    frame, spread = spread_findings(frame, columns.reserved)
    labels, counts = _find_classes(path, frame, columns.reserved, classes)
    notes += [*spread, *counts]
    codes = [_codes(path, frame[label], problems) for label in labels]
    patients = _read_patients(keys, columns, notes)
    dates = _read_dates(frame, columns.date, problems)
    numbers, bad = _read_slices(frame, columns, problems)
    cells = {name: frame[column].tolist() for name in ("split", "site", "group") if (column := getattr(columns, name))}
    blank = [""] * len(frame)
    rows = (
        Row(
            line=line,
            keys=keys[at],
            classes=classes_,
            split=SPLIT_NAMES.get(cells.get("split", blank)[at].casefold()),
            site=cells.get("site", blank)[at] or None,
            group=cells.get("group", blank)[at] or None,
            date=dates[at],
            patient=patients[at],
            slice_number=numbers[at],
            slice_key=columns.slice_key,
        )
        for at, (line, classes_) in enumerate(zip(frame.index.tolist(), zip(*codes, strict=True), strict=True))
        if at not in bad
    )
    return LabelsTable(path, labels, tuple(rows), columns.split, problems, notes, columns.slice_key)


def _find_classes(
    path: Path, frame: pd.DataFrame, reserved: set[str], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[str]]:
    if classes:
        labels = tuple(dict.fromkeys(find_column(path, frame, name, "take as a class") for name in classes))
        return labels, [count_note(frame[label]) for label in labels]
    labels, notes = propose_classes(frame, reserved)
    if not labels:
        why = "".join(f"; {note[0].lower()}{note[1:]}" for note in notes[:3])
        raise InputError(
            f"{path}: no column holds present and absent (1 and 0, yes and no); name the class columns (--classes){why}"
        )
    return labels, notes


def _codes(path: Path, column: pd.Series, problems: list[str]) -> list[int]:
    codes = label_codes(column)
    if not codes.isin([PRESENT, ABSENT]).any():
        raise InputError(f"{path}: column {column.name!r} holds neither present nor absent (1 or 0, yes or no)")
    if odd := odd_values(column):
        problems.append(f"Column {column.name!r}: {odd}; taken as unknown")
    return codes.fillna(UNKNOWN).astype(int).tolist()


def _read_keys(
    path: Path, frame: pd.DataFrame, columns: dict[str, str], problems: list[str]
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Return the rows that have a key, and the keys of each."""
    values = {key: frame[column].copy() for key, column in columns.items()}
    for key, column in values.items():
        rounded = column.map(lambda text: _ROUNDED.fullmatch(text) is not None)
        if rounded.any():
            held = f"{_rows(rounded)} with a number that a spreadsheet has rounded, like 1.23E+12"
            problems.append(f"Column {columns[key]!r}: {held}; format the column as text and export it again")
            column[rounded] = ""
    used = pd.DataFrame(values).ne("").any(axis=1)
    if not used.any():
        raise InputError(f"{path}: no row holds a key. {problems[0] if problems else 'Fill the key columns'}")
    if not used.all():
        problems.append(f"{_rows(~used)} without a key left out")
    keys = [
        {key: value for key, value in zip(values, record, strict=True) if value}
        for record in zip(*(column[used].tolist() for column in values.values()), strict=True)
    ]
    return frame[used], keys


def _read_patients(keys: list[dict[str, str]], columns: Columns, notes: list[str]) -> list[str]:
    if "PatientID" in columns.keys:
        return [row.get("PatientID", "") for row in keys]
    patients = [patient_folder(row.get("file", "").replace("\\", "/").split("/")) for row in keys]
    if any(patients):
        notes.append(f"The patient is taken from the paths in column {columns.keys['file']!r}")
    return patients


def _read_dates(frame: pd.DataFrame, column: str | None, problems: list[str]) -> list[str | None]:
    if column is None:
        return [None] * len(frame)
    dates, plain = read_dates(frame[column].tolist())
    if not plain:
        problems.append(f"Column {column!r}: day and month cannot be told apart; write dates as 2024-01-31")
    return dates


def _read_slices(frame: pd.DataFrame, columns: Columns, problems: list[str]) -> tuple[list[int | None], set[int]]:
    """Return the numbers of the slices, and which rows hold something else."""
    if columns.slice is None or columns.slice_key == "SOPInstanceUID":
        return [None] * len(frame), set()
    texts = frame[columns.slice]
    numbers = [slice_number(text) for text in texts]
    bad = {at for at, (number, text) in enumerate(zip(numbers, texts, strict=True)) if number is None and text}
    if bad:
        rows = _rows(pd.Series([at in bad for at in range(len(frame))], frame.index))
        problems.append(f"Column {columns.slice!r}: {rows} without a whole number from 0 left out")
    return numbers, bad


def _rows(which: pd.Series) -> str:
    number, first = int(which.sum()), which.idxmax()
    return f"{number} rows (the first is line {first})" if number > 1 else f"1 row (line {first})"
