"""withdrawn.json: the patients who are not to be used any more."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from monai_wsss.data.atomic import write_json
from monai_wsss.errors import InputError

FILE_NAME = "withdrawn.json"
_VERSION = 1


def read_withdrawn(folder: str | Path) -> dict[str, list[str]]:
    """Return the pseudonyms of the withdrawn patients of a prepared folder, each with those of its cases.

    Raises:
        InputError: a file that cannot be read: going on without it would bring the patients back.
    """
    path = Path(folder) / FILE_NAME
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] == _VERSION:
            return {str(patient): [str(case) for case in cases] for patient, cases in content["patients"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not readable; put the right file back, it keeps withdrawn patients out") from error
    raise InputError(f"{path}: written by another version; it keeps withdrawn patients out, do not remove it")


def add_withdrawn(folder: str | Path, patient: str, cases: Iterable[str] = ()) -> None:
    """Add a patient's pseudonym, with the cases that are to go; those noted earlier stay.

    Raises:
        InputError: see `read_withdrawn`.
    """
    patients = read_withdrawn(folder)
    patients[patient] = sorted({*patients.get(patient, ()), *cases})
    write_json(Path(folder) / FILE_NAME, {"version": _VERSION, "patients": dict(sorted(patients.items()))})
