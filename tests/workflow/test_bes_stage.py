"""Training BENet on boundaries synthesised from confident masks."""

import json

import numpy as np
import pytest
import torch
from confident_cases import Backbone, write_confident
from killed_training import Killed, die_after_first_epoch
from monai.transforms import Compose, RandFlipd
from monai.utils import set_determinism

from monai_wsss.engines import ResumableCheckpoint
from monai_wsss.errors import InputError
from monai_wsss.networks.nets.benet import BENet
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.bes import BESStage
from monai_wsss.workflow.tracking import Tracker


@pytest.fixture
def grid():
    return GridPreprocessing(pixel_spacing=None, size=(32, 32))


def make_network(seed=0):
    set_determinism(seed=seed)
    network = BENet(Backbone(), boundary_channels=4)
    set_determinism(seed=None)
    return network


def draw(kind):
    """32 x 32, a grid of 8 x 8 cells. h class 1 in the left half, p classes 1 and 2 side by side, s a single cell,
    e empty, i all ignored."""
    mask = np.zeros((32, 32), np.uint8)
    if kind in "hp":
        mask[:, :16] = 1
    if kind == "p":
        mask[:, 16:] = 2
    if kind == "s":
        mask[8:12, 8:12] = 1
    if kind == "i":
        mask[:] = 255
    return mask


@pytest.fixture
def stage(place, write_cached, tmp_path):
    """Makes a stage on cases of (rows of labels, one kind of mask a slice) by split; a classifier lies there."""

    def make(network=None, augmentation=None, **options):
        # of a window of 3 x 3 cells a boundary has 3 or 6 cells of each label: 1/3 > 0.3 and |1/3 - 2/3| < 0.4
        settings = {"epochs": 2, "batch_size": 2, "window": 3, "theta_scale": 0.3, "theta_diff": 0.4} | options
        transform = augmentation or RandFlipd(keys=["image", "label"], prob=0.5, spatial_axis=0)
        return BESStage(network or make_network(), Compose([transform]), **settings, labels=["a", "b"], **place)

    def write(options=None, **splits):
        drawn = {s: {n: (rows, [draw(k) for k in kinds]) for n, (rows, kinds) in c.items()} for s, c in splits.items()}
        write_confident(tmp_path / "run", write_cached, "ab", drawn)
        return make(**options or {})

    write.again = make
    return write


def train(stage_):
    stage_.folder.mkdir(parents=True, exist_ok=True)
    return stage_.work(Tracker("none", stage_.run_folder, "bes"))


A, NONE = [1, 0], [0, 0]
FILMS = {"training": {n: ([A], "h") for n in "pqr"} | {"s": ([A], "s")}, "validation": {"v": ([A, NONE], "he")}}


def test_training_writes_the_branch_on_the_classifiers_backbone(stage, tmp_path):
    stage_ = stage(**FILMS)
    before = {name: value.clone() for name, value in stage_.network.state_dict().items()}
    summary = train(stage_)
    after = torch.load(stage_.folder / "model.pt", weights_only=True)
    given = torch.load(tmp_path / "run" / "classifier" / "model.pt", weights_only=True)
    assert all(torch.equal(after[f"backbone.{name}"], value) for name, value in given.items())
    for branch in ("boundary_head", "boundary_levels"):
        assert any(not torch.equal(after[n], before[n]) for n in after if n.startswith(branch)), branch
    assert all(bool(torch.isfinite(value).all()) for value in after.values())
    assert {name: summary[name] for name in summary if "slices" in name} == {
        "training_slices": 4,
        "validation_slices": 1,
        "training_slices_with_boundary": 3,  # a single cell is no third of a window
        "validation_slices_with_boundary": 1,
    }
    assert summary["best_epoch"] in (1, 2) and np.isfinite(summary["val_loss"])
    assert sorted(path.name for path in stage_.folder.iterdir()) == ["model.pt", "preview.png"]


