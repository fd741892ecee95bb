"""Data sets with fewer labelled training patients, or with wrong labels, for curves of robustness."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.data.presence import is_certain, is_present


def training_subset(dataset: PreparedDataset, share: float, seed: int = 0) -> PreparedDataset:
    """The data set with a random share of its training patients; validation and test stay.

    `round(share * n)` of the n patients with a finding, and as many of those without, at least one of each kind that
    there is. Of one seed the patients of a smaller share are among those of a larger one.

    Args:
        dataset: with a split.
        share: of the training patients, in (0, 1].
        seed: of the choice; the order of the cases does not matter.

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of training patients lies in (0, 1], got {share}")
    positive = {case.patient for case in dataset.training if is_present(_rows(case)).any()}
    rng, kept = np.random.default_rng(seed), set()
    for kind in (positive, {case.patient for case in dataset.training} - positive):
        if kind:
            kept |= set(rng.permutation(sorted(kind))[: max(1, round(share * len(kind)))].tolist())
    return replace(dataset, training=tuple(case for case in dataset.training if case.patient in kept))


def flip_labels(dataset: PreparedDataset, share: float, seed: int = 0) -> tuple[PreparedDataset, int]:
    """The data set with a random share of its image-level labels turned, in training and in validation.

    A label is that of one class in one image (a film, or a slice of a volume). Of the certain ones, 0 or 1, of a split
    `round(share * n)` become 1 - label; soft and unknown ones stay, and so does the test split. Of one seed the labels
    that a smaller share turns are among those of a larger one.

    Args:
        dataset: with a split.
        share: of the certain labels, in [0, 1].
        seed: of the choice.

    Returns:
        The data set, and the number of labels turned.

    Raises:
        ValueError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share of flipped labels lies in [0, 1], got {share}")
    rng = np.random.default_rng(seed)
    (training, some), (validation, more) = (
        _flipped(cases, share, rng) for cases in (dataset.training, dataset.validation)
    )
    return replace(dataset, training=training, validation=validation), some + more


def _rows(case: Case) -> np.ndarray:
    """Labels of the images of a case, (images, classes)."""
    return np.array(case.slice_classes or (case.classes,), float)


def _flipped(cases: Sequence[Case], share: float, rng: np.random.Generator) -> tuple[tuple[Case, ...], int]:
    if not cases:
        return (), 0
    labels = np.concatenate([_rows(case) for case in cases])
    certain = rng.permutation(np.argwhere(is_certain(labels)))  # (row, class), in random order
    turned = tuple(certain[: round(share * len(certain))].T)
    labels[turned] = 1 - labels[turned]
    return tuple(_relabelled(cases, labels.tolist())), len(turned[0])


def _relabelled(cases: Sequence[Case], rows: Iterable[Sequence[float]]) -> Iterable[Case]:
    """The cases with new labels, image by image; a volume's own labels are the highest of its slices."""
    of_images = iter(rows)
    for case in cases:
        drawn = tuple(tuple(next(of_images)) for _ in case.slice_classes or (None,))
        whole = tuple(max(column) for column in zip(*drawn, strict=True))
        yield replace(case, classes=whole, slice_classes=None if case.slice_classes is None else drawn)
