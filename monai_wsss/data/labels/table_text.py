"""Texts of a table: how they are compared, and which of them a message may repeat."""

from __future__ import annotations

import re
from collections.abc import Iterable


def plain_name(text: str) -> str:
    """Return a column's name without case, spaces and punctuation, as names are compared."""
    return "".join(re.findall(r"[^\W_]+", text.casefold()))


def shown(text: str, length: int = 15) -> str:
    """Return `text` in quotes if it may be repeated: short, and without the digits of an identifier or a date."""
    return repr(text) if len(text) <= length and sum(map(str.isdigit, text)) < 5 else ""


def listed(names: Iterable[str], most: int = 30) -> str:
    """Return the first names of columns that may be repeated, and the number of the rest.

    Where a table has no header, its first row is taken for names, and that may be a patient's.
    """
    names = list(names)
    said = [name for name in names[:most] if shown(name, 60)]
    return ", ".join(said) + (f" and {len(names) - len(said)} more" if len(said) < len(names) else "")
