"""From class maps and boundaries to pseudo masks."""

import numpy as np
import pytest
import torch
from confident_cases import Backbone
from torch.nn import functional as F

from monai_wsss.data import PreparedDataset
from monai_wsss.engines import save_weights
from monai_wsss.errors import InputError
from monai_wsss.networks.nets.benet import BENet
from monai_wsss.networks.nets.irnet import IRNet
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import walk
from monai_wsss.workflow.walk import WalkStage

CRF = {
    "crf_confidence": 0.7,
    "crf_sxy_gaussian": 3.0,
    "crf_weight_gaussian": 3.0,
    "crf_sxy_bilateral": 50.0,
    "crf_srgb": 5.0,
    "crf_weight_bilateral": 10.0,
    "crf_iterations": 10,
}


class Bright(torch.nn.Module):
    """Boundaries are where a cell of the image is bright: 1 is a wall, 0 is none."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.axes = set()

    def boundary(self, image, flips=True, flip_axis=-1):
        self.axes.add((flips, flip_axis))
        return (20 * F.avg_pool2d(self.weight * image, 4, ceil_mode=True) - 10).sigmoid().detach()


@pytest.fixture
def grid():
    return GridPreprocessing(pixel_spacing=None, size=(32, 32))


@pytest.fixture
def stage(place, write_cached, tmp_path):
    """Makes a stage on cases of (images (D, H, W), maps (D, K, H, W)), written once."""
    written = {}

    def make(cases, network=None, **settings):
        network = network or Bright()
        if not written:
            names = list("abc"[: next(iter(cases.values()))[1].shape[1]])
            splits = ("training", "validation", "test")
            given = {name: (np.asarray(image)[:, None], (1,) * len(names)) for name, (image, _) in cases.items()}
            found = {s: {n: given[n] for i, n in enumerate(given) if i % 3 == k} for k, s in enumerate(splits)}
            write_cached(names, **found)
            (tmp_path / "run" / "seeds").mkdir(parents=True)
            for name, (_, maps) in cases.items():
                np.save(tmp_path / "run" / "seeds" / f"{name}.npy", np.asarray(maps).astype(np.float16))
            written.update(names=names)
        save_weights(network, tmp_path / "run" / settings.get("boundary", "irnet") / "model.pt")
        stage_ = WalkStage(network, **CRF | settings, labels=written["names"], **place)
        stage_.counts = stage_.work(None)
        return stage_

    return make


def masks(stage_, name="c"):
    return np.load(stage_.folder / "walk" / f"{name}.npy")


def maps_of(stage_, name="c"):
    return np.load(stage_.folder / "maps" / f"{name}.npy")


def boundaries(stage_, name="c"):
    return np.load(stage_.folder / "boundary" / f"{name}.npy")


def wall(depth=1):
    """A wall of one cell, columns 16 to 19, in a dark image."""
    image = np.zeros((depth, 32, 32))
    image[:, :, 16:20] = 1.0
    return image


def seeds(*spots, classes=1):
    """Maps of one slice: each spot is (class, row, column, value), 4 x 4 pixels."""
    maps = np.zeros((1, classes, 32, 32))
    for k, y, x, value in spots:
        maps[0, k, y : y + 4, x : x + 4] = value
    return maps


@pytest.mark.parametrize("height", [0.0, 1.0])
def test_a_network_without_boundaries_is_told(stage, caplog, height):
    stage({"c": (wall() * height, seeds((0, 8, 4, 0.7)))})
    said = "walk: 1 of 1 slices with a map have no boundary"
    assert (said in caplog.text) == (height == 0)


def test_a_spot_fills_its_side_of_a_wall_by_hand(stage):
    """After 256 steps the left side is even and the wall's own cell 0. Cell 3 is at pixel 13.5, cell 4 at 17.5: between
    them the map falls by a quarter a pixel, to .375 at column 16 and .125 at column 17."""
    stage_ = stage({"c": (wall(), seeds((0, 8, 4, 0.7)))}, inside_body=True)
    maps, found = maps_of(stage_), masks(stage_)
    assert maps.dtype == np.float16 and maps.shape == (1, 1, 32, 32) and maps.max() == 1
    assert np.allclose(maps[0, 0, :, :14], 1, atol=0.02) and (maps[0, 0, :, 20:] < 1e-3).all()
    assert maps[0, 0, 5, 14:18] == pytest.approx([0.875, 0.625, 0.375, 0.125], abs=0.02)
    assert found.dtype == np.uint8 and (found[0, :, :17] == 1).all() and not found[0, :, 17:].any()
    slices = {"slices": 1, "slices_with_maps": 1, "slices_with_boundary": 1, "slices_with_mask": 1}
    assert stage_.counts == slices | {"mask_pixels": 17 * 32}


@pytest.mark.parametrize(("normalise", "labels"), [("class", {0, 1, 2}), ("image", {0, 1})])
def test_a_weak_class_beside_a_strong_one(stage, normalise, labels):
    """Class 2 at a tenth of class 1's strength, on the other side of the wall."""
    maps = seeds((0, 8, 4, 1.0), (1, 8, 24, 0.1), classes=2)
    stage_ = stage({"c": (wall(), maps)}, normalise=normalise, threshold=0.3)
    found, walked = masks(stage_), maps_of(stage_)
    assert set(np.unique(found)) == labels and (found[0, :, :16] == 1).all()
    assert walked[0, 0].max() == 1
    if normalise == "class":
        assert (found[0, :, 20:] == 2).all() and walked[0, 1].max() == 1
    else:  # 3 cells of the right side share what the 4 of the left side share: .1 x 4 / 3, if the corners are left out
        assert 0.05 < walked[0, 1].max() < 0.2


