"""withdrawn.json: the patients who are not to be used any more."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from monai_wsss.data.atomic import write_json
from monai_wsss.data.pseudonyms import Pseudonyms, names_ever
from monai_wsss.errors import InputError

FILE_NAME = "withdrawn.json"
_VERSION = 1


@dataclass(frozen=True)
class Withdrawn:
    """The withdrawn patients and cases of a prepared folder, as they were written when they went.

    Attributes:
        patients: their IDs, one person's all.
        cases: their cases.
        names: the ways in which both may have been written; none if nobody is withdrawn.
    """

    patients: frozenset[str]
    cases: frozenset[str]
    names: tuple[Pseudonyms, ...]

    @classmethod
    def read(cls, folder: str | Path) -> Withdrawn:
        """Read withdrawn.json; before a missing key is made anew, with which nobody would be known again.

        Raises:
            InputError: see `read_withdrawn`; hashes of patients without the folder's key.
        """
        patients = read_withdrawn(folder)
        cases = frozenset(case for cases in patients.values() for case in cases)
        return cls(frozenset(patients), cases, names_ever(folder, patients) if patients else ())

    def holds(self, names_in_clear: Iterable[str], cases: Iterable[str]) -> bool:
        """Return whether a person is withdrawn, whether names were kept then, or are now, or not.

        Args:
            names_in_clear: all patient IDs that the person goes by.
            cases: the person's cases, in clear or as they are written.
        """
        cases, clear = set(cases), set(names_in_clear)
        hashed = {names.case(case) for names in self.names for case in cases}
        patients = {names.patient(name) for names in self.names for name in clear}
        return bool(patients & self.patients or (cases | hashed) & self.cases)


def read_withdrawn(folder: str | Path) -> dict[str, list[str]]:
    """Return the pseudonyms of the withdrawn patients of a prepared folder, each with those of its cases.

    One person's several IDs are a patient each, with the same cases.

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


def add_withdrawn(folder: str | Path, patient: str, cases: Iterable[str] = (), others: Iterable[str] = ()) -> None:
    """Add a patient's pseudonym, with the cases that are to go; those noted earlier stay.

    Args:
        folder: prepared folder.
        patient: pseudonym.
        cases: pseudonyms.
        others: pseudonyms of the same person's other IDs.

    Raises:
        InputError: see `read_withdrawn`.
    """
    patients = read_withdrawn(folder)
    cases = set(cases)
    for name in (patient, *others):
        patients[name] = sorted({*patients.get(name, ()), *cases})
    write_json(Path(folder) / FILE_NAME, {"version": _VERSION, "patients": dict(sorted(patients.items()))})
