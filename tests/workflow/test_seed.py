"""Class maps, and who opens their gate."""

import csv

import numpy as np
import pytest
import torch

from monai_wsss.engines import save_weights
from monai_wsss.errors import InputError
from monai_wsss.inferers import MultiScaleCAMInferer
from monai_wsss.workflow import SeedStage


class Bright(torch.nn.Module):
    """Two classes: the bright pixels, and the dark ones; a slice is of class k if its mean is above or below 0."""

    def __init__(self):
        super().__init__()
        self.class_weight = torch.nn.Parameter(torch.tensor([[1.0], [-1.0]]))

    def features(self, x):
        return x

    def forward(self, x):
        mean = 10 * x.mean(dim=(1, 2, 3))
        return torch.stack([mean, -mean], dim=1)


def ramp(*means):
    """Slices that rise from mean - 1 to mean + 1 along the last axis."""
    return np.stack([np.tile(np.linspace(-1, 1, 8), (8, 1))[None] + mean for mean in means])


@pytest.fixture
def run(place, write_cached):
    def run_stage(gate=0.5, batch_size=2, **cases):
        write_cached(["bright", "dark"], **cases)
        network, inferer = Bright(), MultiScaleCAMInferer(scales=(1.0,))
        stage = SeedStage(network, inferer, batch_size, gate, labels=["bright", "dark"], **place)
        save_weights(network, stage.run_folder / "classifier" / "model.pt")
        summary = stage.work(None)
        names = [name for found in cases.values() for name in found]
        return {name: np.load(stage.folder / f"{name}.npy") for name in names}, summary, stage

    return run_stage


UP, DOWN, NONE = np.linspace(0, 1, 8), np.linspace(1, 0, 8), np.zeros(8)


def opened(maps):
    """Which gates are open, `(D, K)`."""
    return maps.any(axis=(2, 3)).tolist()


@pytest.mark.parametrize("split", ["training", "validation"])
def test_labels_open_the_gate_in_training_and_validation(run, split):
    rows = [[1, 0], [0, 1], [1, 1], [0, 0], [-1, 1], [-1, -1]]
    maps, summary, _ = run(**{split: {"c": (ramp(5, 5, 5, 5, -5, -5), rows)}})
    assert maps["c"].dtype == np.float16 and maps["c"].shape == (6, 2, 8, 8)
    expected = [[UP, NONE], [NONE, DOWN], [UP, DOWN], [NONE, NONE], [NONE, DOWN], [NONE, NONE]]
    for got, wanted in zip(maps["c"], expected, strict=True):
        np.testing.assert_allclose(got, np.broadcast_to(np.array(wanted)[:, None], got.shape), atol=1e-3)
    assert summary == {"slices": 6, "slices_with_maps": 4}


@pytest.mark.parametrize("rows", [[[0, 1]] * 3, [[1, 0]] * 3, [[-1, -1]] * 3])
def test_the_classifier_opens_it_in_the_test_split_whatever_the_labels(run, rows):
    # probability of class 0: sigmoid(20) = 1, sigmoid(0) = .5, sigmoid(-20) = 0
    maps, _, _ = run(test={"c": (ramp(2, 0, -2), rows)})
    assert opened(maps["c"]) == [[True, False], [True, True], [False, True]]


def test_soft_labels_open_the_gate_from_one_half(run):
    rows = [[0.5, 0.49], [0.8, -1], [0.1, 0.999]]
    maps, summary, _ = run(training={"c": (ramp(5, 5, 5), rows)})
    assert opened(maps["c"]) == [[True, False], [True, False], [False, True]]
    assert summary == {"slices": 3, "slices_with_maps": 3}


def test_gate_probability(run):
    # sigmoid(.5) = .62, sigmoid(-.5) = .38
    maps, summary, _ = run(gate=0.65, test={"c": (ramp(0.05, 2), [[1, 1]] * 2)})
    assert opened(maps["c"]) == [[False, False], [True, False]] and summary["slices_with_maps"] == 1


def test_label_of_a_volume_holds_for_each_slice(run):
    maps, _, _ = run(training={"c": (ramp(0, 0, 0), (1, -1))})
    assert opened(maps["c"]) == [[True, False]] * 3


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_change_nothing(run, batch_size):
    rows = [[1, 0], [0, 0], [0, 1], [1, 1], [1, 0]]
    maps, _, _ = run(batch_size=batch_size, training={"c": (ramp(1, 2, 3, 4, 5), rows)})
    assert opened(maps["c"]) == [[bool(k) for k in row] for row in rows]


def test_flat_maps_and_negative_cases_are_zero(run):
    """A constant slice has no map to stretch, and a case without a positive is all zeros."""
    maps, summary, _ = run(
        training={"flat": (np.ones((2, 1, 8, 8)), (1, 1)), "negative": (ramp(1, 1), (0, 0))},
        test={"t": (np.ones((1, 1, 8, 8)), (0, 0))},
    )
    assert not any(values.any() for values in maps.values())
    assert summary["slices"] == 5


def test_table_of_probabilities(run):
    _, _, stage = run(training={"c": (ramp(0, 2), (1, 0))})
    with (stage.folder / "slices.csv").open() as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["case", "slice", "class", "probability"],
        ["c", "0", "bright", "0.5000"],
        ["c", "0", "dark", "0.5000"],
        ["c", "1", "bright", "1.0000"],
        ["c", "1", "dark", "0.0000"],
    ]


def test_another_number_of_classes_is_refused(write_cached, place):
    write_cached(["bright", "dark"], training={"c": (ramp(0), (1, 0))})
    with pytest.raises(InputError, match=r"2 classes, the bundle has 1; set labels to"):
        SeedStage(Bright(), MultiScaleCAMInferer(), 2, labels=["lesion"], **place)
