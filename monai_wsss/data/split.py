"""Split patients, never cases, into training, validation and test."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.errors import InputError

_SHOWN = 12  # sites in a message


class SiteSplit(NamedTuple):
    """patient -> split; patients of the test site seen elsewhere too; patients in training whose site is unknown."""

    split_of: dict[str, str]
    several_sites: list[str]
    unknown_site: list[str]


def split_patients(
    classes: Mapping[str, Sequence[float]],
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    sites: Mapping[str, Collection[str]] | None = None,
) -> dict[str, str]:
    """Return patient -> split, stratified by the patients' labels and sites.

    Every patient belongs to some strata: all patients, the positives of each class (and its negatives, where labels
    are missing), each site, the positives of each class at each site. Patients are shuffled and dealt, those of the
    smallest strata first. Each goes to the split that lacks most, the sum over the patient's strata of
    `fraction * (dealt so far + 1) - size`; this is the greedy step that keeps the squared errors of all strata small.
    A split that should hold someone gets one from the largest, if there are three patients.

    Args:
        classes: patient -> labels over all of the patient's cases; 0.5 and more is positive, -1 unknown.
        fractions: of training, validation and test; they sum to 1.
        seed: of the shuffle; the result does not depend on the order of `classes`.
        sites: patient -> sites of the patient's cases; patients without one may be missing.

    Raises:
        InputError: if the fractions are not three from 0 to 1 that sum to 1, with some training.
    """
    _check(fractions)
    strata = _strata(classes, sites or {})
    counts = Counter(stratum for of_patient in strata.values() for stratum in of_patient)
    smallest = {p: min((counts[stratum], stratum) for stratum in of_patient) for p, of_patient in strata.items()}
    order = sorted(_shuffled(classes, seed), key=smallest.__getitem__)

    split_of: dict[str, str] = {}
    shares = np.array(fractions)
    sizes: dict[tuple[str, ...], np.ndarray] = defaultdict(lambda: np.zeros(3))
    for patient in order:
        lack = sum(shares * (sizes[stratum].sum() + 1) - sizes[stratum] for stratum in strata[patient])
        choice = int(np.argmax(np.round(lack, 9)))  # rounded: a tie goes to the first
        split_of[patient] = SPLITS[choice]
        for stratum in strata[patient]:
            sizes[stratum][choice] += 1
    total = sizes[_ALL]
    if len(split_of) >= 3:
        for empty in np.flatnonzero((total == 0) & (shares > 0)):
            largest = int(np.argmax(total))
            moved = [patient for patient, split in split_of.items() if split == SPLITS[largest]][-1]
            split_of[moved] = SPLITS[empty]
            total[largest] -= 1
            total[empty] += 1
    return split_of


def split_leave_out_site(
    sites: Mapping[str, Collection[str]],
    classes: Mapping[str, Sequence[float]],
    site: str,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
) -> SiteSplit:
    """Return a split in which the patients with any case from `site` test, and the others train and validate.

    Args:
        sites: patient -> sites of the patient's cases.
        classes: as for `split_patients`; its patients are split.
        site: the site to test on, in any case.
        fractions: the first two share out the other patients, in proportion.
        seed: as for `split_patients`.

    Raises:
        InputError: if no case is from `site`, or all are.
    """
    _check(fractions)
    known = sorted({name for patient in classes for name in sites.get(patient, ())})
    meant = {
        name for name in known if name.strip().casefold() == site.strip().casefold()
    }  # one site, spelt in two ways
    if not meant:
        listed = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
        raise InputError(f"no case is from site {site!r}; choose one of: {listed or '(no site is known)'}")
    test = {patient for patient in classes if meant.intersection(sites.get(patient, ()))}
    others = {patient: labels for patient, labels in classes.items() if patient not in test}
    if not others:
        raise InputError(f"every patient has a case from site {site!r}, so none is left to train on")
    rest = fractions[0] + fractions[1]
    split_of = split_patients(others, (fractions[0] / rest, fractions[1] / rest, 0), seed, sites)
    several = sorted(patient for patient in test if set(sites[patient]) - meant)
    unknown = sorted(patient for patient in others if not sites.get(patient))
    return SiteSplit(split_of | dict.fromkeys(sorted(test), "test"), several, unknown)


def split_by_date(dates: Mapping[str, str | None], fractions: Sequence[float] = (0.7, 0.1, 0.2)) -> dict[str, str]:
    """Return patient -> split: the oldest patients train, the newest test; patients of one day stay together.

    Args:
        dates: patient -> date of the latest case, 2024-01-31 or 20240131.
        fractions: of training, validation and test; the cuts fall between the days that come nearest.

    Raises:
        InputError: if a patient has no date, or there are fewer days than splits.
    """
    _check(fractions)
    days = {patient: _day(text) for patient, text in dates.items()}
    missing = sum(day is None for day in days.values())
    if missing:
        raise InputError(
            f"{missing} of {len(days)} patients have no date (2024-01-31); a split by date needs one of each"
        )
    values, first = np.unique(sorted(day for day in days.values() if day), return_index=True)
    wanted = np.array(fractions) > 0
    if len(values) < wanted.sum():
        raise InputError(f"{len(values)} different dates cannot be split into {wanted.sum()} parts; split by chance")
    ends = np.append(first[1:], len(days))  # patients up to and with each day
    cuts = [1 + int(np.argmin(abs(ends - len(days) * share))) for share in np.cumsum(fractions)[:2]]
    low = min(max(cuts[0], 1), len(values) - int(wanted[1:].sum()))
    high = min(max(cuts[1], low + int(wanted[1])), len(values) - int(wanted[2]))
    rank = {day: number for number, day in enumerate(values)}
    return {
        patient: SPLITS[int(rank[day] >= low) + int(rank[day] >= high)] for patient, day in sorted(days.items()) if day
    }


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


def _check(fractions: Sequence[float]) -> None:
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] <= 0:
        raise InputError(f"split {','.join(f'{f:g}' for f in fractions)}: give three fractions that sum to 1")


_ALL = ("all",)


def _strata(
    classes: Mapping[str, Sequence[float]], sites: Mapping[str, Collection[str]]
) -> dict[str, list[tuple[str, ...]]]:
    incomplete = {k for labels in classes.values() for k, label in enumerate(labels) if label < 0}
    strata = {}
    for patient, labels in classes.items():
        positive = [str(k) for k, label in enumerate(labels) if label >= 0.5]
        negative = [str(k) for k in incomplete if 0 <= labels[k] < 0.5]
        where = sorted(set(sites.get(patient, ())))
        strata[patient] = [
            _ALL,
            *(("class", k) for k in positive),
            *(("negative", k) for k in negative),
            *(("site", site) for site in where),
            *(("site and class", site, k) for site in where for k in positive),
        ]
    return strata


def _shuffled(classes: Mapping[str, Sequence[float]], seed: int) -> list[str]:
    """Patients in chance order within groups of equal labels, positive groups first."""
    groups: dict[tuple[float, ...], list[str]] = defaultdict(list)
    for patient in sorted(classes):
        groups[tuple(float(label >= 0.5) if label >= 0 else -1.0 for label in classes[patient])].append(patient)
    rng = np.random.default_rng(seed)
    order = sorted(groups, key=lambda labels: (-labels.count(1), labels))
    return [groups[key][index] for key in order for index in rng.permutation(len(groups[key]))]


def _day(text: str | None) -> date | None:
    digits = (text or "").strip().replace("-", "")
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if len(digits) == 8 else None
    except ValueError:
        return None
