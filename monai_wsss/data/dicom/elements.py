"""Plain Python values of DICOM elements; whatever is missing or broken is empty."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

# What pydicom raises on broken bytes, found by flipping them.
BROKEN = (
    InvalidDicomError,
    BytesLengthException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    OSError,
    EOFError,
    RecursionError,
    MemoryError,
    struct.error,
    zlib.error,
)


def values(data: Dataset, keyword: str) -> list[Any]:
    """Return all values of an element."""
    try:
        value = data.get(keyword)
    except BROKEN:
        return []
    if value is None or (isinstance(value, str) and not value):
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]


def text(data: Dataset, keyword: str) -> str:
    r"""Return an element as one line; several values are joined by a backslash, as in the file."""
    try:
        joined = "\\".join(str(value) for value in values(data, keyword) if not isinstance(value, bytes))
    except BROKEN:
        return ""
    return " ".join(joined.replace("\0", " ").split())


def numbers(data: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return exactly `count` finite numbers, or None."""
    try:
        found = tuple(float(value) for value in values(data, keyword))
    except BROKEN:
        return None
    return found if len(found) == count and all(math.isfinite(value) for value in found) else None


def number(data: Dataset, keyword: str) -> float | None:
    """Return the first number of an element, or None."""
    try:
        found = float(values(data, keyword)[0])
    except BROKEN:
        return None
    return found if math.isfinite(found) else None


def integer(data: Dataset, keyword: str) -> int | None:
    """Return the first whole number of an element, or None."""
    found = number(data, keyword)
    return None if found is None else round(found)


def item(data: Dataset | None, keyword: str) -> Dataset | None:
    """Return the first item of a sequence, or None."""
    found = values(data, keyword) if data is not None else []
    return found[0] if found and isinstance(found[0], Dataset) else None
