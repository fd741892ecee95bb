from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rows.folds import patient_folds, patient_labels, shuffle_labels, write_variant
from monai_wsss.data import Case, PreparedDataset, cache_folder
from monai_wsss.errors import InputError


def case(number, patient, label, slices=None):
    return Case(Path(f"c{number}.nii.gz"), f"c{number}", f"p{patient:02d}", (label,), slices)


@pytest.fixture
def dataset():
    """Thirty patients, a third positive; patients 0 and 1 have a second film with the other label."""
    cases = [case(n, n, int(n % 3 == 0)) for n in range(30)] + [case(30, 0, 0), case(31, 1, 1)]
    return PreparedDataset(("x",), training=tuple(cases[::2]), test=tuple(cases[1::2]))


def test_every_patient_tests_once_and_never_where_it_trains(dataset):
    tested = []
    for fold in patient_folds(dataset, 5):
        of_split = {split: {c.patient for c in fold.cases(split)} for split in ("training", "validation", "test")}
        assert not of_split["test"] & (of_split["training"] | of_split["validation"])
        assert not of_split["training"] & of_split["validation"] and of_split["validation"]
        assert {c.case for c in fold.cases()} == {c.case for c in dataset.cases()}
        tested += sorted(of_split["test"])
    assert sorted(tested) == sorted({c.patient for c in dataset.cases()})


def test_folds_and_their_validation_hold_both_answers(dataset):
    labels = patient_labels(dataset)
    for fold in patient_folds(dataset, 5):
        positives = [labels[patient] == [1] for patient in {c.patient for c in fold.test}]
        assert len(positives) == 6 and sum(positives) in (2, 3)  # 11 of 30
        assert {c.classes for c in fold.validation} == {(0,), (1,)}


def test_a_patient_is_positive_by_any_film(dataset):
    labels = patient_labels(dataset)
    assert labels["p00"] == labels["p01"] == [1] and labels["p02"] == [0]


def test_folds_depend_on_the_seed_and_not_on_the_order(dataset):
    folds = patient_folds(dataset, 5, seed=1)
    turned = replace(dataset, training=dataset.test[::-1], test=dataset.training)
    assert folds == patient_folds(turned, 5, seed=1)
    assert folds != patient_folds(dataset, 5, seed=2)


@pytest.mark.parametrize("folds", [1, 12])
def test_folds_that_cannot_be_are_refused(dataset, folds):
    with pytest.raises(InputError, match="11 and 19"):
        patient_folds(dataset, folds)


@pytest.mark.parametrize("label", [0, 1])
def test_patients_that_are_all_alike_fold_plainly(label):
    """As where every patient has a tumour and only slices lack one: 12 patients, 4 folds of 3."""
    dataset = PreparedDataset(("x",), training=tuple(case(n, n, label) for n in range(12)))
    folds = patient_folds(dataset, 4)
    assert sorted(c.case for fold in folds for c in fold.test) == sorted(c.case for c in dataset.training)
    for fold in folds:
        assert [len(fold.test), len(fold.validation), len(fold.training)] == [3, 1, 8]
        assert not {c.patient for c in fold.test} & {c.patient for c in fold.validation + fold.training}
    assert folds != patient_folds(dataset, 4, seed=1)
    with pytest.raises(InputError, match="13 folds need as many patients"):
        patient_folds(dataset, 13)


def test_shuffled_labels_keep_their_share_and_leave_the_test_split():
    rng = np.random.default_rng(0)
    volumes = []
    for number in range(8):
        slices = tuple((int(value),) for value in rng.random(6) < 0.3)
        volumes.append(case(number, number, max(row[0] for row in slices), slices))
    volumes[0] = case(0, 0, 1)  # labelled as a whole: one row among the slices
    dataset = PreparedDataset(("x",), training=tuple(volumes[:5]), validation=tuple(volumes[5:7]), test=(volumes[7],))
    shuffled = shuffle_labels(dataset)
    assert shuffled.test == dataset.test and shuffled != dataset

    def positives(found, split):
        return sum(row[0] for c in found.cases(split) for row in c.slice_classes or (c.classes,))

    for split in ("training", "validation"):
        assert positives(shuffled, split) == positives(dataset, split)
        for before, after in zip(dataset.cases(split), shuffled.cases(split), strict=True):
            assert (before.case, before.patient, before.image) == (after.case, after.patient, after.image)
            assert len(before.slice_classes or ()) == len(after.slice_classes or ())
            assert after.slice_classes is None or after.classes == max(after.slice_classes)
    assert shuffle_labels(dataset) == shuffled != shuffle_labels(dataset, seed=1)


def test_a_variant_shares_images_and_cache(films, tmp_path):
    data = films.data
    dataset = PreparedDataset.read(data)
    for _ in range(2):  # a second call finds the link
        folder = write_variant(dataset, data, tmp_path / "fold")
    read = PreparedDataset.read(folder)
    assert [c.image.resolve() for c in read.cases()] == [c.image.resolve() for c in dataset.cases()]
    array = f"{dataset.cases()[0].case}.npy"
    parameters = dataset.preprocessing
    assert (cache_folder(folder, parameters) / array).samefile(cache_folder(data, parameters) / array)