def test_the_loss_falls_and_the_boundary_is_found(stage):
    """The image shows the edge, so that a network of 1 x 1 convolutions on random levels can find it."""
    options = {"epochs": 40, "batch_size": 2, "augmentation": lambda item: item}
    stage_ = stage(options, training={"p": ([A, A], "hh")}, validation={"v": ([A], "h")})
    for name in "pv":
        path = stage_.cache / f"{name}.npy"
        images = np.zeros(np.load(path).shape, np.float32)
        images[..., :16] = 1
        np.save(path, images)
    train(stage_)
    (case,) = stage_.dataset.cases("validation")
    boundary = stage_.network.boundary(stage_.volume(case), flips=False)[0, 0]
    assert boundary[2:6, 3:5].mean() > boundary[2:6, [0, 1, 6, 7]].mean() + 0.2


@pytest.mark.parametrize(
    ("kind", "reference_code", "columns"),
    [
        ("h", False, [1, 1, 1, 2, 2, 0, 0, 0]),  # cells left of column 4 are class 1: columns 3 and 4 see both labels
        ("p", False, [1, 1, 1, 255, 255, 1, 1, 1]),  # two classes: 0.667 of one, and no background, is less than 0.8
        ("p", True, [1, 1, 1, 2, 2, 1, 1, 1]),  # there the code sees a boundary
        ("e", False, [0] * 8),
        ("i", False, [255] * 8),
    ],
)
def test_boundary_labels_by_hand(stage, kind, reference_code, columns):
    """Window of 3: beside the edge 6 and 3 of 9 cells (4 and 2 of 6 at the rim), 0.667 and 0.333."""
    # limits 2 theta_scale = 0.66 and 2 theta_diff = 0.8: away from the edge all cells are one label, 1 is above both
    stage_ = stage({"theta_scale": 0.33, "reference_code": reference_code}, **FILMS)
    found = stage_.loss.labels(torch.from_numpy(draw(kind))[None, None].float())
    assert found.dtype == torch.uint8 and found.shape == (1, 1, 8, 8)
    assert found[0, 0].tolist() == [columns] * 8


def test_labels_follow_the_augmentation(stage, monkeypatch):
    """Labels are made of what the network sees, not of the mask on disk."""
    seen = []

    def mirror(item):
        return item | {key: item[key].flip(-1) for key in ("image", "label")}

    stage_ = stage({"epochs": 1, "augmentation": mirror}, **FILMS)
    original = stage_.loss.labels
    monkeypatch.setattr(stage_.loss, "labels", lambda labels: seen.append(original(labels)) or seen[-1])
    stage_.loss(torch.zeros(1, 1, 8, 8), next(iter(stage_._loader(stage_.items("training")[:1])))["label"])
    assert seen[-1][0, 0, 4].tolist() == [0, 0, 0, 2, 2, 1, 1, 1]


def test_any_size_of_image(stage):
    """Sides that are no multiple of 4 have the network's ceil(S / 4) cells."""
    stage_ = stage(**FILMS)
    images, labels = torch.zeros(1, 1, 30, 25), torch.zeros(1, 1, 30, 25)
    logits = stage_.network(images)
    assert logits.shape == stage_.loss.labels(labels).shape == (1, 1, 8, 7)
    assert torch.isfinite(stage_.loss(logits, labels))


def test_the_branch_has_its_rate(stage, monkeypatch):
    seen = []
    monkeypatch.setattr(ResumableCheckpoint, "save", lambda self, engine: seen.append(self.state["optimizer"]))
    stage_ = stage({"epochs": 1, "learning_rate": 0.2}, **FILMS)
    with pytest.raises(FileNotFoundError):  # nothing was saved
        train(stage_)
    (group,) = seen[0].param_groups
    assert (group["initial_lr"], group["momentum"], group["weight_decay"]) == (0.2, 0.9, 1e-4)
    assert {id(p) for p in group["params"]} == {
        id(p) for name, p in stage_.network.named_parameters() if not name.startswith("backbone.")
    }


