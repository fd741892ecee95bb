"""From class maps to confident masks with ignored pixels."""

from importlib import import_module

import numpy as np
import pytest
import torch

from monai_wsss.ops.confident_labels import confident_labels
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.confident import ConfidentMaskStage
from monai_wsss.workflow.refine import RefineStage

OP = import_module("monai_wsss.ops.label_crf")  # the package gives the function of this name
CRF = {
    "crf_confidence": 0.7,
    "crf_sxy_gaussian": 3.0,
    "crf_weight_gaussian": 3.0,
    "crf_sxy_bilateral": 50.0,
    "crf_srgb": 5.0,
    "crf_weight_bilateral": 10.0,
    "crf_iterations": 10,
}
OFF = {"crf_weight_gaussian": 0.0, "crf_weight_bilateral": 0.0, "noise_min_area": 0.0}


def body(depth):
    """Bright tissue in 6 x 6 of 8 x 8 pixels, air around it."""
    volume = np.zeros((depth, 1, 8, 8))
    volume[:, :, 1:7, 1:7] = np.random.default_rng(0).uniform(1, 2, (depth, 1, 6, 6))
    return volume


@pytest.fixture
def stage(place, write_cached, tmp_path):
    """A stage on cases of (maps, labels) by split; labels as `write_cached` takes them."""

    def make(settings=None, volume=None, **splits):
        maps = {name: np.asarray(m) for cases in splits.values() for name, (m, _) in cases.items()}
        names = "abc"[: next(iter(maps.values())).shape[1]]
        volumes = {name: body(len(m)) if volume is None else volume for name, m in maps.items()}
        write_cached(names, **{s: {n: (volumes[n], rows) for n, (_, rows) in c.items()} for s, c in splits.items()})
        (tmp_path / "run" / "seeds").mkdir(parents=True)
        for name, values in maps.items():
            np.save(tmp_path / "run" / "seeds" / f"{name}.npy", values.astype(np.float16))
        stage_ = ConfidentMaskStage(**CRF | (settings or {}), labels=list(names), **place)
        stage_.folder.mkdir(parents=True)
        return stage_

    return make


def mask(stage_, name="c"):
    return np.load(stage_.folder / f"{name}.npy")


def test_masks_by_hand(stage):
    """One slice: .3 is lesion, .05 to below .3 is ignored, below .05 is background; ties of classes as elsewhere."""
    maps = np.zeros((1, 2, 8, 8))
    maps[0, 0, 2, 2:6] = (0.31, 0.29, 0.06, 0.04)
    maps[0, 1, 3, 2:6] = (1.0, 0.5, 0.1, 0.0)
    maps[0, :, 4, 2] = (0.4, 0.6)
    stage_ = stage(OFF, training={"c": (maps, (1, 1))})
    counts = stage_.work(None)
    expected = np.zeros((1, 8, 8), np.uint8)
    expected[0, 2, 2:5], expected[0, 3, 2:5], expected[0, 4, 2] = (1, 255, 255), (2, 2, 255), 2
    assert mask(stage_).dtype == np.uint8 and np.array_equal(mask(stage_), expected)
    assert counts == {
        "slices": 1,
        "slices_with_maps": 1,
        "slices_with_foreground": 1,
        "share_foreground": 4 / 64,
        "share_background": 57 / 64,
        "share_ignored": 3 / 64,
    }


def test_slices_without_a_map_are_background_or_ignored(stage):
    """Absent for certain; unknown; present, but its map was flat; a soft label. Their pixels do not count."""
    maps = np.zeros((5, 2, 8, 8))
    maps[4, 0, 2:5, 2:5] = 1.0
    rows = [[0, 0], [-1, 0], [1, 0], [0.2, 0], [1, 0]]
    stage_ = stage(OFF, training={"c": (maps, rows)})
    counts = stage_.work(None)
    found = mask(stage_)
    assert [set(np.unique(slice_)) for slice_ in found] == [{0}, {255}, {255}, {255}, {0, 1}]
    assert (counts["slices"], counts["slices_with_maps"], counts["slices_with_foreground"]) == (5, 1, 1)
    assert counts["share_foreground"] == 9 / 64 and counts["share_ignored"] == 0


def test_a_case_of_negatives_needs_no_crf(stage, monkeypatch):
    monkeypatch.setattr(OP, "dense_crf", None)
    stage_ = stage(training={"c": (np.zeros((2, 1, 8, 8)), (0,))})
    counts = stage_.work(None)
    assert not mask(stage_).any() and counts["share_background"] == 0 and counts["share_ignored"] == 0


def test_each_threshold_has_its_crf_and_only_present_labels_enter(stage, monkeypatch):
    seen, original = [], OP.dense_crf

    def spy(probability, image, **settings):
        seen.append((probability.shape[1], settings["sxy_bilateral"], settings["srgb"]))
        return original(probability, image, **settings)

    monkeypatch.setattr(OP, "dense_crf", spy)
    maps = np.zeros((3, 3, 8, 8))
    maps[0, 0, 2:5, 2:5], maps[0, 1, 5, 5] = 1.0, 0.1  # class b is weak: in the low map alone
    maps[2, 2, 2:5, 2:5] = 1.0  # both label maps are the same
    stage(training={"c": (maps, (1, 1, 1))}).work(None)
    # high: slices 0 and 2; low: slice 0 with two classes, slice 2; 50 mm are 25 pixels of 2 mm
    assert seen == [(2, 25.0, 5.0), (2, 25.0, 5.0), (3, 25.0, 5.0), (2, 25.0, 5.0)]


