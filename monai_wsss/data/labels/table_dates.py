"""Dates of a column, in whatever way they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

_ISO = re.compile(r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})\b.*")
_DICOM = re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})")
_DOTS = re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})\b.*")
_DAY_FIRST = re.compile(r"(?P<d>\d{1,2})[-/](?P<m>\d{1,2})[-/](?P<y>\d{4})\b.*")
_MONTH_FIRST = re.compile(r"(?P<m>\d{1,2})[-/](?P<d>\d{1,2})[-/](?P<y>\d{4})\b.*")


def read_dates(texts: Sequence[str]) -> tuple[list[str | None], bool]:
    """Return each date as 2024-01-31, None where there is none, and whether day and month can be told apart.

    2024-01-31, 20240131 and 31.01.2024 are plain. Of 31/01/2024 and 01/31/2024 the column decides: the order in which
    all of its dates exist. If both do for every date, the column has none.
    """
    plain = [next(filter(None, (_date(text, form) for form in (_ISO, _DICOM, _DOTS))), None) for text in texts]
    slashed = [text for text, day in zip(texts, plain, strict=True) if not day and _DAY_FIRST.fullmatch(text)]
    orders = [form for form in (_DAY_FIRST, _MONTH_FIRST) if all(_date(text, form) for text in slashed)]
    if not slashed or len(orders) != 1:
        return plain, not slashed
    return [day or _date(text, orders[0]) for text, day in zip(texts, plain, strict=True)], True


def _date(text: str, form: re.Pattern[str]) -> str | None:
    match = form.fullmatch(text.strip())
    try:
        return date(int(match["y"]), int(match["m"]), int(match["d"])).isoformat() if match else None
    except ValueError:
        return None
