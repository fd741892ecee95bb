"""Folds over patients, and prepared folders that differ in split or labels and share images and cache."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.data.presence import is_present
from monai_wsss.errors import InputError


def patient_folds(
    dataset: PreparedDataset, folds: int, seed: int = 0, validation: float = 0.15
) -> list[PreparedDataset]:
    """The data set once a fold: every patient tests in one fold and trains or validates in the others.

    Args:
        dataset: its own split is not looked at.
        folds: at least 2; stratified by whether any class is present in any case of a patient, plain where all
            patients are alike in that.
        seed: of the folds and of the validation patients; the order of the cases does not matter.
        validation: share of a fold's other patients of either kind, on whose labels the checkpoint is chosen.

    Raises:
        InputError: fewer patients of a kind that there is than folds.
    """
    labels = patient_labels(dataset)
    patients = sorted(labels)
    positive = np.array([bool(is_present(labels[patient]).any()) for patient in patients])
    sizes = int(positive.sum()), int((~positive).sum())
    if folds < 2 or max(sizes) < folds or 0 < min(sizes) < folds:
        raise InputError(
            f"{folds} folds need as many patients with and without a finding, there are {sizes[0]} and {sizes[1]}"
        )
    made, rng = [], np.random.default_rng(seed)
    kind_of_folds = StratifiedKFold if min(sizes) else KFold
    splitter = kind_of_folds(folds, shuffle=True, random_state=seed)
    for others, held_out in splitter.split(patients, positive):
        split_of = {patients[index]: "training" for index in others}
        for kind in (positive[others], ~positive[others]):
            mixed = rng.permutation(others[kind])
            drawn = mixed[: max(1, round(validation * len(mixed)))]  # of a kind that is not there none
            split_of |= {patients[index]: "validation" for index in drawn}
        split_of |= {patients[index]: "test" for index in held_out}
        made.append(resplit(dataset, split_of))
    return made


def patient_labels(dataset: PreparedDataset) -> dict[str, list[float]]:
    """Patient -> the highest label of each class over the patient's cases."""
    labels: dict[str, list[float]] = {}
    for case in dataset.cases():
        known = labels.get(case.patient, case.classes)
        labels[case.patient] = [max(pair) for pair in zip(known, case.classes, strict=True)]
    return labels


def shuffle_labels(dataset: PreparedDataset, seed: int = 0) -> PreparedDataset:
    """Image-level labels of training and of validation in random order; those of the test split stay.

    Every image (a film, or a slice of a volume) gets the labels of a random one of its split, so that their share
    stays and nothing else of them does.
    """
    rng = np.random.default_rng(seed)
    training, validation = _shuffled(dataset.training, rng), _shuffled(dataset.validation, rng)
    return replace(dataset, training=training, validation=validation)


def write_variant(dataset: PreparedDataset, data: Path, folder: Path) -> Path:
    """Write `folder`/dataset.json beside a link to the cache of `data`; returns `folder`."""
    cache = data.resolve() / "cache"
    cache.mkdir(exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # from an earlier call, or from another process just now
        (folder / "cache").symlink_to(cache, target_is_directory=True)
    dataset.write(folder)
    return folder


def resplit(dataset: PreparedDataset, split_of: Mapping[str, str]) -> PreparedDataset:
    """The data set with another split of its patients."""
    cases = sorted(dataset.cases(), key=lambda case: case.case)
    training, validation, test = (tuple(c for c in cases if split_of[c.patient] == split) for split in SPLITS)
    return replace(dataset, training=training, validation=validation, test=test)


def _shuffled(cases: tuple[Case, ...], rng: np.random.Generator) -> tuple[Case, ...]:
    rows = [row for case in cases for row in case.slice_classes or (case.classes,)]
    mixed = iter([rows[index] for index in rng.permutation(len(rows))])
    changed = []
    for case in cases:
        drawn = tuple(next(mixed) for _ in case.slice_classes or (None,))
        whole = tuple(max(column) for column in zip(*drawn, strict=True))
        changed.append(replace(case, classes=whole, slice_classes=None if case.slice_classes is None else drawn))
    return tuple(changed)
