"""Masks of the training images by the segmenter that DSRG trained."""

import numpy as np
import pytest
import torch

from monai_wsss.data import PreparedDataset
from monai_wsss.engines import save_weights
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import relabel
from monai_wsss.workflow.relabel import RelabelStage

CRF = {
    "crf_sxy_gaussian": 3.0,
    "crf_weight_gaussian": 3.0,
    "crf_sxy_bilateral": 8.0,
    "crf_srgb": 5.0,
    "crf_weight_bilateral": 10.0,
    "crf_iterations": 0,
}


class Levels(torch.nn.Module):
    """Label l where the image is nearest to l."""

    def __init__(self, labels):
        super().__init__()
        self.levels = torch.nn.Parameter(torch.arange(float(labels)).reshape(1, -1, 1, 1))
        self.batches = []

    def forward(self, x):
        assert not self.training
        self.batches.append(tuple(x.shape))
        return -10 * (x - self.levels).abs()


@pytest.fixture
def grid():
    return GridPreprocessing(pixel_spacing=None, size=(16, 16))


@pytest.fixture
def stage(place, write_cached, tmp_path):
    """Makes a stage and runs it on cases of (images (D, H, W), labels) by split, written once."""
    written = {}

    def make(classes="a", network=None, splits=None, **settings):
        network = network or Levels(len(classes) + 1)
        if not written:
            given = {
                split: {name: (np.asarray(image)[:, None], rows) for name, (image, rows) in cases.items()}
                for split, cases in splits.items()
            }
            written.update(folder=write_cached(classes, **given))
        save_weights(network, tmp_path / "run" / "dsrg" / "model.pt")
        settings = {"scales": (1.0,)} | CRF | settings
        stage_ = RelabelStage(network, **settings, labels=list(classes), **place)
        stage_.counts = stage_.work(None)
        return stage_

    return make


def masks(stage_, name="c"):
    return np.load(stage_.folder / f"{name}.npy")


def picture(*spots):
    """A dark image with 4 x 4 spots of (row, column, value)."""
    image = np.zeros((16, 16))
    for y, x, value in spots:
        image[y : y + 4, x : x + 4] = value
    return image


BOTH = picture((2, 2, 1.0), (10, 10, 2.0))


def test_labels_are_restricted_to_the_images_by_hand(stage):
    """Class b's spot is nearer to class a than to background; class a's is as near to class b as to background."""
    rows = [[1, 1], [1, 0], [0, 1], [0, 0]]
    found = masks(stage("ab", splits={"training": {"c": ([BOTH] * 4, rows)}}))
    assert found.dtype == np.uint8 and found.shape == (4, 16, 16)
    spots = [(int(mask[3, 3]), int(mask[11, 11])) for mask in found]
    assert spots == [(1, 2), (1, 1), (0, 2), (0, 0)]  # at (0, 2) both are one away: the first wins
    assert not found[:, 0].any()


def test_without_the_restriction_every_class_is_let_in(stage):
    rows = [[1, 1], [1, 0], [0, 1], [0, 0], [-1, -1]]
    found = masks(stage("ab", splits={"training": {"c": ([BOTH] * 5, rows)}}, restrict_to_labels=False))
    assert [(int(mask[3, 3]), int(mask[11, 11])) for mask in found] == [(1, 2), (1, 2), (1, 2), (0, 0), (255, 255)]


def test_slices_of_which_nothing_is_known_are_ignored(stage):
    rows = [[1, 0], [-1, -1], [0, 0], [0, -1], [0.4, 0], [0.5, -1]]
    stage_ = stage("ab", splits={"training": {"c": ([BOTH] * 6, rows)}})
    found = masks(stage_)
    assert [(found[i] == 255).all() for i in range(6)] == [False, True, False, True, True, False]
    assert [(found[i] == 255).any() for i in range(6)] == [False, True, False, True, True, False]
    assert not found[2].any() and found[5, 11, 11] == 1
    assert stage_.counts == {"slices": 6, "slices_with_mask": 2, "mask_pixels": 64}
    assert [shape[0] for shape in stage_.network.batches] == [2]  # no other slice is segmented


