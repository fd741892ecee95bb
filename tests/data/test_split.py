from collections import Counter

import pytest

from monai_wsss.data import split_by_column, split_patients
from monai_wsss.errors import InputError


def patients(positive, negative=0):
    return {f"P{i:02d}": (1,) for i in range(positive)} | {f"N{i:02d}": (0,) for i in range(negative)}


@pytest.mark.parametrize(
    ("number", "fractions", "sizes"),
    [
        (10, (0.7, 0.1, 0.2), (7, 1, 2)),
        # lacks (.5 .25 .25) train, (0 .5 .5) validation, (.5 -.25 .75) test, (1 0 0) train
        (4, (0.5, 0.25, 0.25), (2, 1, 1)),
        # lacks (.7 .1 .2) train, (.4 .2 .4) train, (.1 .3 .6) test: validation is empty and takes one from training
        (3, (0.7, 0.1, 0.2), (1, 1, 1)),
        (5, (0.8, 0.0, 0.2), (4, 0, 1)),
        (2, (0.7, 0.1, 0.2), (2, 0, 0)),
        (1, (0.7, 0.1, 0.2), (1, 0, 0)),
    ],
)
def test_sizes(number, fractions, sizes):
    count = Counter(split_patients(patients(number), fractions).values())
    assert (count["training"], count["validation"], count["test"]) == sizes


def test_each_group_of_labels_keeps_the_fractions():
    split_of = split_patients(patients(10, 20), (0.7, 0.1, 0.2), seed=3)
    count = Counter((patient[0], split) for patient, split in split_of.items())
    assert count == {
        ("P", "training"): 7, ("P", "validation"): 1, ("P", "test"): 2,
        ("N", "training"): 14, ("N", "validation"): 2, ("N", "test"): 4,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_a_lone_positive_goes_to_training(seed):
    assert split_patients(patients(1, 6), seed=seed)["P00"] == "training"


def test_seed_decides_and_order_does_not():
    data = patients(6, 14)
    backwards = dict(reversed(data.items()))
    assert split_patients(data, seed=1) == split_patients(backwards, seed=1)
    assert split_patients(data, seed=1) != split_patients(data, seed=2)


@pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.1, 0.1), (0, 0.5, 0.5), (1.2, -0.2, 0)])
def test_fractions_must_make_sense(fractions):
    with pytest.raises(InputError, match="three fractions that sum to 1"):
        split_patients(patients(3), fractions)


def test_column():
    split_of, refused = split_by_column({"a": ["test", None, "test"], "b": ["training", "test"], "c": [None]})
    assert split_of == {"a": "test"}
    assert refused == {
        "b": "the table puts its patient into test and training",
        "c": "the table puts its patient into no split",
    }
