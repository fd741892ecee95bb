"""The classifier's probabilities of test images beside their image-level labels."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monai_wsss.data import Case
from monai_wsss.data.presence import is_certain, is_present
from monai_wsss.errors import InputError

Probabilities = Mapping[str, Mapping[int, float]]
"""{case: {slice: probability}} of one class."""


class Labelled(NamedTuple):
    """Of N images: probability, whether it is positive, and its patient."""

    probability: list[float]
    positive: list[bool]
    patients: list[str]


def read_probabilities(file: Path, label: str) -> dict[str, dict[int, float]]:
    """Probabilities of one class in a table of slices; an empty cell is unknown and left out.

    Raises:
        InputError: no such table, or no number where one should be.
    """
    if not file.is_file():
        raise InputError(f"{file}: not there; run the stage infer first")
    found: dict[str, dict[int, float]] = {}
    with file.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            try:
                if row["class"] == label and row["probability"]:
                    found.setdefault(row["case"], {})[int(row["slice"])] = float(row["probability"])
            except (KeyError, ValueError) as error:
                raise InputError(f"{file}: {error}; expected case, slice, class and probability") from error
    return found


def labelled_images(cases: Sequence[Case], probabilities: Probabilities, index: int = 0) -> Labelled:
    """Images with a certain label and a known probability.

    A volume with one label counts once, by its highest slice.

    Args:
        cases: with their labels.
        probabilities: of one class.
        index: of that class among the labels.
    """
    found = Labelled([], [], [])
    for case in cases:
        of_case = probabilities.get(case.case, {})
        if case.slice_classes is None:
            pairs = [(max(of_case.values()), case.classes[index])] if of_case else []
        else:
            pairs = [(of_case[n], row[index]) for n, row in enumerate(case.slice_classes) if n in of_case]
        for probability, label in pairs:
            if is_certain(label):
                found.probability.append(probability)
                found.positive.append(bool(is_present(np.asarray(label))))
                found.patients.append(case.patient)
    return found
