"""A table as it was saved: CSV in any dialect, or XLSX; all values as the text that the user sees."""

from __future__ import annotations

import csv
import io
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pandas as pd

from monai_wsss.data.labels.table_text import listed, plain_name
from monai_wsss.errors import InputError

_SEPARATORS = ",;\t|"
_SEEN = 50  # rows among which the header is looked for
_EXACT = 1e15  # from here on a spreadsheet's number has lost digits
_NUMBER = re.compile(r"[\d\s.,:/+\-]+")  # or a date: no name of a column
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)
_BROKEN_XLSX = (*_BROKEN_ZIP, LookupError, ValueError, TypeError, AttributeError, SyntaxError)

Lines = list[tuple[int, list[str]]]  # line or row number, cells


def read_table(path: str | Path, sheet: str | None = None, known: Collection[str] = ()) -> pd.DataFrame:
    """Read a table as text; the index is the line (CSV) or row (XLSX) that the user sees.

    Rows above the header, empty rows, columns without a name and repeated headers are left out. Numbers stand as typed
    ("123", not "123.0"), dates as 2024-01-31. `attrs["notes"]` says which sheet was read if there are several.

    Args:
        path: CSV (comma, semicolon, tab or bar; UTF-8, UTF-16 or Windows-1252) or XLSX, whatever its suffix says.
        sheet: name of the sheet; by default the first visible one with a header of `known` names, else with a table.
        known: names, as `plain_name` gives them, of which the header has at least one; without any, the header is the
            first row of words that is as wide as the table.

    Raises:
        InputError: if it is missing, another kind of file, broken, empty, or two columns have one name.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: labels table not found")
    try:
        kind = _kind(path)
    except _BROKEN_ZIP as error:
        raise InputError(f"{path}: cannot be read as a table (broken or cut short); save it again") from error
    if kind == "xlsx":
        return _read_xlsx(path, sheet, known)
    if sheet is not None:
        raise InputError(f"{path}: has no sheets, it is a text file; leave the sheet out")
    return _frame(path, _read_text(path), known, narrow=True)


def _kind(path: Path) -> str:
    """Tell by the content: exports are often named .xls whatever they hold."""
    with path.open("rb") as file:
        start = file.read(512)
    advice = "save it as XLSX or CSV"
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise InputError(f"{path}: is an old .xls file or locked with a password; {advice} without one")
    if start.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if "xl/workbook.xml" in names:
            return "xlsx"
        kind = "an .ods" if "content.xml" in names else "an .xlsb" if "xl/workbook.bin" in names else "a zip"
        raise InputError(f"{path}: is {kind} file; {advice}")
    if re.match(rb"[\s\xef\xbb\xbf]*<(!doctype|html|table|\?xml|meta|head)", start.lower()):
        raise InputError(f"{path}: is a web page or XML, whatever its suffix says; open it and {advice}")
    return "text"


def _read_text(path: Path) -> Lines:
    text = _decode(path)
    told = re.match(r"sep=(.)\r?\n", text)  # Excel's own way to name the separator
    first = 1
    if told:
        text, first = text[told.end() :], 2
    separator = told[1] if told else _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    lines: Lines = []
    line = first
    try:
        for cells in reader:
            lines.append((line, [_clean(cell) for cell in cells]))
            line = reader.line_num + first
    except csv.Error as error:
        reason = f"cannot be read as CSV (line {line}: {error}); look at its quotation marks"
        raise InputError(f"{path}: {reason}") from error
    return lines


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif raw[1:400:2].count(0) > len(raw[1:400:2]) // 2:
        encodings = ["utf-16-le"]
    else:
        encodings = ["utf-8-sig", "cp1252"]  # German Excel still saves CSV as Windows-1252
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError(f"{path}: cannot be read as CSV (it is no text); save it as XLSX or as CSV in UTF-8")


def _separator(text: str) -> str:
    """Return the separator that cuts most of the first rows into equally many cells, and into most of them."""

    def score(separator: str) -> tuple[int, int]:
        head = io.StringIO(text[: 1 << 16], newline="")
        rows = csv.reader(head, delimiter=separator, skipinitialspace=True)
        try:
            widths = Counter(len(cells) for cells, _ in zip(rows, range(2 * _SEEN), strict=False) if any(cells))
        except csv.Error:
            return 0, 0
        return max(((number, width) for width, number in widths.items() if width > 1), default=(0, 0))

    return max(_SEPARATORS, key=score)


def _read_xlsx(path: Path, sheet: str | None, known: Collection[str]) -> pd.DataFrame:
    import openpyxl  # slow to import, and most tables are CSV

    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of decorations that openpyxl leaves out
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)  # a path would need the right suffix
            sheets = [page for page in book.worksheets if page.sheet_state == "visible"]
            if sheet is not None:
                sheets = [page for page in book.worksheets if page.title.casefold() == sheet.casefold()]
                if not sheets:
                    raise InputError(f"{path}: no sheet {sheet!r} (found {', '.join(book.sheetnames)})")
            return _first_table(path, sheets, known)
    except InputError:
        raise
    except _BROKEN_XLSX as error:
        raise InputError(f"{path}: cannot be read as XLSX (broken or cut short); save it again") from error


def _first_table(path: Path, sheets: list[Any], known: Collection[str]) -> pd.DataFrame:
    best, problem = None, InputError(f"{path}: the table has no rows")
    for number, page in enumerate(sheets, 1):
        page.reset_dimensions()  # some programs write a wrong size, and rows would be cut off
        lines = [(row, [_cell_text(cell) for cell in cells]) for row, cells in enumerate(page.iter_rows(), 1)]
        try:
            frame = _frame(path, lines, known)
        except InputError as error:
            problem = error if number == 1 else problem
            continue
        if len(sheets) > 1:
            frame.attrs["notes"] = [f"Sheet {number} of {len(sheets)} is read"]
        if not known or {plain_name(name) for name in frame.columns} & set(known):
            return frame
        best = frame if best is None else best
    if best is None:
        raise problem
    return best


def _cell_text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and abs(value) >= _EXACT:
        return f"{value:.5E}"
    if isinstance(value, int | float):
        if value != int(value):
            return f"{value:.15g}"
        zeros = re.fullmatch("0{2,}", cell.number_format or "")
        return str(int(value)).zfill(len(zeros[0]) if zeros else 0)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "seconds")
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _frame(path: Path, lines: Lines, known: Collection[str], narrow: bool = False) -> pd.DataFrame:
    """Return the table below the header; `narrow`: no row may be wider than that."""
    lines = [(line, cells) for line, cells in lines if any(cells)]
    if not lines:
        raise InputError(f"{path}: the table has no rows")
    at = _header(path, lines, known)
    (_, header), lines = lines[at], lines[at + 1 :]
    names = [" ".join(name.split()) for name in header]
    twice = [name for name, number in Counter(name.casefold() for name in names if name).items() if number > 1]
    if twice:
        raise InputError(f"{path}: more than one column is called {listed(twice)}; rename them")
    long = [line for line, cells in lines if any(cells[len(header) :])]
    if long and narrow:
        raise InputError(
            f"{path}: cannot be read as CSV (line {long[0]} has more values than the header, as have {len(long) - 1} "
            "others); put values that hold the separator between quotation marks"
        )
    kept = [column for column, name in enumerate(names) if name]
    rows = {
        line: [cells[column] if column < len(cells) else "" for column in kept]
        for line, cells in lines
        if cells[: len(header)] != header
    }
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=[names[column] for column in kept], dtype=object)
    frame = frame[(frame != "").any(axis=1)]
    if frame.empty:
        raise InputError(f"{path}: the table has no rows")
    frame.attrs["notes"] = []
    return frame


def _header(path: Path, lines: Lines, known: Collection[str]) -> int:
    """Return which of `lines` names the columns: the rows above it are a title, and narrower."""
    head = [[cell for cell in cells if cell] for _, cells in lines[:_SEEN]]
    most = max(map(len, head))
    for number, cells in enumerate(head):
        if 2 * len(cells) >= most and len(cells) >= min(2, most) and any(plain_name(cell) in known for cell in cells):
            return number
    for number, cells in enumerate(head):
        if len(cells) >= max(most - 1, min(2, most)) and not any(map(_NUMBER.fullmatch, cells)):
            return number
    raise InputError(f"{path}: no row names the columns; write their names above the values")


def _clean(text: str) -> str:
    return text.strip().strip("\ufeff")
