"""The spreadsheet that a secretary keeps, with the same bytes for the same rows."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from openpyxl import Workbook
from openpyxl.styles import Font

from monai_wsss.data.atomic import atomic_path

_EPOCH = (2024, 1, 2, 0, 0, 0)


def write_workbook(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a sheet with a bold header; numbers and dates become cells of their kind.

    The time of writing, which openpyxl puts into the file, is replaced by a fixed one.
    """
    book = Workbook()
    book.properties.created = datetime.datetime(*_EPOCH)
    sheet = book.worksheets[0]
    sheet.title = "Studies"
    for row in (header, *rows):
        sheet.append(list(row))
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    written = io.BytesIO()
    book.save(written)
    stamp = rb"\g<1>2024-01-02T00:00:00Z<"
    with zipfile.ZipFile(written) as old, atomic_path(path) as part, zipfile.ZipFile(part, "w") as new:
        for name in old.namelist():
            content = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*<", stamp, old.read(name))
            new.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
