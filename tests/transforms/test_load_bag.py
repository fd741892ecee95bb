"""Which slices of a study are read, and how."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandScaleIntensityd

from monai_wsss.transforms import LoadSliced
from monai_wsss.transforms.load_bag import LoadBag, spread


@pytest.fixture
def bag(tmp_path):
    """A volume whose slice i holds i everywhere."""
    np.save(tmp_path / "a.npy", np.arange(10, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 4, 4)))
    slices = [{"case": "a", "image": (str(tmp_path / "a.npy"), i)} for i in range(10)]
    return {"slices": slices, "lengths": [10], "classes": np.array([[1, -1]], np.float32)}


def values(loaded):
    assert loaded["image"].shape[1:] == (1, 4, 4)
    return loaded["image"][:, 0, 0, 0].tolist()


@pytest.mark.parametrize("most", [None, 10, 64])
def test_all_slices_in_their_order(bag, most):
    loaded = LoadBag(LoadSliced("image"), most)(bag)
    assert values(loaded) == list(range(10)) and loaded["lengths"] == [10]
    assert loaded["classes"].tolist() == [[1, -1]]


def test_one_of_each_stretch_and_in_the_end_every_slice(bag):
    """10 slices in 4 stretches: 0-1, 2-4, 5-6, 7-9."""
    torch.manual_seed(0)
    load, seen = LoadBag(LoadSliced("image"), 4), [set() for _ in range(4)]
    for _ in range(60):
        loaded = load(bag)
        assert loaded["lengths"] == [4]
        for stretch, value in zip(seen, values(loaded), strict=True):
            stretch.add(value)
    assert seen == [{0, 1}, {2, 3, 4}, {5, 6}, {7, 8, 9}]
    assert len(bag["slices"]) == 10 and bag["lengths"] == [10]


@pytest.mark.parametrize(("depth", "count"), [(1, 1), (7, 7), (65, 64), (1000, 64), (9, 1)])
def test_drawn_slices_rise_and_lie_in_the_volume(depth, count):
    for seed in range(20):
        torch.manual_seed(seed)
        drawn = spread(depth, count)
        assert len(drawn) == count and 0 <= drawn[0] and drawn[-1] < depth
        assert all(a < b for a, b in pairwise(drawn))


def test_slices_with_labels_of_their_own_are_never_left_out(bag):
    group = {"slices": bag["slices"][:3], "lengths": [1, 1, 1], "classes": np.zeros((3, 2), np.float32)}
    loaded = LoadBag(LoadSliced("image"), 1)(group)
    assert values(loaded) == [0, 1, 2] and loaded["lengths"] == [1, 1, 1]


def test_each_slice_draws_its_own_augmentation(bag):
    transform = Compose([LoadSliced("image"), RandScaleIntensityd("image", 0.5, 1.0)]).set_random_state(0)
    got = np.array(values(LoadBag(transform)(bag))[1:]) / np.arange(1, 10)
    assert len(set(got.round(5))) == 9


def test_no_slice_at_all_is_refused():
    with pytest.raises(ValueError, match="most must be >= 1, got 0"):
        LoadBag(LoadSliced("image"), 0)