def test_equal_label_maps_are_refined_once(stage, monkeypatch):
    calls, original = [], OP.dense_crf
    monkeypatch.setattr(OP, "dense_crf", lambda *a, **k: calls.append(1) or original(*a, **k))
    maps = np.zeros((1, 1, 8, 8))
    maps[0, 0, 2:5, 2:5] = 1.0
    stage(training={"c": (maps, (1,))}).work(None)
    assert len(calls) == 1


def test_equals_two_runs_of_the_other_refine_stage(stage, place):
    maps = np.random.default_rng(2).uniform(0, 1, (2, 2, 8, 8)) ** 3
    stage_ = stage({"noise_min_area": 0.0}, training={"c": (maps, (1, 1))})
    stage_.work(None)
    case = stage_.dataset.cases("training")[0]
    volume, crf = stage_.volume(case), []
    for threshold in (0.30, 0.05):
        other = RefineStage(threshold, **CRF, labels=["a", "b"], **place)
        crf.append(other.crf.labels(other.refined_masks(case, volume), volume))
    assert np.array_equal(mask(stage_), confident_labels(*crf)[:, 0].numpy()) and 255 in mask(stage_)


def test_small_weak_regions_are_ignored(stage):
    """Of 64 pixels, fewer than .05 x 64 = 3.2 are small. A: 4 pixels at .4; B: 2 at .4; C: 1 at .6."""
    maps = np.zeros((1, 1, 8, 8))
    maps[0, 0, 2:4, 2:4], maps[0, 0, 6, 5:7], maps[0, 0, 2, 6] = 0.4, 0.4, 0.6
    stage_ = stage(OFF | {"noise_min_area": 0.05}, training={"c": (maps, (1,))})
    stage_.work(None)
    expected = np.zeros((1, 8, 8), np.uint8)
    expected[0, 2:4, 2:4], expected[0, 6, 5:7], expected[0, 2, 6] = 1, 255, 1
    assert np.array_equal(mask(stage_), expected)


@pytest.mark.parametrize(("inside", "values"), [(True, {0: 28, 1: 36}), (False, {1: 64})])
def test_air_around_the_body_is_background(stage, inside, values):
    stage_ = stage(OFF | {"inside_body": inside}, training={"c": (np.ones((2, 1, 8, 8)), (1,))})
    stage_.work(None)
    assert all(dict(zip(*np.unique(slice_, return_counts=True), strict=True)) == values for slice_ in mask(stage_))


def test_masks_of_training_and_validation_whatever_their_order(stage):
    rng = np.random.default_rng(3)
    maps = {name: rng.uniform(0, 1, (2, 1, 8, 8)) ** 3 for name in "cde"}
    stage_ = stage(training={"c": (maps["c"], (1,)), "d": (maps["d"], (1,))}, validation={"e": (maps["e"], (1,))})
    stage_.work(None)
    found = {name: mask(stage_, name) for name in "cde"}
    cases = {case.case: case for case in stage_.dataset.cases()}
    for name in "edc":
        assert np.array_equal(stage_.case_masks(cases[name])[0][:, 0].numpy(), found[name])
    assert (stage_.folder / "preview.png").exists()


class TestFilms:
    """One slice a case and no pixel size."""

    @pytest.fixture
    def grid(self):
        return GridPreprocessing(pixel_spacing=None, size=(8, 8))

    def test_the_test_split_is_left_out_and_widths_are_pixels(self, stage):
        maps = np.zeros((1, 1, 8, 8))
        maps[..., 2:5, 2:5] = 1.0
        splits = {split: {split: (maps, (1,))} for split in ("training", "validation", "test")}
        stage_ = stage(OFF, **splits)
        assert (stage_.crf.sxy_gaussian, stage_.crf.sxy_bilateral, stage_.inside_body) == (3.0, 50.0, False)
        assert stage_.work(None)["slices"] == 2
        assert sorted(path.stem for path in stage_.folder.glob("*.npy")) == ["training", "validation"]
        assert mask(stage_, "training").sum() == 9


@pytest.mark.parametrize(
    ("high", "low"), [(0.3, 0.4), (0.3, 0.0), ([0.3, 0.6], [0.1, 0.7]), (0.3, [0.05, -0.1]), (-0.1, -0.2)]
)
def test_thresholds_out_of_order_are_refused(stage, high, low):
    settings = {"foreground_threshold": high, "background_threshold": low}
    with pytest.raises(ValueError, match="background_threshold must be above 0 and not above"):
        stage(settings, training={"c": (np.zeros((1, 2, 8, 8)), (1, 1))})


def test_a_threshold_for_each_class(stage):
    maps = np.full((1, 2, 8, 8), 0.0)
    maps[0, 0, 2, 2:5], maps[0, 1, 4, 2:5] = (0.3, 0.5, 0.7), (0.3, 0.5, 0.7)
    settings = OFF | {"foreground_threshold": [0.6, 0.4], "background_threshold": [0.2, 0.4]}
    stage_ = stage(settings, training={"c": (maps, (1, 1))})
    stage_.work(None)
    assert mask(stage_)[0, 2, 2:5].tolist() == [255, 255, 1] and mask(stage_)[0, 4, 2:5].tolist() == [0, 2, 2]
    assert torch.equal(torch.from_numpy(mask(stage_)), stage_.case_masks(stage_.dataset.cases()[0])[0][:, 0])
