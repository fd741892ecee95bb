"""From class maps to pseudo masks."""

from importlib import import_module

import numpy as np
import pytest
import torch

from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import RefineStage

OP = import_module("monai_wsss.ops.label_crf")  # the package gives the function of this name
OFF = {"crf_weight_gaussian": 0.0, "crf_weight_bilateral": 0.0}
PAPER = {
    "threshold": 0.35,
    "crf_confidence": 0.7,
    "crf_sxy_gaussian": 3.0,
    "crf_weight_gaussian": 3.0,
    "crf_sxy_bilateral": 20.0,
    "crf_srgb": 13.0,
    "crf_weight_bilateral": 10.0,
    "crf_iterations": 10,
}


@pytest.fixture
def stage(place, write_cached):
    """A stage on one training case of three slices and three classes; body = the whole slice but a frame."""

    def make(maps, volume=None, **settings):
        if volume is None:
            volume = np.zeros((len(maps), 1, 8, 8))
            volume[:, :, 1:7, 1:7] = np.random.default_rng(0).uniform(1, 2, (len(maps), 1, 6, 6))
        write_cached("abc"[: maps.shape[1]], training={"c": (volume, (1,) * maps.shape[1])})
        (stage_ := RefineStage(**PAPER | settings, labels=["a"] * maps.shape[1], **place)).folder.mkdir(parents=True)
        (stage_.run_folder / "seeds").mkdir()
        np.save(stage_.run_folder / "seeds" / "c.npy", maps.astype(np.float16))
        return stage_

    return make


def masks(stage_):
    counts = stage_.work(None)
    return [np.load(stage_.folder / kind / "c.npy") for kind in ("refined", "crf")], counts


def squares():
    """Slice 0: class 2 at .9 in 2 x 2 pixels and class 1 at .5 there; slice 1: empty; slice 2: classes 1 and 3."""
    maps = np.zeros((3, 3, 8, 8))
    maps[0, 1, 2:4, 2:4], maps[0, 0, 2:4, 2:4] = 0.9, 0.5
    maps[1, :] = 0.3
    maps[2, 0, 1:3, 1:3], maps[2, 2, 4:7, 4:7] = 0.4, 1.0
    return maps


def test_labels_by_hand_and_crf_off_changes_nothing(stage):
    (refined, crf), counts = masks(stage(squares(), **OFF))
    expected = np.zeros((3, 8, 8), np.uint8)
    expected[0, 2:4, 2:4], expected[2, 1:3, 1:3], expected[2, 4:7, 4:7] = 2, 1, 3
    assert refined.dtype == crf.dtype == np.uint8
    assert np.array_equal(refined, expected) and np.array_equal(crf, expected)
    assert counts == {
        "slices_with_refined_mask": 2,
        "slices_with_crf_mask": 2,
        "refined_pixels": 4 + 4 + 9,
        "crf_pixels": 4 + 4 + 9,
    }


def test_no_iteration_changes_nothing(stage):
    (refined, crf), _ = masks(stage(squares(), crf_iterations=0))
    assert refined.any() and np.array_equal(refined, crf)


def test_only_present_labels_enter_a_slices_crf(stage, monkeypatch):
    seen, original = [], OP.dense_crf

    def spy(probability, image, **settings):
        seen.append((probability.shape, image.shape, settings["sxy_gaussian"], settings["sxy_bilateral"]))
        return original(probability, image, **settings)

    monkeypatch.setattr(OP, "dense_crf", spy)
    (_, crf), _ = masks(stage(squares()))
    # slice 1 is empty and needs none; slice 0 has background and 2, slice 2 background, 1 and 3;
    # widths in mm are pixels of 2 mm: 3 / 2 and 20 / 2
    assert seen == [((1, 2, 8, 8), (1, 1, 8, 8), 1.5, 10.0), ((1, 3, 8, 8), (1, 1, 8, 8), 1.5, 10.0)]
    assert set(np.unique(crf[0])) <= {0, 2} and not crf[1].any() and set(np.unique(crf[2])) <= {0, 1, 3}


