"""Labels of whole studies: bags in `classify`, slices in `seed`, and which slices train the segmenter."""

from pathlib import Path

import numpy as np
import pytest
import torch
from killed_training import Killed, die_after_first_epoch
from monai.transforms import Compose, RandScaleIntensityd
from torch import nn

from monai_wsss.engines import save_weights
from monai_wsss.inferers import MultiScaleCAMInferer
from monai_wsss.networks import ClassifierHead, ResNetClassifier
from monai_wsss.workflow import ClassifyStage, SeedStage, pseudo_mask_items
from monai_wsss.workflow.tracking import Tracker

LABELS = ["a"]


def volume(*brightness, size=8):
    """Slices `(D, 1, 8, 8)`: noise of their own, and a square of this brightness."""
    made = np.random.default_rng(len(brightness)).normal(0, 0.1, (len(brightness), 1, size, size))
    made[:, :, 2:6, 2:6] += np.reshape(brightness, (-1, 1, 1, 1))
    return made


class Square(nn.Module):
    """One logit: weight times the brightness of the middle, plus a bias."""

    def __init__(self, weight=0.0):
        super().__init__()
        self.fc = nn.Linear(1, 1)
        nn.init.constant_(self.fc.weight, weight)
        nn.init.zeros_(self.fc.bias)

    @property
    def class_weight(self):
        return self.fc.weight

    def features(self, x):
        return x

    def forward(self, x):
        return self.fc(x[:, :, 2:6, 2:6].mean(dim=(2, 3)))


def studies(count, positive=(0, 0, 3, 0, 0), negative=(0, 0, 0, 0)):
    """As many positive and negative ones, of 5 and 4 slices; one slice in a positive one is bright."""
    return {f"p{i}": (volume(*positive), (1,)) for i in range(count)} | {
        f"n{i}": (volume(*negative), (0,)) for i in range(count)
    }


@pytest.fixture
def stage(write_cached, place):
    def make(network=None, augmentation=None, epochs=8, batch_size=4, learning_rate=1.0, cases=None, **options):
        if not Path(place["dataset_dir"]).exists():
            write_cached(LABELS, **(cases or {"training": studies(4), "validation": studies(2)}))
        return ClassifyStage(
            network or Square(),
            augmentation or Compose([]),
            epochs,
            batch_size,
            learning_rate,
            labels=LABELS,
            **options,
            **place,
        )

    return make


def run(made):
    made.folder.mkdir(parents=True, exist_ok=True)
    return made.work(Tracker("none", made.run_folder, made.name))


@pytest.mark.parametrize("pooling", ["log_sum_exp", "attention"])
def test_a_slice_classifier_learns_from_the_labels_of_studies(stage, pooling):
    """The bright slice is found although no label says which slice it is."""
    made = stage(bag_pooling=pooling, bag_batch_size=2, bag_slices=5)
    scores = run(made)
    assert scores["val_auc"] == 1 and scores["val_f1"] == 1
    weights = torch.load(made.folder / "model.pt", weights_only=True)
    assert list(weights) == ["fc.weight", "fc.bias"]
    made.network.load_state_dict(weights)
    chance = made.network(torch.as_tensor(volume(0, 0, 3, 0, 0)).float()).sigmoid()[:, 0]
    assert chance[2] > 0.5 and (chance[[0, 1, 3, 4]] < 0.5).all()


def test_without_pooling_every_slice_is_an_item(stage):
    made = stage(bag_pooling="none", epochs=1)
    assert made.bags is None and run(made)["best_epoch"] == 1
    assert next(iter(made._loader(made.items("training"))))["image"].shape == (4, 1, 8, 8)


