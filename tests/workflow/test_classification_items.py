"""Which slices a classifier or a localiser learns from."""

import numpy as np
import pytest

from monai_wsss.errors import InputError
from monai_wsss.workflow.classification_items import classification_items


@pytest.fixture
def items(write_cached, place, grid):
    def make(rows, split="training", labels="ab"):
        write_cached(labels, **{split: {"c": (np.zeros((len(rows), 1, 8, 8)), rows)}})
        return classification_items(place["dataset_dir"], split, grid)

    return make


def test_slices_with_a_known_label_are_kept(items):
    rows = [[0, 0], [-1, -1], [1, 0], [-1, 1], [0.4, -1]]
    found = items(rows)
    assert [item["slice"] for item in found] == [0, 2, 3, 4]
    assert [item["classes"].tolist() for item in found[:3]] == [[0, 0], [1, 0], [-1, 1]]
    assert all(item["case"] == "c" and item["image"][1] == item["slice"] for item in found)


def test_a_label_of_the_volume_is_that_of_every_slice(write_cached, place, grid):
    write_cached("a", validation={"c": (np.zeros((3, 1, 8, 8)), (1.0,)), "d": (np.zeros((2, 1, 8, 8)), (0.0,))})
    found = classification_items(place["dataset_dir"], "validation", grid)
    assert [float(item["classes"][0]) for item in found] == [1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("rows", "split", "message"),
    [
        ([[-1, -1]], "training", "no labelled slice in training; change the split"),
        ([[0, 0]], "validation", "no positive slice in validation; change the split or label more cases"),
        ([[0, 0.4]], "training", "no positive slice in training"),
        ([[1, 0], [0, 0]], "training", r"no positive slice of class b in training; leave the class out"),
        ([[1, 1], [1, 0]], "training", r"no negative slice of class a in training"),
        ([[1, 1], [0.4, 0]], "training", r"no negative slice of class a in training"),  # soft: neither
    ],
)
def test_what_cannot_be_learnt_is_refused(items, rows, split, message):
    with pytest.raises(InputError, match=f"dataset.json: {message}"):
        items(rows, split)


def test_validation_may_lack_an_answer_of_a_class(items):
    assert len(items([[1, 0], [1, 0]], "validation")) == 2


def test_a_validation_split_without_a_negative_is_said(items, caplog):
    assert len(items([[1, 1], [1, 0]], "validation")) == 2
    assert "no negative slice of class a in validation" in caplog.text
    assert "class b" not in caplog.text
