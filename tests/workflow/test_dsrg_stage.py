"""Training a segmenter on seeds that grow."""

import dataclasses

import numpy as np
import pytest
import torch
from killed_training import Killed, die_after_first_epoch
from monai.transforms import Compose, RandFlipd
from monai.utils import set_determinism
from torch.nn import functional as F

from monai_wsss.data import PreparedDataset
from monai_wsss.engines import parameter_groups
from monai_wsss.errors import InputError
from monai_wsss.losses.dsrg import DSRGLoss
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.dsrg import DSRGStage, prepare_seed_batch
from monai_wsss.workflow.tracking import Tracker

SIZE, CELL = 32, 8


class Tiny(torch.nn.Module):
    """As DeepLab-v2: logits on a grid of 4 x 4 cells in training, of the image's size in evaluation."""

    def __init__(self, channels=2):
        super().__init__()
        self.encoder = torch.nn.Conv2d(1, 6, CELL, CELL)
        self.drop = torch.nn.Dropout(0.1)
        self.last = torch.nn.Conv2d(6, channels, 1)

    def forward(self, x):
        z = self.last(self.drop(self.encoder(x).relu()))
        return z if self.training else F.interpolate(z, size=x.shape[2:], mode="bilinear")


def make_network(seed=0, channels=2):
    set_determinism(seed=seed)
    network = Tiny(channels)
    set_determinism(seed=None)
    return network


def draw(kind):
    """Seeds: l class 1 or b class 2 in one cell, p both side by side, background below; e all background; i none."""
    mask = np.full((SIZE, SIZE), 0 if kind == "e" else 255, np.uint8)
    if kind in "lbp":
        mask[24:] = 0
        mask[8:16, 8:16] = 2 if kind == "b" else 1
    if kind == "p":
        mask[8:16, 16:24] = 2
    return mask


@pytest.fixture
def grid():
    return GridPreprocessing(pixel_spacing=None, size=(SIZE, SIZE))


@pytest.fixture
def stage(place, write_cached, tmp_path):
    """Makes a stage on cases of (labels, one kind of seeds a slice) by split; class 1 is bright, class 2 dark."""
    names = []

    def make(network=None, loss=None, run="run", **options):
        settings = {"epochs": 2, "batch_size": 2, "learning_rate": 0.1, "snapshot_epochs": 1} | options
        flip = RandFlipd(keys=["image", "label"], prob=0.5, spatial_axis=0)
        return DSRGStage(
            network or make_network(channels=len(names) + 1),
            Compose([flip]),
            loss or DSRGLoss(boundary_weight=0.0),
            **settings,
            labels=list(names),
            **place | {"output_dir": str(tmp_path / run)},
        )

    def write(options=None, classes="a", **splits):
        names[:] = classes
        rng = np.random.default_rng(0)
        given = {}
        for split, cases in splits.items():
            given[split] = {}
            for name, (rows, kinds) in cases.items():
                masks = np.stack([draw(kind) for kind in kinds])
                bright = np.select([masks == 1, masks == 2], [1.0, -1.0])[:, None]
                given[split][name] = (0.1 * rng.normal(size=bright.shape) + bright, rows)
                path = tmp_path / "run" / "pseudo_masks" / "refined" / f"{name}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, masks)
        write_cached(classes, **given)
        return make(**options or {})

    write.again = make
    return write


def train(stage_):
    stage_.folder.mkdir(parents=True, exist_ok=True)
    return stage_.work(Tracker("none", stage_.run_folder, "dsrg"))


def files(stage_):
    return {str(p.relative_to(stage_.folder)): p.read_bytes() for p in sorted(stage_.folder.rglob("*")) if p.is_file()}


def snapshot(stage_, epoch, case):
    return np.load(stage_.folder / "supervision" / f"{epoch:04d}" / f"{case}.npy")


