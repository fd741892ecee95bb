"""Slices with one label for a study, and slices with labels of their own."""

from itertools import chain

import numpy as np
import pytest

from monai_wsss.data.bags import bag_items, has_studies


def slices(case, *rows):
    return [
        {"case": case, "slice": i, "classes": np.array(row, np.float32), "image": (f"{case}.npy", i)}
        for i, row in enumerate(rows)
    ]


def seen(bag):
    return [(item["case"], item["slice"]) for item in bag["slices"]]


def test_studies_and_labelled_slices_by_hand():
    study, film, rows = slices("s", *[(1, -1)] * 3), slices("f", (0, 1)), slices("r", (0, 0), (1, 0), (-1, 0), (0, 0.5))
    bags = bag_items(study + film + rows, {"s", "f"}, loose=2)
    # the study; then three positives (f0, r1, r3) in 2 groups, every 2nd; then the others (r0, r2) in one
    expected = [[("s", 0), ("s", 1), ("s", 2)], [("f", 0), ("r", 3)], [("r", 1)], [("r", 0), ("r", 2)]]
    assert list(map(seen, bags)) == expected
    assert [bag["lengths"] for bag in bags] == [[3], [1, 1], [1], [1, 1]]
    assert [bag["classes"].tolist() for bag in bags] == [
        [[1, -1]],
        [[0, 1], [0, 0.5]],
        [[1, 0]],
        [[0, 0], [-1, 0]],
    ]
    assert all(bag["classes"].dtype == np.float32 for bag in bags) and has_studies(bags)


def test_every_slice_comes_once_whatever_the_groups():
    items = slices("a", *[(int(i % 3 == 0),) for i in range(11)]) + slices("b", *[(0,)] * 4)
    for loose in (1, 2, 3, 5, 100):
        bags = bag_items(items, {"b"}, loose)
        assert sorted(chain.from_iterable(map(seen, bags))) == sorted((item["case"], item["slice"]) for item in items)
        assert max(len(bag["lengths"]) for bag in bags) <= loose
        assert all(sum(bag["lengths"]) == len(bag["slices"]) for bag in bags)
        assert all(len({int(row[0]) for row in bag["classes"]}) == 1 for bag in bags)  # the two sides stay apart


@pytest.mark.parametrize("whole", [set(), {"film"}])
def test_without_a_study_of_several_slices_there_is_none(whole):
    items = slices("a", (1,), (0,)) + slices("film", (1,))
    assert not has_studies(bag_items(items, whole)) and not has_studies(bag_items([], whole))