def test_the_stored_maps_are_what_was_thresholded(stage):
    rng = np.random.default_rng(0)
    cases = {"c": (rng.uniform(0, 1, (3, 32, 32)), rng.uniform(0, 1, (3, 2, 32, 32)) ** 4)}
    stage_ = stage(cases, threshold=0.6, noise_min_area=0.0)
    walked = maps_of(stage_).astype(np.float32)
    expected = np.where(walked.max(1) >= np.float32(0.6), walked.argmax(1) + 1, 0)
    assert np.array_equal(masks(stage_), expected) and 0 < expected.mean() < 2


def test_slices_without_a_map_stay_background_and_are_not_walked(stage, monkeypatch):
    calls, original = [], walk.random_walk
    monkeypatch.setattr(walk, "random_walk", lambda maps, *a, **k: calls.append(len(maps)) or original(maps, *a, **k))
    maps = np.concatenate([seeds(), seeds((0, 8, 4, 1.0)), seeds(), seeds((0, 0, 24, 0.2))])
    stage_ = stage({"c": (wall(4), maps), "d": (wall(2), np.zeros((2, 1, 32, 32)))})
    assert calls == [2]
    assert masks(stage_).any(axis=(1, 2)).tolist() == [False, True, False, True]
    assert masks(stage_, "d").shape == (2, 32, 32) and not masks(stage_, "d").any() and not maps_of(stage_, "d").any()
    assert stage_.counts["slices"] == 6 and stage_.counts["slices_with_maps"] == 2


def test_boundaries_are_written_on_the_grid_of_stride_four(stage):
    """The wall is the grid's column 4: sigmoid(10) there, sigmoid(-10) elsewhere; 0 in slices without a class map."""
    maps = np.concatenate([seeds((0, 8, 4, 1.0)), seeds()])
    stage_ = stage({"c": (wall(2), maps), "d": (wall(), seeds())})
    found = boundaries(stage_)
    assert found.dtype == np.float16 and found.shape == (2, 8, 8)
    assert found[0, 3] == pytest.approx([4.54e-5] * 4 + [1.0] + [4.54e-5] * 3, abs=1e-6)
    assert not found[1].any() and boundaries(stage_, "d").shape == (1, 8, 8) and not boundaries(stage_, "d").any()


@pytest.mark.parametrize(("multiply_edge", "reached"), [(True, False), (False, True)])
def test_whether_the_walk_starts_on_boundaries(stage, multiply_edge, reached):
    """A seed on the wall itself: multiplied by 1 - boundary nothing is left of it, else it stays there."""
    stage_ = stage({"c": (np.full((1, 32, 32), 3.0), seeds((0, 8, 4, 1.0)))}, multiply_edge=multiply_edge)
    assert masks(stage_)[0, 8:12, 4:8].any() == reached and not masks(stage_)[0, 20:].any()


@pytest.mark.parametrize("boundary", ["irnet", "bes"])
def test_weights_are_of_the_boundary_network_that_is_named(stage, tmp_path, boundary):
    cases = {"c": (wall(), seeds((0, 8, 4, 1.0)))}
    other, blind = {"irnet": "bes", "bes": "irnet"}[boundary], Bright()
    torch.nn.init.zeros_(blind.weight)  # sees no wall
    save_weights(blind, tmp_path / "run" / other / "model.pt")
    stage_ = stage(cases, boundary=boundary)
    assert stage_._inputs().keys() == {"dataset", "seeds", boundary}
    assert not masks(stage_)[0, :, 17:].any()
    (tmp_path / "run" / boundary / "model.pt").unlink()
    (tmp_path / "run" / boundary).rmdir()
    with pytest.raises(InputError, match=f"run the stage that writes {boundary} first"):
        stage_.run()


def test_benet_and_irnet_are_walked_alike(stage):
    """The same boundary branch gives the same files, whichever network it is part of."""
    torch.manual_seed(0)
    irnet = IRNet(Backbone(), boundary_channels=4, displacement_channels=32).eval()
    benet = BENet(Backbone(), boundary_channels=4).eval()
    benet.load_state_dict({name: irnet.state_dict()[name] for name in benet.state_dict()})
    cases = {"c": (np.random.default_rng(0).normal(size=(1, 32, 32)), seeds((0, 8, 4, 1.0)))}
    found = []
    for network, boundary in ((irnet, "irnet"), (benet, "bes")):
        stage_ = stage(cases, network, boundary=boundary)
        found.append((masks(stage_), maps_of(stage_), boundaries(stage_)))
    assert all(np.array_equal(one, two) for one, two in zip(*found, strict=True))
    assert found[0][2].std() > 0 and found[0][1].any()


