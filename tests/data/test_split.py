from collections import Counter

import numpy as np
import pytest

from monai_wsss.data.split import split_by_column, split_by_date, split_leave_out_site, split_patients
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


def test_soft_labels_count_from_a_half():
    soft = {patient: (0.5 if patient < "P05" else 0.8,) for patient in patients(10)} | {
        f"N{i:02d}": (0.4,) for i in range(20)
    }
    assert split_patients(soft, seed=3) == split_patients(patients(10, 20), seed=3)


def deviations(split_of, chosen):
    """By how many patients each split of `chosen` misses 70, 10 and 20 %."""
    count = Counter(split_of[patient] for patient in chosen)
    names = ("training", "validation", "test")
    return [abs(count[name] - share * len(chosen)) for name, share in zip(names, (0.7, 0.1, 0.2), strict=True)]


def test_every_class_and_class_at_a_site_keeps_the_fractions():
    rng = np.random.default_rng(0)
    rates = np.array([0.02, 0.05, 0.2, 0.5])
    classes = {f"p{i}": tuple((rng.random(4) < rates).astype(int).tolist()) for i in range(600)}
    sites = {patient: {str(rng.choice(["A", "B", "C"], p=[0.7, 0.2, 0.1]))} for patient in classes}
    split_of = split_patients(classes, seed=1, sites=sites)
    assert max(deviations(split_of, list(classes))) <= 1
    for k in range(4):
        positive = [patient for patient in classes if classes[patient][k]]
        assert max(deviations(split_of, positive)) < 2
        for site in "ABC":
            assert max(deviations(split_of, [patient for patient in positive if sites[patient] == {site}])) < 2
    for site in "ABC":
        assert max(deviations(split_of, [patient for patient in classes if sites[patient] == {site}])) < 2


def test_known_negatives_are_dealt_out_where_most_labels_are_missing():
    classes = {f"u{i}": (-1,) for i in range(80)} | {f"n{i}": (0,) for i in range(10)} | patients(10)
    split_of = split_patients(classes)
    assert deviations(split_of, [f"n{i}" for i in range(10)]) == pytest.approx([0, 0, 0])
    assert deviations(split_of, list(patients(10))) == pytest.approx([0, 0, 0])


def test_a_site_left_out_is_the_test_split():
    classes = patients(4, 6)
    sites = {patient: {"north"} for patient in classes} | {"P00": {"south"}, "N00": {"south", "north"}}
    del sites["N01"]  # site unknown: trains or validates
    split_of, several, unknown = split_leave_out_site(sites, classes, "south", (0.6, 0.2, 0.2))
    assert (several, unknown) == (["N00"], ["N01"])
    assert {patient for patient, split in split_of.items() if split == "test"} == {"P00", "N00"}
    # of the other eight 3/4 train
    assert Counter(split_of.values()) == {"training": 6, "validation": 2, "test": 2}
    assert sorted(split_of) == sorted(classes)


@pytest.mark.parametrize(
    ("sites", "site", "message"),
    [
        ({"P00": {"north"}, "P01": {"south", "east"}}, "West", "site 'West'; choose one of: east, north, south"),
        ({}, "west", "no site is known"),
        ({"P00": {"west"}, "P01": {"west", "east"}}, "west", "none is left to train on"),
    ],
)
def test_a_site_that_cannot_be_left_out(sites, site, message):
    with pytest.raises(InputError, match=message):
        split_leave_out_site(sites, patients(2), site)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("1 2 3 4 5 6 7 8 9 10", "ttttttt v ee"),
        # after 7 and 8 of 10 patients; days end after 6, 8 and 10: the cut after 7 is a tie, the earlier day wins
        ("1 1 1 1 1 1 2 2 3 3", "tttttt vv ee"),
        # days end after 9 and 10: one is left for the test, so no day is left for validation
        ("1 1 1 1 1 1 1 1 2 3", "tttttttt v e"),
        ("3 2 1", "e v t"),
    ],
)
def test_the_newest_patients_are_the_test_split(days, expected):
    dates = {f"p{i}": f"2024-01-{int(day):02d}" for i, day in enumerate(days.split())}
    letters = {"training": "t", "validation": "v", "test": "e"}
    split_of = split_by_date(dates)
    assert "".join(letters[split_of[f"p{i}"]] for i in range(len(dates))) == expected.replace(" ", "")
    assert split_by_date(dict(reversed(dates.items()))) == split_of


def test_dates_come_in_two_forms():
    split_of = split_by_date({"a": "20240101", "b": "2023-12-31"}, (0.5, 0, 0.5))
    assert split_of == {"b": "training", "a": "test"}


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        ({"a": "2024-01-01", "b": None, "c": "", "d": "2024-13-01", "e": "soon"}, "^4 of 5 patients have no date"),
        ({"a": "2024-01-01", "b": "20240101", "c": "2024-01-02"}, "^2 different dates cannot be split into 3 parts"),
    ],
)
def test_dates_that_cannot_be_split(dates, message):
    with pytest.raises(InputError, match=message):
        split_by_date(dates)