def test_crf_follows_the_image(stage):
    """The map covers half of a bright square on a dark ground, the CRF all of it and nothing else."""
    volume, maps = np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 8, 8))
    volume[..., 2:6, 2:6], maps[..., 2:6, 2:5] = 5.0, 1.0
    (refined, crf), _ = masks(stage(maps, volume, inside_body=False, crf_weight_gaussian=0.0, crf_sxy_bilateral=4.0))
    assert refined.sum() == 12 and np.array_equal(crf[0], (volume[0, 0] > 0).astype(np.uint8))


@pytest.mark.parametrize(("inside", "pixels"), [(True, 36), (False, 64)])
def test_air_around_the_body_is_no_lesion(stage, inside, pixels):
    (refined, _), _ = masks(stage(np.ones((2, 1, 8, 8)), inside_body=inside, **OFF))
    assert refined.sum() == 2 * pixels


class TestImagesWithoutAPixelSize:
    """Chest films and pictures: fitted to the grid, all of them body."""

    @pytest.fixture
    def grid(self):
        return GridPreprocessing(pixel_spacing=None, size=(8, 8))

    def test_widths_are_pixels_and_no_air_is_looked_for(self, stage):
        stage_ = stage(np.ones((2, 1, 8, 8)), inside_body=True, **OFF)
        assert (stage_.crf.sxy_gaussian, stage_.crf.sxy_bilateral) == (3.0, 20.0)
        (refined, _), _ = masks(stage_)
        assert refined.sum() == 2 * 64


@pytest.mark.parametrize("inside", [True, False])
def test_a_case_without_any_map_is_background(stage, inside):
    (refined, crf), counts = masks(stage(np.zeros((3, 2, 8, 8)), inside_body=inside))
    assert refined.shape == crf.shape == (3, 8, 8) and not refined.any() and not crf.any()
    assert set(counts.values()) == {0}


def test_a_lesion_all_over_a_flat_image(stage):
    """No background at all, and no contrast: neither 0/0 nor a crash."""
    (refined, crf), _ = masks(stage(np.ones((1, 1, 8, 8)), np.full((1, 1, 8, 8), 3.0), inside_body=False))
    assert (refined == 1).all() and (crf == 1).all()


@pytest.mark.parametrize(("threshold", "pixels"), [(0.35, 8), (0.5, 4), (0.9, 0)])
def test_threshold_is_inclusive_on_stored_maps(stage, threshold, pixels):
    maps = np.zeros((1, 1, 8, 8))
    maps[0, 0, 2, 2:6], maps[0, 0, 3, 2:6] = 0.5, 0.4
    (refined, _), _ = masks(stage(maps, threshold=threshold, **OFF))
    assert refined.sum() == pixels


def test_crf_labels_of_a_batch_equal_those_of_single_slices(stage):
    stage_ = stage(squares())
    case = stage_.dataset.cases("training")[0]
    volume = stage_.volume(case)
    refined = stage_.refined_masks(case, volume)
    crf = stage_.crf.labels(refined, volume)
    low, high = volume.min(), volume.max()
    for i in (0, 2):  # intensities are scaled by the volume's range: put it back into each slice
        two = torch.cat([volume[i : i + 1], torch.stack([low, high] * 32).reshape(1, 1, 8, 8)])
        alone = stage_.crf.labels(torch.cat([refined[i : i + 1], refined[1:2]]), two)
        assert torch.equal(alone[0], crf[i])


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_0_to_1_is_refused(stage, share):
    with pytest.raises(ValueError, match="crf_min_share must be from 0 to 1"):
        stage(squares(), crf_min_share=share)


@pytest.mark.parametrize(("share", "least"), [(0.0, 0), (0.5, 8)])
def test_a_positive_slice_is_not_left_without_a_mask(stage, share, least, caplog):
    """A mask of 16 pixels in a flat image, which the paper's CRF wipes out."""
    maps, volume = np.zeros((1, 1, 32, 32)), np.ones((1, 1, 32, 32))
    maps[0, 0, 10:14, 10:14], volume[0, 0, 0] = 1, 0
    (_, crf), _ = masks(stage(maps, volume, inside_body=False, crf_min_share=share))
    assert crf.any() == (share > 0) and crf.sum() >= least
    said = "refine: the CRF leaves nothing of the mask in 1 of 1 slices; raise crf_min_share"
    assert (said in caplog.text) == (share == 0)
