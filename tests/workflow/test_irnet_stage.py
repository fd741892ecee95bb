"""Training IRNet on confident masks."""

import numpy as np
import pytest
import torch
from confident_cases import Backbone, write_confident
from killed_training import Killed, die_after_first_epoch
from monai.transforms import Compose, RandFlipd
from monai.utils import set_determinism

from monai_wsss.engines import ResumableCheckpoint, load_weights
from monai_wsss.errors import InputError
from monai_wsss.losses.affinity import AffinityLoss
from monai_wsss.networks.nets.irnet import IRNet
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.irnet import GridLoss, IRNetStage
from monai_wsss.workflow.tracking import Tracker


def make_network(seed=0):
    set_determinism(seed=seed)
    network = IRNet(Backbone(), boundary_channels=4, displacement_channels=32)
    set_determinism(seed=None)
    return network


@pytest.fixture
def grid():
    return GridPreprocessing(pixel_spacing=None, size=(16, 16))


@pytest.fixture
def stage(place, write_cached, tmp_path):
    """Makes a stage on cases of (rows of labels, one kind of mask a slice) by split; a classifier lies there.

    Kinds: l a lesion, e empty, i all ignored, c a lesion pixel in the corner of ignored ones.
    """

    def draw(kind):
        mask = np.zeros((16, 16), np.uint8)
        if kind == "l":
            mask[4:12, 4:12], mask[2:4, 4:12] = 1, 255
        if kind in "ic":
            mask[:] = 255
        if kind == "c":
            mask[0, 0] = 1
        return mask

    def make(network=None, augmentation=None, **options):
        settings = {"epochs": 2, "batch_size": 2, "radius": 3} | options
        transform = augmentation or RandFlipd(keys=["image", "label"], prob=0.5, spatial_axis=0)
        return IRNetStage(network or make_network(), Compose([transform]), **settings, labels=["a"], **place)

    def write(options=None, **splits):
        drawn = {s: {n: (rows, [draw(k) for k in kinds]) for n, (rows, kinds) in c.items()} for s, c in splits.items()}
        write_confident(tmp_path / "run", write_cached, "a", drawn)
        return make(**options or {})

    write.again = make
    return write


def train(stage_):
    stage_.folder.mkdir(parents=True, exist_ok=True)
    return stage_.work(Tracker("none", stage_.run_folder, "irnet"))


FILMS = {"training": {n: ([[1]], "l") for n in "pqr"}, "validation": {"v": ([[1], [0]], "le")}}


def test_items_are_positive_slices_with_a_lesion_pixel(stage):
    rows = [[1], [1], [1], [1], [0], [0], [-1], [0.4], [0.5]]
    stage_ = stage(training={"c": (rows, "leicelllc"), "d": ((1,), "l")}, validation={"v": ([[1], [0]], "ll")})
    # 0 and 3: a lesion pixel; 1, 2: none; 4, 5: negatives; 6: unknown; 7: rather absent; 8: rather present
    found = [(item["case"], item["slice"]) for item in stage_.items("training")]
    assert found == [("c", 0), ("c", 3), ("c", 8), ("d", 0)]
    assert [(item["case"], item["slice"]) for item in stage_.items("validation")] == [("v", 0)]


def test_training_writes_branches_on_the_classifiers_backbone(stage, tmp_path):
    stage_ = stage(**FILMS)
    before = {name: value.clone() for name, value in stage_.network.state_dict().items()}
    summary = train(stage_)
    after = torch.load(stage_.folder / "model.pt", weights_only=True)
    given = torch.load(tmp_path / "run" / "classifier" / "model.pt", weights_only=True)
    assert all(torch.equal(after[f"backbone.{name}"], value) for name, value in given.items())
    for branch in ("boundary_head", "boundary_levels", "displacement_head", "displacement_levels"):
        assert any(not torch.equal(after[n], before[n]) for n in after if n.startswith(branch)), branch
    assert all(bool(torch.isfinite(value).all()) for value in after.values())
    assert (summary["training_slices"], summary["validation_slices"]) == (3, 1)
    assert summary["best_epoch"] in (1, 2) and np.isfinite(summary["val_loss"])
    assert sorted(path.name for path in stage_.folder.iterdir()) == ["model.pt", "preview.png"]