def test_the_published_codes_loss_is_chosen(stage):
    """Logits 0: W = sqrt(.5), every log is log .5; of 64 cells 16 are boundary, 24 foreground, 24 background."""
    stage_ = stage({"theta_scale": 0.33}, **FILMS)
    labels, logits, log2 = torch.from_numpy(draw("h"))[None, None].float(), torch.zeros(1, 1, 8, 8), np.log(2)
    assert float(stage_.loss(logits, labels)) == pytest.approx(log2 * (0.5**0.5 + 1))
    coded = stage.again(theta_scale=0.33, reference_code=True)
    assert float(coded.loss(logits, labels)) == pytest.approx(log2 * (0.5**0.5 * 16 / 17 + 24 / 25))


@pytest.mark.parametrize("window", [3, 5])
def test_no_boundary_pixel_is_said_in_one_line(stage, window):
    stage_ = stage({"window": window}, training={"p": ([A, A], "ss")}, validation={"v": ([A], "h")})
    with pytest.raises(InputError, match=f"window of {window} pixels .* lower bes_window") as raised:
        train(stage_)
    assert "\n" not in str(raised.value) and "confident_masks" in str(raised.value)


@pytest.mark.parametrize(("rows", "kinds"), [([A, A], "ei"), ([NONE, NONE], "hh")])
def test_nothing_to_train_on_is_said_in_one_line(stage, rows, kinds):
    with pytest.raises(InputError, match="no positive slice of training has a lesion pixel"):
        train(stage(training={"p": (rows, kinds)}, validation={"v": ([A], "h")}))


@pytest.mark.parametrize("validation", [{}, {"v": ([NONE], "h")}, {"v": ([A], "s")}])
def test_without_a_boundary_in_validation_the_last_epoch_is_kept(stage, validation):
    """The lowest loss would be that of a network that finds no boundary."""
    summary = train(stage(training=FILMS["training"], validation=validation))
    assert summary["best_epoch"] == 2 and summary["validation_slices"] == 0 and "val_loss" not in summary
    assert summary["validation_slices_with_boundary"] == 0


def test_a_resumed_training_ends_in_the_same_bytes(stage, monkeypatch):
    stage_ = stage({"epochs": 3}, **FILMS)
    train(stage_)
    path = stage_.folder / "model.pt"
    expected = path.read_bytes()
    path.unlink()
    seen = die_after_first_epoch(monkeypatch)
    with pytest.raises(Killed):
        train(stage.again(epochs=3))
    train(stage.again(epochs=3, network=make_network(7)))
    assert seen == [1, 2, 3] and path.read_bytes() == expected


def test_true_masks_play_no_part(stage, tmp_path):
    """The same weights whether dataset.json names a true mask, which is not even there, or none."""
    stage_ = stage(**FILMS)
    train(stage_)
    expected = (stage_.folder / "model.pt").read_bytes()
    path = tmp_path / "data" / "dataset.json"
    content = json.loads(path.read_text())
    for case in content["training"] + content["validation"]:
        case["truth"] = str(tmp_path / "removed.nii.gz")
    path.write_text(json.dumps(content))
    again = stage.again(network=make_network())
    assert again.dataset.cases("training")[0].truth is not None
    train(again)
    assert (again.folder / "model.pt").read_bytes() == expected


def test_bad_rules_are_named(stage):
    stage(**FILMS)
    with pytest.raises(ValueError, match="window must be odd and >= 3, got 4"):
        train(stage.again(window=4))


def test_preview_marks(stage):
    """Foreground, boundary and background in the colours of labels 1, 2 and 3, on the images' pixels."""
    stage_ = stage(**FILMS)
    (marks,) = stage_.marks([(stage_.dataset.cases("validation")[0], 0)])["boundary labels"]
    assert marks.dtype == np.uint8 and marks.shape == (32, 32)
    assert marks[5].tolist() == [1] * 12 + [2] * 8 + [3] * 12
