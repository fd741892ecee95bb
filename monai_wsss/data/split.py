"""Split patients, never cases, into training, validation and test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.errors import InputError


def split_patients(
    classes: Mapping[str, Sequence[float]], fractions: Sequence[float] = (0.7, 0.1, 0.2), seed: int = 0
) -> dict[str, str]:
    """Return patient -> split, stratified by the patients' labels.

    Patients are shuffled within groups of equal labels, positive groups first, and dealt in this order: each goes to
    the split that lacks most, `fraction * dealt so far - size`. So both the whole and every group keep the fractions
    to about one patient. A split that should hold someone gets one from the largest, if there are three patients.

    Args:
        classes: patient -> labels over all of the patient's cases.
        fractions: of training, validation and test; they sum to 1.
        seed: of the shuffle; the result does not depend on the order of `classes`.

    Raises:
        InputError: if the fractions are not three from 0 to 1 that sum to 1, with some training.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] <= 0:
        raise InputError(f"split {','.join(f'{f:g}' for f in fractions)}: give three fractions that sum to 1")
    groups: dict[tuple[float, ...], list[str]] = defaultdict(list)
    for patient in sorted(classes):
        groups[tuple(classes[patient])].append(patient)
    rng = np.random.default_rng(seed)
    split_of: dict[str, str] = {}
    sizes = np.zeros(3)
    for key in sorted(groups, key=lambda labels: (-labels.count(1), labels)):
        for index in rng.permutation(len(groups[key])):
            lack = np.array(fractions) * (len(split_of) + 1) - sizes
            choice = int(np.argmax(np.round(lack, 9)))  # rounded: a tie goes to the first
            split_of[groups[key][index]] = SPLITS[choice]
            sizes[choice] += 1
    if len(split_of) >= 3:
        for empty in np.flatnonzero((sizes == 0) & (np.array(fractions) > 0)):
            largest = int(np.argmax(sizes))
            moved = [patient for patient, split in split_of.items() if split == SPLITS[largest]][-1]
            split_of[moved] = SPLITS[empty]
            sizes[largest] -= 1
            sizes[empty] += 1
    return split_of


def split_by_column(values: Mapping[str, Iterable[str | None]]) -> tuple[dict[str, str], dict[str, str]]:
    """Return patient -> split, and patient -> reason for those that the table puts into no split or into several.

    Args:
        values: patient -> splits of its rows, None where the row names none.
    """
    split_of, refused = {}, {}
    for patient, splits in values.items():
        named = sorted({split for split in splits if split is not None})
        if len(named) == 1:
            split_of[patient] = named[0]
        else:
            refused[patient] = f"the table puts its patient into {' and '.join(named) or 'no split'}"
    return split_of, refused