def test_the_mean_displacement_of_the_training_slices_is_taken_off(stage):
    stage_ = stage(**FILMS)
    train(stage_)
    network = load_weights(make_network(5), stage_.folder / "model.pt").eval()
    images = torch.cat([stage_.volume(case) for case in stage_.dataset.cases("training")])
    with torch.no_grad():
        displacement = network(images)[1]
        assert displacement.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-5)
        raw = displacement.mean(dim=(0, 2, 3)) + network.mean_shift
    assert network.mean_shift.tolist() == pytest.approx(raw.tolist(), abs=1e-5) and network.mean_shift.any()


def test_the_loss_falls(stage):
    stage_ = stage({"epochs": 30, "batch_size": 3, "augmentation": lambda item: item}, **FILMS)
    load_weights(stage_.network.backbone, stage_.run_folder / "classifier" / "model.pt")
    batch = next(iter(stage_._loader(stage_.items("training"), train=False)))

    @torch.no_grad()
    def loss():
        return float(stage_.loss(stage_.network.eval()(batch["image"]), batch["label"]))

    first = loss()
    train(stage_)
    assert loss() < 0.9 * first


def test_the_branches_have_their_rates(stage, monkeypatch):
    seen = []
    monkeypatch.setattr(ResumableCheckpoint, "save", lambda self, engine: seen.append(self.state["optimizer"]))
    stage_ = stage({"epochs": 1, "learning_rate": 0.2, "displacement_factor": 5.0, "momentum": 0.3}, **FILMS)
    with pytest.raises(FileNotFoundError):  # nothing was saved
        train(stage_)
    groups = seen[0].param_groups
    assert [group["initial_lr"] for group in groups] == [0.2, 1.0]
    assert {(group["momentum"], group["weight_decay"]) for group in groups} == {(0.3, 1e-4)}
    assert sum(len(group["params"]) for group in groups) == sum(
        not name.startswith("backbone.") for name, _ in stage_.network.named_parameters()
    )


@pytest.mark.parametrize("validation", [{}, {"v": ([[0]], "e")}])
def test_without_a_positive_validation_slice_the_last_epoch_is_kept(stage, validation):
    summary = train(stage(training=FILMS["training"], validation=validation))
    assert summary["best_epoch"] == 2 and summary["validation_slices"] == 0 and "val_loss" not in summary


def test_slices_whose_lesion_the_grid_misses_train_without_nan(stage):
    """No pair of pixels at all: the loss is 0 and the weights stay finite."""
    stage_ = stage({"weight_decay": 0.0}, training={"c": ([[1], [1]], "cc")}, validation={"v": ([[1]], "c")})
    before = {name: value.clone() for name, value in stage_.network.boundary_head.state_dict().items()}
    summary = train(stage_)
    assert summary["val_loss"] == 0
    assert all(torch.equal(value, before[name]) for name, value in stage_.network.boundary_head.state_dict().items())


@pytest.mark.parametrize("kinds", ["eee", "iii"])
def test_nothing_to_train_on_is_said_in_one_line(stage, kinds):
    rows = [[1], [1], [0]]
    stage_ = stage(training={"c": (rows, kinds)}, validation={"v": ([[1]], "l")})
    with pytest.raises(InputError, match="no positive slice of training has a lesion pixel") as raised:
        train(stage_)
    assert "\n" not in str(raised.value) and "confident_masks" in str(raised.value)


def test_a_training_split_of_negatives_is_said_in_one_line(stage):
    stage_ = stage(training={"c": ([[0], [0]], "le")}, validation={"v": ([[1]], "l")})
    with pytest.raises(InputError, match="no positive slice of training has a lesion pixel"):
        train(stage_)