def test_a_whole_volumes_label_holds_for_each_slice_with_a_seed(stage, tmp_path):
    (tmp_path / "run" / "seeds").mkdir(parents=True)
    np.save(tmp_path / "run" / "seeds" / "c.npy", np.ones((2, 2, 16, 16), np.float16))
    found = masks(stage("ab", splits={"training": {"c": ([BOTH, BOTH], (0, 1)), "n": ([BOTH], (0, 0))}}))
    assert (found[:, 11, 11] == 2).all() and not (found == 1).any()


def test_training_and_validation_are_written_and_test_is_not_read(stage, tmp_path, monkeypatch):
    read = []
    volume = RelabelStage.volume
    monkeypatch.setattr(RelabelStage, "volume", lambda self, case: read.append(case.case) or volume(self, case))
    splits = {split: {split[0]: ([BOTH], (1,))} for split in ("training", "validation")} | {
        "test": {"x": ([BOTH], (1,))}
    }
    stage_ = stage(splits=splits)
    assert sorted(path.name for path in stage_.folder.iterdir()) == ["preview.png", "t.npy", "v.npy"]
    assert set(read) == {"t", "v"}


@pytest.fixture
def many():
    rng = np.random.default_rng(1)
    depths = {"c": 1, "d": 3, "e": 2, "f": 1}
    return {n: (rng.uniform(0, 2, (d, 16, 16)), [[1, i % 2] for i in range(d)]) for n, d in depths.items()}


def test_neither_batch_size_nor_the_order_of_cases_matters(stage, many, monkeypatch):
    found, calls = {}, {}
    for size in (1, 3, 100):
        stage_ = stage("ab", splits={"training": many}, batch_size=size, scales=(0.75, 1.0), crf_iterations=3)
        found[size] = {name: masks(stage_, name) for name in many}
        calls[size] = [shape[0] for shape in stage_.network.batches[::2]]
    assert calls == {1: [1] * 7, 3: [3, 1, 3], 100: [7]}  # a film and a volume of 3 are four slices; then 2 and a film
    cases = stage_.dataset.cases
    monkeypatch.setattr(PreparedDataset, "cases", lambda self, *split: cases(*split)[::-1])
    stage_ = stage("ab", batch_size=3, scales=(0.75, 1.0), crf_iterations=3)
    found["reversed"] = {name: masks(stage_, name) for name in many}
    for other in found.values():
        assert all(np.array_equal(other[name], found[1][name]) and found[1][name].any() for name in many)


def test_the_crf_sees_the_images_labels_alone_and_the_volumes_grey_values(stage, monkeypatch):
    seen = []

    def spy(probability, image, **settings):
        seen.append((probability, image, settings))
        return probability

    monkeypatch.setattr(relabel, "dense_crf", spy)
    volume = [BOTH - 4, BOTH - 3, BOTH]  # -4 to 2
    rows = [[0, 1], [0, 0], [1, 1]]
    stage("ab", splits={"training": {"c": (volume, rows), "d": ([BOTH], (1, 0))}}, crf_iterations=5)
    assert [probability.shape[1] for probability, _, _ in seen] == [2, 3, 2]
    assert all(torch.allclose(probability.sum(1), torch.ones(())) for probability, _, _ in seen)
    lowest = [(float(image.min()), float(image.max())) for _, image, _ in seen]
    assert lowest == [(0, pytest.approx(1 / 3)), (pytest.approx(2 / 3), 1), (0, 1)]
    names = ("sxy_gaussian", "weight_gaussian", "sxy_bilateral", "srgb", "weight_bilateral", "iterations")
    assert all(settings == dict(zip(names, (3, 3, 8, 5, 10, 5), strict=True)) for _, _, settings in seen)