LEARN = {
    "epochs": 15,
    "optimizer": "adam",
    "learning_rate": 0.05,
    "new_factor": 1.0,
    "snapshot_epochs": 99,
    "step_epochs": 99,
}
FILMS = {
    "training": {"p": ([[1]], "l"), "q": ([[1], [0]], "le"), "r": ([[1]], "l"), "n": ([[0]], "e")},
    "validation": {"v": ([[1], [0]], "le")},
}


def test_training_writes_the_last_epochs_weights_and_the_supervision(stage):
    stage_ = stage(**FILMS)
    before = {name: value.clone() for name, value in stage_.network.state_dict().items()}
    summary = train(stage_)
    after = torch.load(stage_.folder / "model.pt", weights_only=True)
    assert after.keys() == before.keys()
    assert all(bool(torch.isfinite(v).all()) and not torch.equal(v, before[name]) for name, v in after.items())
    assert summary == {"training_slices": 5, "positive_slices": 3, "best_epoch": 2, "snapshot_cases": 3}
    written = [f"supervision/{epoch:04d}/{name}.npy" for epoch in range(3) for name in "pqr"]
    assert sorted(files(stage_)) == sorted(["model.pt", "preview.png", *written])
    assert all(snapshot(stage_, epoch, "q").shape == (2, 4, 4) for epoch in range(3))


def test_the_network_learns_the_seeds(stage):
    stage_ = stage(LEARN, **FILMS)
    train(stage_)
    images = torch.cat([stage_.volume(case) for case in stage_.dataset.cases("training")])
    with torch.no_grad():
        found = stage_.network.eval()(images).argmax(1)
    assert found[:, 12, 12].tolist() == [1, 1, 0, 1, 0] and not found[:, 28].any()


def test_epoch_0_is_the_seeds_on_the_networks_grid(stage):
    stage_ = stage(training={"c": ([[1], [0], [1]], "lei")}, validation={"v": ([[1]], "l")})
    train(stage_)
    u = 255
    lesion = [[u, u, u, u], [u, 1, u, u], [u, u, u, u], [0, 0, 0, 0]]
    first = snapshot(stage_, 0, "c")
    assert first.dtype == np.uint8
    assert first.tolist() == [lesion, [[0] * 4] * 4, [[u] * 4] * 4]


def test_seeds_stay_as_they_are_without_growing(stage):
    stage_ = stage({"loss": DSRGLoss(grow=False, boundary_weight=0.0), "epochs": 3}, **FILMS)
    train(stage_)
    for name in "pqr":
        assert all(np.array_equal(snapshot(stage_, 0, name), snapshot(stage_, epoch, name)) for epoch in (1, 2, 3))


def test_seeds_grow_where_the_network_is_sure(stage):
    """Thresholds of 0 let every connected pixel pass; what had a seed keeps it."""
    stage_ = stage({"loss": DSRGLoss(foreground=0.0, background=0.0, boundary_weight=0.0)}, **FILMS)
    train(stage_)
    for name in "pqr":
        first, last = snapshot(stage_, 0, name), snapshot(stage_, 2, name)
        assert (last[first != 255] == first[first != 255]).all()
        assert (last[0] != 255).sum() > (first[0] != 255).sum()


def test_slices_of_unknown_or_unsure_labels_are_unlabelled_in_the_supervision(stage):
    rows = [[1, 0], [-1, -1], [0, -1], [0, 0.4], [0.5, -1], [0, 0]]
    stage_ = stage({}, "ab", training={"c": (rows, "leeele")}, validation={"v": ([[1, 0]], "l")})
    train(stage_)
    for epoch in (0, 2):
        known = (snapshot(stage_, epoch, "c") != 255).any(axis=(1, 2))
        assert known.tolist() == [True, False, False, False, True, True]