def test_a_missing_mask_is_named(stage, tmp_path):
    stage_ = stage(**FILMS)
    (tmp_path / "run" / "confident_masks" / "q.npy").unlink()
    with pytest.raises(InputError, match=r"q\.npy: missing or unreadable; run the stage that writes it"):
        train(stage_)


def test_another_networks_classifier_is_refused_in_one_line(stage, tmp_path):
    stage_ = stage(**FILMS)
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "run" / "classifier" / "model.pt")
    with pytest.raises(InputError, match="weights of another network"):
        train(stage_)


def test_other_backbone_weights_are_an_input(stage, tmp_path):
    path = tmp_path / "backbone.pt"
    stage_ = stage({"backbone_weights": str(path)}, **FILMS)
    path.write_bytes(b"one")
    first = stage_._inputs()
    assert first.keys() == {"dataset", "classifier", "confident_masks", "backbone"}
    path.write_bytes(b"two")
    assert stage_._inputs()["backbone"] != first["backbone"]
    stage_.backbone_weights = None
    assert stage_._inputs() == {name: value for name, value in first.items() if name != "backbone"}


def test_the_backbone_is_taken_from_the_file_that_is_given(stage, tmp_path, monkeypatch):
    from monai_wsss.workflow import boundary_stage

    given = []
    monkeypatch.setattr(boundary_stage, "load_backbone", lambda network, path: given.append((network, path)))
    stage_ = stage({"backbone_weights": "trunk.pt", "epochs": 1}, **FILMS)
    before = {name: value.clone() for name, value in stage_.network.backbone.state_dict().items()}
    train(stage_)
    after = torch.load(stage_.folder / "model.pt", weights_only=True)
    assert given == [(stage_.network.backbone, "trunk.pt")]
    assert all(torch.equal(after[f"backbone.{name}"], value) for name, value in before.items())


def test_a_resumed_training_ends_in_the_same_bytes(stage, monkeypatch):
    stage_ = stage({"epochs": 3}, **FILMS)
    train(stage_)
    path = stage_.folder / "model.pt"
    expected = path.read_bytes()
    path.unlink()
    seen = die_after_first_epoch(monkeypatch)
    with pytest.raises(Killed):
        train(stage.again(epochs=3))
    train(stage.again(epochs=3, network=make_network(7)))  # the resume file holds every weight
    assert seen == [1, 2, 3] and path.read_bytes() == expected


def test_labels_come_to_the_grid_by_the_pixel_in_a_cells_middle():
    """Of every 4 x 4 pixels the one at (2, 2); a side of 13 has 4 cells: the middles are 1.6, 4.9, 8.1 and 11.4."""
    seen = []

    class Loss(torch.nn.Module):
        def forward(self, boundary, displacement, labels):
            seen.append(labels)
            return boundary.sum()

    labels = torch.zeros(1, 1, 8, 13)
    labels[0, 0, 2, [1, 4, 8, 11]] = torch.tensor([1.0, 255.0, 2.0, 254.0])
    labels[0, 0, 6, 12] = 7.0
    assert GridLoss(Loss())((torch.ones(1, 1, 2, 4), torch.zeros(1, 2, 2, 4)), labels) == 8
    assert seen[0].dtype == torch.uint8 and seen[0][0, 0].tolist() == [[1, 255, 2, 254], [0, 0, 0, 0]]


def test_several_classes_take_part():
    """Two classes side by side are a negative pair; were they one, the loss at a sure boundary would be lower."""
    boundary = torch.full((1, 1, 4, 4), -9.0)  # no boundary anywhere
    displacement, loss = torch.zeros(1, 2, 4, 4), GridLoss(AffinityLoss(2))
    one, two = torch.ones(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    two[..., 8:] = 2
    assert loss((boundary, displacement), two) > loss((boundary, displacement), one) + 1