def test_validation_scores_are_those_of_studies(stage):
    """Logits of a positive study's slices are 0 0 3 0 0, its probability that of log((e^3 + 4) / 5)."""
    bright = np.reshape([0, 0, 3, 0, 0], (5, 1, 1, 1)) * np.ones((5, 1, 8, 8))
    quiet = {"p": (bright, (1,)), "n": (np.zeros((4, 1, 8, 8)), (0,))}
    made = stage(Square(1.0), cases={"training": quiet, "validation": quiet})
    bags = made.bagged("validation", made.items("validation"))
    chance = 1 / (1 + 5 / (np.exp(3) + 4))  # .828; the negative one's is .5
    assert made._validation_scores(bags)["val_ece"] == pytest.approx((1 - chance + 0.5) / 2, abs=1e-6)
    assert made._validation_scores(bags)["val_auc"] == 1
    with torch.no_grad():
        logits = [made.bags(batch["image"], batch["lengths"]) for batch in made._loader(bags, train=False)]
    assert torch.cat(logits).sigmoid().flatten().tolist() == pytest.approx([chance, 0.5], abs=1e-6)


def test_a_step_takes_studies_and_draws_slices_of_large_ones(stage):
    made = stage(bag_batch_size=3, bag_slices=4)
    bags = made.bagged("training", made.items("training"))
    assert [bag["lengths"] for bag in bags] == [[5]] * 4 + [[4]] * 4
    batches = list(made._loader(bags))
    assert [batch["lengths"] for batch in batches] == [[4, 4, 4], [4, 4, 4], [4, 4]]
    assert all(batch["image"].shape == (4 * len(batch["lengths"]), 1, 8, 8) for batch in batches)
    # validation has all slices, one study at a time
    alone = list(made._loader(made.bagged("validation", made.items("validation")), train=False))
    assert [batch["lengths"] for batch in alone] == [[5], [5], [4], [4]]


def test_studies_and_labelled_slices_in_one_data_set(stage):
    """A step has as many of the one kind as it has room for, counted in studies: 8 slices are 2 studies."""
    rows = [[1], [0], [0], [-1], [1], [0]]
    mixed = studies(2) | {"r": (volume(3, 0, 0, 0, 3, 0), rows)}
    made = stage(batch_size=8, bag_batch_size=2, cases={"training": mixed, "validation": studies(1)})
    bags = made.bagged("training", made.items("training"))
    # 6 labelled slices less the unknown one: 2 positive, 3 negative, in groups of 8 / 2 = 4 at most
    assert sorted(map(len, (bag["lengths"] for bag in bags))) == [1, 1, 1, 1, 2, 3]
    scores = run(made)
    assert scores["val_auc"] == 1


def test_positive_share_counts_studies(stage):
    cases = {"training": studies(1) | {f"m{i}": (volume(0, 0), (0,)) for i in range(9)}, "validation": studies(1)}
    made = stage(cases=cases, positive_share=0.9, bag_batch_size=2)
    bags = made.bagged("training", made.items("training"))
    torch.manual_seed(0)
    drawn = [row for _ in range(20) for batch in made._loader(bags) for row in batch["classes"].tolist()]
    assert np.mean(drawn) == pytest.approx(0.9, abs=0.06)  # of 11 studies one is positive; sd sqrt(.09 / 220) = .02


@pytest.mark.parametrize("rows", [[[1], [0], [1]], (1,)])
def test_slice_labels_and_films_train_as_before(stage, rows):
    """No study of several slices has one label: the path, and every weight, is that without bags."""
    film = (volume(3), (1,)), (volume(0), (0,))
    cases = {"p": film[0], "n": film[1]} if isinstance(rows, tuple) else {"r": (volume(3, 0, 3), rows)}
    weights = []
    for pooling in ("log_sum_exp", "none"):
        torch.manual_seed(0)
        made = stage(bag_pooling=pooling, epochs=2, cases={"training": cases, "validation": cases})
        run(made)
        weights.append((made.folder / "model.pt").read_bytes())
    assert weights[0] == weights[1]


def residual(stage, **options):
    torch.manual_seed(0)
    network = ResNetClassifier(depth=18, width=0.125, head=ClassifierHead(drop_prob=0.2, drop_size=1))
    random = Compose([RandScaleIntensityd("image", 0.5, 1.0)])
    return stage(network, random, epochs=2, batch_size=3, learning_rate=1e-3, bag_batch_size=2, bag_slices=3, **options)


