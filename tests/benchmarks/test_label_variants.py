from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.rows.label_variants import flip_labels, training_subset
from monai_wsss.data import Case, PreparedDataset


def case(number, *slices, patient=None, film=None):
    name, rows = f"c{number:02d}", tuple((value,) for value in slices)
    whole = (film,) if film is not None else max(rows)
    return Case(Path(f"{name}.nii.gz"), name, patient or f"p{number:02d}", whole, rows or None)


def patients(dataset):
    return {found.patient for found in dataset.training}


@pytest.fixture
def dataset():
    """Training: patients 0 to 7 with a finding, of whom 0 has two volumes, and 8 to 11 without."""
    training = [case(n, 0, int(n < 8)) for n in range(12)] + [case(20, 0, 0, patient="p00")]
    validation, test = (case(30, 0, 1), case(31, 0, 0)), (case(40, 1, 0),)
    return PreparedDataset(("x",), training=tuple(training), validation=validation, test=test)


@pytest.mark.parametrize(
    ("share", "positive", "negative"),
    [(1.0, 8, 4), (0.5, 4, 2), (0.25, 2, 1), (0.01, 1, 1)],  # one of each kind at least
)
def test_a_share_of_either_kind_of_patients(dataset, share, positive, negative):
    found = patients(training_subset(dataset, share))
    assert sum(name < "p08" for name in found) == positive and sum(name >= "p08" for name in found) == negative


def test_subsets_are_nested_and_keep_whole_patients(dataset):
    parts = [training_subset(dataset, share, seed=3) for share in (0.25, 0.5, 1.0)]
    assert patients(parts[0]) < patients(parts[1]) < patients(parts[2])
    assert parts[2] == dataset
    for part in parts:
        assert (part.validation, part.test) == (dataset.validation, dataset.test)
        assert len(part.training) == len(patients(part)) + ("p00" in patients(part))


def test_the_choice_depends_on_the_seed_and_not_on_the_order(dataset):
    turned = replace(dataset, training=dataset.training[::-1])
    assert patients(training_subset(turned, 0.5)) == patients(training_subset(dataset, 0.5))
    assert len({frozenset(patients(training_subset(dataset, 0.5, seed))) for seed in range(5)}) > 1


def test_patients_of_one_kind_alone(dataset):
    alike = replace(dataset, training=dataset.training[:8])
    assert len(patients(training_subset(alike, 0.25))) == 2


def rows(dataset, split):
    return [row[0] for found in dataset.cases(split) for row in found.slice_classes or (found.classes,)]


def turned(dataset, share, seed=0):
    """Places of the labels that differ, by split."""
    flipped, _ = flip_labels(dataset, share, seed)
    return {
        (split, place)
        for split in ("training", "validation", "test")
        for place, (a, b) in enumerate(zip(rows(dataset, split), rows(flipped, split), strict=True))
        if a != b
    }


@pytest.mark.parametrize(("share", "flipped"), [(0, 0), (0.1, 3), (0.25, 7), (1, 30)])
def test_a_share_of_the_labels_is_turned(dataset, share, flipped):
    """26 slices train, 4 validate: round(2.6) + round(0.4), round(6.5) = 6 + 1, and all; none tests."""
    found, number = flip_labels(dataset, share)
    assert number == len(turned(dataset, share)) == flipped
    assert found.test == dataset.test
    for before, after in zip(dataset.cases(), found.cases(), strict=True):
        assert replace(after, classes=before.classes, slice_classes=before.slice_classes) == before
        assert after.classes == max(after.slice_classes)


def test_turned_labels_are_nested(dataset):
    assert turned(dataset, 0.1) < turned(dataset, 0.25) < turned(dataset, 0.5)
    assert turned(dataset, 0.25) != turned(dataset, 0.25, seed=1)


def test_soft_and_unknown_labels_stay_and_a_film_is_turned_as_a_whole():
    films = [case(n, film=value) for n, value in enumerate((0, 1, -1, 0.3))]
    found, number = flip_labels(PreparedDataset(("x",), training=(*films, case(9, 1, -1, 0))), 1)
    assert number == 4 and [one.classes for one in found.training] == [(1,), (0,), (-1,), (0.3,), (1,)]
    assert found.training[4].slice_classes == ((0,), (-1,), (1,)) and found.training[0].slice_classes is None


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_shares_that_cannot_be(dataset, share):
    with pytest.raises(ValueError, match=str(share)):
        flip_labels(dataset, share)
    with pytest.raises(ValueError, match="0, 1"):
        training_subset(dataset, max(share, 0) * 2)
