"""What was left out of a batch, and why."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from monai_wsss.errors import InputError


class Skipped(NamedTuple):
    """One file that a batch went on without: its path or case name, and the reason in one line."""

    file: str
    reason: str


def reason_of(error: BaseException, file: str | Path = "") -> str:
    """Return one line that says why: the innermost cause, without MONAI's wrapping and without the name of `file`."""
    while not isinstance(error, InputError) and error.__cause__ is not None:
        error = error.__cause__
    line = (str(error) or type(error).__name__).splitlines()[0]
    return line.removeprefix(f"{file}: ")