def test_a_training_that_was_killed_goes_on_to_the_same_bytes(stage, monkeypatch):
    cases = {"training": studies(2), "validation": studies(1)}
    made = residual(stage, cases=cases)
    run(made)
    expected = (made.folder / "model.pt").read_bytes()
    (made.folder / "model.pt").unlink()
    with monkeypatch.context() as patch:
        die_after_first_epoch(patch)
        with pytest.raises(Killed):
            run(residual(stage))
    run(residual(stage))
    assert (made.folder / "model.pt").read_bytes() == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bag_pooling": "max"}, "bag_pooling must be one of log_sum_exp, attention, none, got max"),
        ({"bag_batch_size": 0}, "bag_batch_size and bag_slices must be >= 1, got 0 and 64"),
        ({"bag_slices": 0}, "bag_batch_size and bag_slices must be >= 1, got 2 and 0"),
        ({"bag_sharpness": -1.0}, "sharpness must be > 0"),
    ],
)
def test_bad_settings_are_refused(stage, options, message):
    with pytest.raises(ValueError, match=message):
        stage(**options)


@pytest.fixture
def seeds(write_cached, place):
    """Runs `seed` with probabilities sigmoid(brightness); returns which slices have a map, by case."""

    def make(gate=0.5, **cases):
        write_cached(LABELS, **cases)
        network = Square(1.0)
        stage = SeedStage(network, MultiScaleCAMInferer(scales=(1.0,)), 2, gate, labels=LABELS, **place)
        save_weights(network, stage.run_folder / "classifier" / "model.pt")
        stage.work(None)
        names = [name for found in cases.values() for name in found]
        return {name: np.load(stage.folder / f"{name}.npy").any(axis=(1, 2, 3)).tolist() for name in names}

    return make


def test_a_study_is_open_where_the_classifier_sees_the_class(seeds):
    found = seeds(
        training={"two": (volume(-5, 5, 5, -5), (1,)), "soft": (volume(5, -5), (0.5,))},
        validation={"one": (volume(-9, -5, -9), (1,)), "no": (volume(5, 5), (0,)), "unknown": (volume(5, 5), (-1,))},
    )
    assert found == {
        "two": [False, True, True, False],
        "soft": [True, False],
        "one": [False, True, False],  # none is above .5: the highest
        "no": [False, False],
        "unknown": [False, False],
    }


def test_the_gate_is_the_stages_and_slice_labels_know_better(seeds):
    # sigmoid(2) = .88, sigmoid(4) = .98
    bright = volume(2, 4, -5)
    found = seeds(
        gate=0.95, training={"whole": (bright, (1,)), "rows": (bright, [[1], [0], [1]])}, test={"t": (bright, (0,))}
    )
    assert found == {"whole": [False, True, False], "rows": [True, False, True], "t": [False, True, False]}


def test_equal_probabilities_open_the_first_slice_and_a_film_its_own(seeds):
    flat = np.tile(np.linspace(-3, -2, 8), (3, 1, 8, 1))
    assert seeds(training={"s": (flat, (1,)), "film": (flat[:1], (1,))}) == {"s": [True, False, False], "film": [True]}


def test_slices_without_a_seed_in_a_positive_study_train_no_segmenter(write_cached, place, grid, tmp_path):
    write_cached(LABELS, training={"p": (np.zeros((3, 1, 8, 8)), (1,)), "n": (np.zeros((2, 1, 8, 8)), (0,))})
    folder = tmp_path / "run" / "masks"
    folder.mkdir(parents=True)
    mask = np.zeros((3, 8, 8), np.uint8)
    mask[1, 3, 3], mask[2] = 1, 255
    np.save(folder / "p.npy", mask)
    np.save(folder / "n.npy", mask[:2] * 0)
    found = pseudo_mask_items(place["dataset_dir"], place["output_dir"], "training", grid, folders=["masks"])
    assert [(item["case"], item["slice"]) for item in found] == [("p", 1), ("n", 0), ("n", 1)]