def test_several_classes_in_one_image(stage):
    labels = {"p": ([[1, 1]], "p"), "l": ([[1, 0]], "l"), "b": ([[0, 1]], "b"), "e": ([[0, 0]], "e")}
    stage_ = stage(LEARN, "ab", training=labels, validation={"v": ((1, 1), "p")})
    train(stage_)
    assert snapshot(stage_, 0, "p")[0, 1].tolist() == [255, 1, 2, 255]
    images = torch.cat([stage_.volume(case) for case in stage_.dataset.cases("training")])
    with torch.no_grad():
        found = stage_.network.eval()(images).argmax(1)
    assert found[:, 12, 12].tolist() == [1, 1, 2, 0] and found[0, 12, 20] == 2


def test_batches_without_a_lesion_train_without_nan(stage):
    loss = DSRGLoss(crf_iterations=1)  # with the CRF
    stage_ = stage({"batch_size": 1, "loss": loss}, **FILMS)
    train(stage_)
    weights = torch.load(stage_.folder / "model.pt", weights_only=True)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_a_resumed_training_ends_in_the_same_bytes(stage, monkeypatch):
    stage_ = stage({"epochs": 3}, **FILMS)
    train(stage_)
    expected = files(stage_)
    seen = die_after_first_epoch(monkeypatch)
    with pytest.raises(Killed):
        train(stage.again(epochs=3, run="run"))
    assert {"supervision/0000/p.npy", "supervision/0001/p.npy"} < files(stage_).keys()
    for path in stage_.folder.rglob("000[23]/*.npy"):
        path.unlink()
    (stage_.folder / "supervision" / "0000" / "p.npy").unlink()  # a resumed process must not take its later weights
    train(stage.again(epochs=3, network=make_network(7)))
    assert seen == [1, 2, 3] and files(stage_) == expected


def test_looking_at_the_supervision_does_not_change_the_training(stage):
    stage_ = stage(**FILMS)
    train(stage_)
    seen = (stage_.folder / "model.pt").read_bytes()
    for path in stage_.folder.rglob("*.npy"):
        path.unlink()
    train(stage.again(snapshot_epochs=0))
    assert (stage_.folder / "model.pt").read_bytes() == seen
    assert not list(stage_.folder.rglob("*.npy"))


def test_true_masks_are_not_read(stage, tmp_path):
    stage_ = stage(**FILMS)
    train(stage_)
    expected = files(stage_)
    folder, found = tmp_path / "data", PreparedDataset.read(tmp_path / "data")
    given = tuple(dataclasses.replace(case, truth=tmp_path / f"truth_{case.case}.nii.gz") for case in found.training)
    for case in given:
        case.truth.write_bytes(b"a mask")
    dataclasses.replace(found, training=given).write(folder)
    train(stage.again())
    assert files(stage_) == expected


def test_cases_that_are_shown_are_positive_training_cases_drawn_with_the_seed(stage, place):
    cases = {f"c{i}": (((i % 2),), "l" if i % 2 else "e") for i in range(12)} | {"soft": ([[0.4], [0.6]], "el")}
    stage_ = stage({"snapshot_cases": 99}, training=cases, validation={"v": ((1,), "l")})
    names = [f"c{i}" for i in range(1, 12, 2)] + ["soft"]
    assert [case.case for case in stage_.shown_cases()] == names
    drawn = {}
    for seed in (0, 0, 1, 2):
        place["seed"] = seed
        found = [case.case for case in stage.again(snapshot_cases=3).shown_cases()]
        assert len(found) == 3 and found == [name for name in names if name in found]
        assert drawn.setdefault(seed, found) == found
    assert len(set(map(tuple, drawn.values()))) > 1
    assert stage.again(snapshot_cases=0).shown_cases() == stage.again(snapshot_epochs=0).shown_cases() == []


def test_last_layers_and_biases_have_rates_of_their_own(stage):
    stage_ = stage({"learning_rate": 0.1}, **FILMS)
    groups = parameter_groups(stage_.network, **stage_.rates)
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.2, 1.0, 2.0])
    assert [group.get("weight_decay") for group in groups] == [None, 0.0, None, 0.0]
    plain = torch.nn.Conv2d(1, 2, 1)
    groups = parameter_groups(plain, **stage.again(network=plain, decay_biases=True).rates)
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.2])
    assert all("weight_decay" not in group for group in groups)


