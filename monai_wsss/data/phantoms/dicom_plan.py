"""Which studies a phantom export holds, before any image is drawn."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from monai_wsss.data.phantoms.dicom_people import Person, draw_person
from monai_wsss.data.phantoms.phantom import Split
from monai_wsss.data.phantoms.write import is_diseased, splits

_FIRST_DAY = datetime.date(2021, 3, 1)


@dataclass(frozen=True)
class PlannedStudy:
    """One visit of a patient.

    Attributes:
        number: of the study in the export.
        patient: number of the patient.
        fault: aborted: the main series is missing; broken: one of its files is cut short.
        visit: of the patient, from 0.
    """

    number: int
    patient: int
    person: Person
    split: Split
    diseased: bool
    day: datetime.date
    visit: int = 0
    fault: Literal["", "aborted", "broken"] = ""

    @property
    def accession(self) -> str:
        """Accession number; the leading zeros are what a spreadsheet loses."""
        return f"{3100 + 7 * self.number:08d}"


def plan_studies(patients: int, seed: int) -> Iterator[PlannedStudy]:
    """Yield a good study of each patient, the second ones of patients 4, 14, ..., and the faulty ones of 0 and 1."""
    number = 0
    for patient, (split, within) in enumerate(splits(patients)):
        rng = np.random.default_rng([seed, patient, 2**20])  # apart from the images' numbers
        day = _FIRST_DAY + datetime.timedelta(days=int(rng.integers(700)))
        study = PlannedStudy(number, patient, draw_person(rng, patient), split, is_diseased(within), day)
        yield study
        number += 1
        later = day + datetime.timedelta(days=int(rng.integers(30, 300)))
        if patient in (0, 1):
            yield replace(study, number=number, visit=1, day=later, fault=("aborted", "broken")[patient])
        elif patient % 10 == 4:
            yield replace(study, number=number, visit=1, day=later)
        else:
            continue
        number += 1
