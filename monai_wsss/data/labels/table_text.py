"""Texts of a table: how they are compared, and which of them a message may repeat."""

from __future__ import annotations

import re
from collections.abc import Iterable


def plain_name(text: str) -> str:
    """Return a column's name without case, spaces and punctuation, as names are compared."""
    return "".join(re.findall(r"[^\W_]+", text.casefold()))


def shown(cell: str) -> str:
    """Return a cell if a message may repeat it: a number of two digits at most, for any word may be a name."""
    return cell if re.fullmatch(r"[-+]?[0-9]{1,2}|[-+]?[0-9][.,][0-9]", cell) else ""


def is_name(text: str, length: int = 60) -> bool:
    """Whether `text` can be a column's name: short, and without the digits of an identifier or a date."""
    return len(text) <= length and sum(map(str.isdigit, text)) < 5


def listed(names: Iterable[str], most: int = 30) -> str:
    """Return the first names of columns that may be repeated, and the number of the rest.

    Where a table has no header, its first row is taken for names, and that may be a patient's.
    """
    names = list(names)
    said = [name for name in names[:most] if is_name(name)]
    return ", ".join(said) + (f" and {len(names) - len(said)} more" if len(said) < len(names) else "")