def test_a_batch_becomes_an_image_and_its_target():
    batch = {"image": torch.rand(2, 1, 4, 4), "label": torch.full((2, 1, 4, 4), 255.0)}
    image, (labels, again) = prepare_seed_batch(batch, torch.device("cpu"))
    assert image is again and labels.dtype == torch.uint8 and (labels == 255).all()


def test_the_stage_reads_the_masks_and_with_a_background_threshold_the_class_maps(stage):
    assert stage(**FILMS).reads == ("pseudo_masks",)
    assert stage.again(masks="confident_masks").reads == ("confident_masks",)
    assert stage.again(background=0.06).reads == ("pseudo_masks", "seeds")


def test_background_that_the_maps_doubt_is_left_open(stage, tmp_path):
    """Maps are 1 on the lesion, .5 beside it in the upper half, 0 below: certain background is the lower half alone."""
    stage_ = stage({"background": 0.3, "inside_body": False}, **FILMS)
    open_half = {}
    for path in (tmp_path / "run" / "pseudo_masks" / "refined").glob("*.npy"):
        masks = np.load(path)
        maps = np.zeros((len(masks), 1, *masks.shape[1:]), np.float16)
        maps[:, 0, : masks.shape[1] // 2] = 0.5
        maps[:, 0][masks == 1] = 1.0
        (tmp_path / "run" / "seeds").mkdir(exist_ok=True)
        np.save(tmp_path / "run" / "seeds" / path.name, maps)
        expected = np.where((masks == 0) & (maps[:, 0] > 0.3), 255, masks)
        open_half[path.name] = expected
    assert 0 < stage_.write_seeds(0.3) < 1
    seeds = np.load(tmp_path / "run" / "dsrg" / "seeds" / "p.npy")
    assert np.array_equal(seeds, open_half["p.npy"]) and {0, 1, 255} == set(np.unique(seeds))
    assert not np.load(tmp_path / "run" / "dsrg" / "seeds" / "n.npy").any()  # labelled as free of lesions
    assert {item["label"][0][0].split("/")[-2] for item in stage_.items()} == {"seeds"}


@pytest.mark.parametrize("channels", [1, 3])
def test_another_head_is_refused_in_one_line(stage, channels):
    with pytest.raises(ValueError, match=f"softmax head of 2 channels.*the segmenter has {channels}") as raised:
        stage({"network": make_network(channels=channels)}, **FILMS)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of adam, radam, sgd, got lion"),
        ({"schedule": "cosine"}, "schedule must be one of polynomial, step, got cosine"),
        ({"positive_share": 1.0}, "positive_share must lie between 0 and 1, got 1.0"),
        ({"snapshot_epochs": -1}, "must be >= 0, got -1 and 20"),
    ],
)
def test_bad_values_are_named(stage, options, message):
    with pytest.raises(ValueError, match=message):
        stage(options, **FILMS)


def test_no_seed_at_all_is_said_in_one_line(stage):
    stage_ = stage(training={"c": ([[1], [0]], "ie")}, validation={"v": ([[1]], "l")})
    with pytest.raises(InputError, match="no positive slice of training has a mask in pseudo_masks/refined"):
        train(stage_)


def test_the_encoder_starts_from_the_file_that_is_given(stage, tmp_path, monkeypatch):
    from monai_wsss.workflow import dsrg

    given = []
    monkeypatch.setattr(dsrg, "with_backbone", lambda network, path: given.append(path) or network)
    path = tmp_path / "trunk.pt"
    path.write_bytes(b"one")
    stage_ = stage({"backbone_weights": str(path), "epochs": 1}, **FILMS)
    assert stage_._inputs().keys() == {"dataset", "pseudo_masks", "backbone"}
    train(stage_)
    assert given == [str(path)]
