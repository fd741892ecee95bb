"""The labels table: image-level labels, one row a study, volume or slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from monai_wsss.errors import InputError

KEYS = ("file", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID")  # most specific first
_TRUTH = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}
_UNKNOWN = ("", "-1", "-1.0", "na", "n/a", "nan", "none", "unknown")
SPLIT_NAMES = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Row:
    """One row: `keys` (column of KEYS -> value), `classes` (0, 1 or -1), `slice` (None: the volume), split and site."""

    line: int
    keys: dict[str, str]
    classes: tuple[int, ...]
    slice: int | None = None
    split: str | None = None
    site: str | None = None

    def __str__(self) -> str:
        """Name the row as the user knows it."""
        name = next(iter(self.keys.values()), "no key")
        return f"{name}, slice {self.slice}" if self.slice is not None else name


@dataclass(frozen=True)
class LabelsTable:
    """The table read: class names, rows, `split_column` (None if it has none), and `problems`, one line each."""

    path: Path
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    split_column: str | None = None
    problems: list[str] = field(default_factory=list)


def read_labels_table(
    path: str | Path, classes: Sequence[str] | None = None, split_column: str | None = None
) -> LabelsTable:
    """Read a CSV file whose key columns are any of KEYS (in any case), with optional columns slice, split and site.

    Args:
        path: the table, UTF-8, values separated by commas, semicolons or tabs.
        classes: class columns; by default all others that hold nothing but 0, 1 and unknown (empty, -1).
        split_column: column of train / val / test; by default `split` if it is there and holds these words.

    Raises:
        InputError: if the file cannot be read, or a column that is needed is missing or holds something else.
    """
    path = Path(path)
    frame = _read_csv(path)
    by_lower = {str(column).strip().lower(): column for column in frame.columns}
    keys = {key: by_lower[key.lower()] for key in KEYS if key.lower() in by_lower}
    if not keys:
        raise InputError(f"{path}: no key column; name one of {', '.join(KEYS)} (found {', '.join(frame.columns)})")
    slice_column, site_column = by_lower.get("slice"), by_lower.get("site")
    split_column = _find_split_column(path, frame, by_lower, split_column)
    reserved = {*keys.values(), slice_column, site_column, split_column}
    labels = _find_classes(path, frame, reserved, classes, by_lower)

    problems: list[str] = []
    values = {label: _class_values(path, frame[by_lower[label.lower()]], label, problems) for label in labels}
    rows = []
    for number, (line, record) in enumerate(zip(frame.index, frame.to_dict("records"), strict=True)):
        index = record[slice_column] if slice_column else ""
        slice_ = _slice_index(index)
        if index and slice_ is None:
            problems.append(f"line {line}: slice {index!r} is not a whole number from 0; row left out")
            continue
        rows.append(
            Row(
                line=line,
                keys={key: record[column] for key, column in keys.items() if record[column]},
                classes=tuple(values[label][number] for label in labels),
                slice=slice_,
                split=SPLIT_NAMES.get(record[split_column].lower()) if split_column else None,
                site=(record[site_column] or None) if site_column else None,
            )
        )
    return LabelsTable(path, labels, tuple(rows), split_column, problems)


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: labels table not found")
    try:
        with path.open(encoding="utf-8-sig", errors="strict") as file:
            header = file.readline()
        separator = max(",;\t", key=header.count)
        frame = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False
        )
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(
            f"{path}: cannot be read as CSV ({str(error).splitlines()[0]}); save it as UTF-8 CSV"
        ) from error
    frame.columns = frame.columns.str.strip()
    frame = frame.fillna("").apply(lambda column: column.str.strip())
    frame = frame[(frame != "").any(axis=1)]
    frame.index += 2  # line numbers, as an editor shows them
    if frame.empty:
        raise InputError(f"{path}: the table has no rows")
    return frame


def _find_split_column(path: Path, frame: pd.DataFrame, by_lower: dict[str, str], name: str | None) -> str | None:
    if name is None:
        column = by_lower.get("split")
        known = column is not None and frame[column].str.lower().isin([*SPLIT_NAMES, ""]).all()
        return column if known and (frame[column] != "").any() else None
    column = by_lower.get(name.lower())
    if column is None:
        raise InputError(f"{path}: no column {name!r} to split by (found {', '.join(frame.columns)})")
    strange = sorted(set(frame[column].str.lower()) - {*SPLIT_NAMES, ""})
    if strange:
        raise InputError(f"{path}: column {name!r} holds {', '.join(strange[:5])}; use train, val and test")
    return column


def _find_classes(
    path: Path, frame: pd.DataFrame, reserved: set[str | None], classes: Sequence[str] | None, by_lower: dict[str, str]
) -> tuple[str, ...]:
    if classes:
        missing = [name for name in classes if name.lower() not in by_lower]
        if missing:
            raise InputError(f"{path}: no column {', '.join(missing)} (found {', '.join(frame.columns)})")
        return tuple(by_lower[name.lower()] for name in classes)
    found = [
        column
        for column in frame.columns
        if column not in reserved
        and (lower := frame[column].str.lower()).isin([*_TRUTH, *_UNKNOWN]).all()
        and lower.isin(list(_TRUTH)).any()
    ]
    if not found:
        raise InputError(f"{path}: no column holds only 0 and 1; name the class columns (--classes)")
    return tuple(found)


def _class_values(path: Path, column: pd.Series, label: str, problems: list[str]) -> list[int]:
    lower = column.str.lower()
    if not lower.isin([*_TRUTH, *_UNKNOWN]).any():
        raise InputError(f"{path}: column {label!r} holds no 0 or 1 (found {column.iloc[0]!r})")
    strange = ~lower.isin([*_TRUTH, *_UNKNOWN])
    if strange.any():
        first = strange.to_numpy().argmax()
        problems.append(
            f"column {label!r}: {int(strange.sum())} values are neither 0 nor 1 (line {column.index[first]}: "
            f"{column.iloc[first]!r}); taken as unknown"
        )
    return [_TRUTH.get(value, -1) for value in lower]


def _slice_index(text: str) -> int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() and value >= 0 else None