@pytest.mark.parametrize(("iterations", "kept"), [(0, True), (10, False)])
def test_the_crf_takes_away_a_lone_pixel(stage, iterations, kept):
    image = picture((4, 4, 1.0))
    image[12, 12] = 0.55
    found = masks(stage(splits={"training": {"c": ([image], (1,))}}, crf_iterations=iterations, crf_srgb=200.0))
    assert bool(found[0, 12, 12]) is kept and found[0, 5, 5] == 1


def test_scales_and_mirror_images_are_averaged(stage):
    network = Levels(2)
    stage(network=network, splits={"training": {"c": ([BOTH], (1,))}}, scales=(0.5, 1.0, 1.5), flips=True)
    assert [shape[2:] for shape in network.batches] == [(8, 8), (8, 8), (16, 16), (16, 16), (24, 24), (24, 24)]


class TestMillimetres:
    @pytest.fixture
    def grid(self):
        return GridPreprocessing(pixel_spacing=2.0, size=(16, 16))

    @pytest.mark.parametrize(("inside", "expected"), [(True, 0), (False, 1)])
    def test_lesions_in_the_air_are_dropped_where_a_body_is_looked_for(self, stage, inside, expected):
        image = np.full((16, 16), -1.0)
        image[:10, :10], image[3:6, 3:6], image[13:15, 13:15] = 0.4, 1.0, 1.0
        rows = [[1], [-1]]
        stage_ = stage(splits={"training": {"c": ([image, image], rows)}}, inside_body=inside)
        found = masks(stage_)
        assert found[0, 4, 4] == 1 and found[0, 14, 14] == expected
        assert (found[1] == 255).all()  # unknown in the air too

    def test_widths_are_pixels_of_the_grid(self, stage):
        stage_ = stage(splits={"training": {"c": ([BOTH], (1,))}}, inside_body=False)
        assert (stage_.crf.sxy_gaussian, stage_.crf.sxy_bilateral, stage_.crf.srgb) == (1.5, 4.0, 5.0)


@pytest.mark.parametrize("settings", [{"scales": ()}, {"scales": (0.0,)}])
def test_bad_scales_are_named(stage, settings):
    with pytest.raises(ValueError, match="scales must be one or more factors > 0"):
        stage(splits={"training": {"c": ([BOTH], (1,))}}, **settings)


def test_weights_of_another_network_are_refused_in_one_line(stage, tmp_path):
    stage_ = stage(splits={"training": {"c": ([BOTH], (1,))}})
    torch.save({"other": torch.zeros(1)}, tmp_path / "run" / "dsrg" / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: broken, or weights of another network"):
        stage_.work(None)


def test_a_segmenter_that_finds_nothing_is_named_here_and_not_in_the_next_stage(stage):
    with pytest.raises(
        InputError, match=r"finds no lesion; look at dsrg/preview\.png, train it longer \(dsrg_epochs\)"
    ):
        stage(splits={"training": {"c": ([picture()], [[1]])}, "validation": {"v": ([picture()], [[1]])}})


def test_a_study_with_one_label_has_masks_where_it_has_seeds_alone(stage, tmp_path):
    """Its other slices are neither positive nor negative: nobody knows."""
    volume = np.stack([picture((4, 4, 1))] * 3)
    seeds = np.zeros((3, 1, 16, 16), np.float16)
    seeds[1, 0, 4, 4] = 1
    (tmp_path / "run" / "seeds").mkdir(parents=True)
    np.save(tmp_path / "run" / "seeds" / "c.npy", seeds)
    stage(splits={"training": {"c": (volume, (1,))}, "validation": {"v": (volume[:1], [[1]])}}, inside_body=False)
    masks = np.load(tmp_path / "run" / "relabelled" / "c.npy")
    assert [np.unique(part).tolist() for part in masks] == [[255], [0, 1], [255]]
