"""A few validation patients whose true masks are all that a segmenter learns from."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.data.presence import is_absent, is_present
from monai_wsss.errors import InputError


def few_shot_dataset(dataset: PreparedDataset, patients: int = 4, seed: int = 0) -> PreparedDataset:
    """The data set with a few validation patients in the place of its training and of its validation split.

    They are drawn at random among those with a finding and with true masks; with several classes these take turns. If
    no image or slice of theirs lacks every class, as with films, as many patients without a finding are added: a
    negative's empty mask is its label, so that it costs no drawing.

    Args:
        dataset: its test split stays.
        patients: k, those with a finding; fewer where there are no more.
        seed: of the draw; the order of the cases does not matter.

    Raises:
        ValueError: less than one patient.
        InputError: no validation patient has both a finding and true masks.
    """
    if patients < 1:
        raise ValueError(f"patients must be at least 1, got {patients}")
    cases_of: dict[str, list[Case]] = {}
    for case in sorted(dataset.validation, key=lambda case: case.case):
        cases_of.setdefault(case.patient, []).append(case)
    masked = sorted(name for name, cases in cases_of.items() if all(case.truth is not None for case in cases))
    order = np.random.default_rng(seed).permutation(masked).tolist()
    labels = {name: np.array([case.classes for case in cases_of[name]]) for name in order}
    turns = zip_longest(*([p for p in order if is_present(labels[p][:, k]).any()] for k in range(len(dataset.labels))))
    drawn = [name for name in dict.fromkeys(name for turn in turns for name in turn) if name is not None][:patients]
    if not drawn:
        raise InputError(
            "no validation patient with a finding has true masks, which the few-shot segmenter learns from; prepare "
            "with --masks, or choose other rows (--row)"
        )
    if not any(_has_negative(cases_of[name]) for name in drawn):
        drawn += [name for name in order if is_absent(labels[name]).all()][: len(drawn)]
    chosen = tuple(case for name in drawn for case in cases_of[name])
    return replace(dataset, training=chosen, validation=chosen)


def repeated(dataset: PreparedDataset, slices: int, negatives_per_positive: float | None = None) -> PreparedDataset:
    """The data set with its training cases so many times over that an epoch draws about as many slices as are wanted.

    Args:
        dataset: with labels of slices.
        slices: wanted in an epoch.
        negatives_per_positive: see `pseudo_mask_items`.
    """
    rows = [row for case in dataset.training for row in case.slice_classes or (case.classes,)]
    positive = int(is_present(rows).any(1).sum())
    negative = len(rows) - positive
    if negatives_per_positive is not None:
        negative = min(negative, round(negatives_per_positive * positive))
    return replace(dataset, training=dataset.training * max(1, round(slices / max(1, positive + negative))))


def _has_negative(cases: Sequence[Case]) -> bool:
    """Whether a slice or an image of a patient lacks every class."""
    return any(is_absent(row).all() for case in cases for row in case.slice_classes or (case.classes,))
