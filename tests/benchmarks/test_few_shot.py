from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.rows.few_shot import few_shot_dataset, repeated
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError

MASK = Path("mask.nii.gz")


def case(name, *classes, slices=None, truth=MASK):
    return Case(Path(f"{name}.nii.gz"), name, name[:2], classes, slices, truth=truth)


def dataset(*validation, labels=("lesion",)):
    return PreparedDataset(labels, training=(case("t0", 1),), validation=validation, test=(case("x0", 1),))


VOLUMES = [case(f"v{number}", 1, slices=((0,), (1,))) for number in range(8)]
FILMS = [case(f"v{number}", number % 2) for number in range(8)]


def names(cases):
    return [item.case for item in cases]


def test_only_drawn_patients_are_left_to_learn_from():
    found = few_shot_dataset(dataset(*VOLUMES), 3)
    assert len(found.training) == 3 and found.training == found.validation
    assert set(found.training) <= set(VOLUMES) and names(found.test) == ["x0"]


def test_the_draw_depends_on_the_seed_alone():
    draws = [names(few_shot_dataset(dataset(*cases), 3).training) for cases in (VOLUMES, VOLUMES[::-1])]
    assert draws[0] == draws[1]
    assert len({tuple(names(few_shot_dataset(dataset(*VOLUMES), 3, seed).training)) for seed in range(9)}) > 3


def test_all_cases_of_a_patient_come_along():
    twice = [case("v0a", 1, slices=((0,), (1,))), case("v0b", 0)]
    assert names(few_shot_dataset(dataset(*twice), 1).training) == ["v0a", "v0b"]


def test_films_get_as_many_negatives():
    found = few_shot_dataset(dataset(*FILMS), 2).training
    assert [item.classes for item in found] == [(1,), (1,), (0,), (0,)]


def test_fewer_patients_than_asked_for():
    assert len(few_shot_dataset(dataset(*VOLUMES[:2]), 4).training) == 2
    assert len(few_shot_dataset(dataset(*FILMS[:3]), 4).training) == 2  # v1 has a finding, v0 or v2 has none


def test_classes_take_turns():
    many = [case(f"v{number}", 1, 0, slices=((0, 0), (1, 0))) for number in range(8)]
    one = case("v9", 0, 1, slices=((0, 0), (0, 1)))
    for seed in range(5):
        assert one in few_shot_dataset(dataset(*many, one, labels=("a", "b")), 2, seed).training


def test_patients_without_masks_are_not_drawn():
    unmasked = [replace(item, truth=None) for item in VOLUMES[:6]]
    found = few_shot_dataset(dataset(*unmasked, *VOLUMES[6:]), 4)
    assert set(found.training) == set(VOLUMES[6:])


@pytest.mark.parametrize("cases", [(), FILMS[::2], [replace(item, truth=None) for item in VOLUMES]])
def test_nobody_to_draw(cases):
    with pytest.raises(InputError, match="no validation patient with a finding has true masks"):
        few_shot_dataset(dataset(*cases))


def test_no_patients_at_all():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        few_shot_dataset(dataset(*VOLUMES), 0)


@pytest.mark.parametrize(
    ("slices", "negatives", "times"),
    [  # two slices with a lesion and six without
        (80, None, 10),  # 8 a time
        (80, 1.0, 20),  # 2 + 2
        (80, 9.0, 10),  # there are no more than six
        (80, 0.25, 40),  # 2 + round(.5) = 2 + 0
        (13, None, 2),  # 1.6
        (3, None, 1),
    ],
)
def test_an_epoch_as_long_as_wanted(slices, negatives, times):
    volume = case("v0", 1, slices=((0,), (1,), (0,), (0,)))
    few = replace(dataset(), training=(volume, replace(volume, case="v1")))
    found = repeated(few, slices, negatives)
    assert names(found.training) == ["v0", "v1"] * times and found.test == few.test