def test_a_seed_on_a_boundary_alone_is_nothing_not_noise(stage):
    """x_0 = M (1 - boundary) is 0 there; what is left must not be divided up to 1."""
    stage_ = stage({"c": (np.full((1, 32, 32), 3.0), seeds((0, 8, 4, 1.0)))})
    assert not masks(stage_).any() and not maps_of(stage_).any() and np.isfinite(maps_of(stage_)).all()


class TestAnySize:
    @pytest.fixture
    def grid(self):
        return GridPreprocessing(pixel_spacing=2.0, size=(30, 25))

    def test_sides_that_are_no_multiple_of_four(self, stage):
        image, maps = np.zeros((2, 30, 25)), np.zeros((2, 1, 30, 25))
        image[:, :, 12:16], maps[1, :, 28:, 3:6] = 1.0, 1.0
        stage_ = stage({"c": (image, maps)}, inside_body=False)
        found = masks(stage_)
        # as above: cell 2 ends at pixel 9.5, the wall's cell is at 13.5
        assert found.shape == (2, 30, 25) and not found[0].any()
        assert (found[1, :, :13] == 1).all() and not found[1, :, 13:].any()
        assert boundaries(stage_).shape == (2, 8, 7)

    def test_boundaries_are_averaged_with_those_of_the_film_mirrored_sideways(self, stage):
        network = Bright()
        stage({"c": (np.zeros((1, 32, 32)), np.ones((1, 1, 32, 32)))}, network, inside_body=False)
        assert network.axes == {(True, 0)}  # the first axis is the patient's left


def written(stage_, name):
    return masks(stage_, name), maps_of(stage_, name), boundaries(stage_, name)


@pytest.fixture
def many():
    """A film, volumes of 3 and 2 slices, and another film."""
    rng = np.random.default_rng(1)
    depths = {"c": 1, "d": 3, "e": 2, "f": 1}
    return {n: (rng.uniform(0, 1, (d, 32, 32)), rng.uniform(0, 1, (d, 2, 32, 32)) ** 6) for n, d in depths.items()}


def test_neither_batch_size_nor_the_order_of_cases_matters(stage, many, monkeypatch):
    found = {}
    for size in (1, 3, 100):
        stage_ = stage(many, batch_size=size, exp_times=4)
        found[size] = {name: written(stage_, name) for name in many}
    cases = stage_.dataset.cases()
    monkeypatch.setattr(PreparedDataset, "cases", lambda *_: cases[::-1])
    stage_ = stage(many, batch_size=3, exp_times=4)
    found["reversed"] = {name: written(stage_, name) for name in many}
    for other in found.values():
        for name in many:
            assert np.array_equal(other[name][0], found[1][name][0]) and found[1][name][0].any()
            assert np.allclose(other[name][1], found[1][name][1], atol=1e-3)
            assert np.allclose(other[name][2], found[1][name][2], atol=1e-3) and found[1][name][2].any()


def test_small_weak_regions_become_background(stage):
    """A film that is all wall but for two rooms: nothing leaves them. The weak one has 4 x 4 of 1024 pixels."""
    image = np.ones((1, 32, 32))
    image[:, 4:16, 4:16], image[:, 24:28, 24:28] = 0.0, 0.0
    maps = seeds((0, 4, 4, 1.0), (0, 24, 24, 0.04))
    kept = stage({"c": (image, maps)}, noise_min_area=0.0)
    assert masks(kept)[0, 25, 25] == 1 and maps_of(kept)[0, 0, 25, 25] < 0.5
    dropped = stage({"c": (image, maps)}, noise_min_area=0.05)
    assert masks(dropped)[0, 25, 25] == 0 and masks(dropped)[0, 8, 8] == 1
    assert masks(stage({"c": (image, maps)}, noise_min_area=0.05, noise_min_confidence=0.1))[0, 25, 25] == 1


@pytest.mark.parametrize("final", [False, True])
def test_the_last_crf_follows_the_image(stage, final):
    """The walk stops half a cell inside the wall; the image's edge is at column 16."""
    stage_ = stage(
        {"c": (wall(), seeds((0, 8, 4, 1.0)))}, final_crf=final, crf_weight_gaussian=0.0, crf_sxy_bilateral=8.0
    )
    assert masks(stage_)[0, 16, 14:18].tolist() == ([1, 1, 0, 0] if final else [1, 1, 1, 0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalise": "volume"}, "normalise must be class or image, got volume"),
        ({"threshold": 0.0}, "above 0"),
        ({"boundary": "edges"}, "boundary must be irnet or bes, got edges"),
    ],
)
def test_bad_values_are_named(stage, settings, message):
    with pytest.raises(ValueError, match=message):
        stage({"c": (wall(), seeds())}, **settings)


def test_weights_of_another_network_are_refused_in_one_line(stage, tmp_path):
    stage_ = stage({"c": (wall(), seeds())})
    torch.save({"other": torch.zeros(1)}, tmp_path / "run" / "irnet" / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: broken, or weights of another network"):
        stage_.work(None)
