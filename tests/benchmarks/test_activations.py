import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.activations import activation_curves
from benchmarks.rows.localisers import LOCALISERS, localiser_of
from benchmarks.rows.run_parts import preprocessing_of
from benchmarks.tables.rebuild import format_table
from monai_wsss.data import PreparedDataset, cache_folder
from monai_wsss.errors import InputError

TOP = 100


@pytest.fixture(scope="module")
def curves(whole_deconv):
    return activation_curves(whole_deconv.data, {"": whole_deconv.run, "again": whole_deconv.run}, TOP, "cpu")


def films_of(run):
    cache = cache_folder(run.data, preprocessing_of(run.run).parameters)
    cases = [case for case in PreparedDataset.read(run.data).test if case.classes == (1,)]
    return [torch.from_numpy(np.load(cache / f"{case.case}.npy")) for case in cases]


def curve_of(features):
    """Mean over films of what is sorted and divided by its largest."""
    ordered = [one.flatten().sort(descending=True).values[:TOP] for one in features]
    return np.mean([(values / values[0]).numpy() for values in ordered], axis=0)


def test_after_the_third_pooling(curves, whole_deconv):
    """Three convolutions of the encoder, each with ReLU and pooling, by torch's own functions."""
    convs = list(localiser_of(whole_deconv.run, LOCALISERS["train"]).encoder.trunk.values())[:3]
    pooled = []
    for film in films_of(whole_deconv):
        for conv in convs:
            film = F.max_pool2d(F.relu(F.conv2d(film, conv.weight, conv.bias, padding=conv.padding)), 2)
        pooled.append(film.detach())
    curve = curves["curves"]["pool 3"]
    assert curve["activations"] == 48 * 4 * 4  # an eighth of 384 channels, 32 / 8 pixels
    assert curve["values"] == pytest.approx(curve_of(pooled)[curves["ranks"]], abs=1e-5)
    assert curve["last"] == pytest.approx(curve_of(pooled)[-1], abs=1e-5)


def test_after_the_second_deconvolution(curves, whole_deconv):
    """Unpooling by torch, then the transposed convolution, twice."""
    network = localiser_of(whole_deconv.run, LOCALISERS["train"])
    made = []
    for film in films_of(whole_deconv):
        with torch.no_grad():
            features, switches = network.encoder(film)
            for number, conv in enumerate(list(network.encoder.trunk.values())[:2:-1]):
                indices, size = switches[-1 - number]
                features = F.max_unpool2d(features, indices, 2, output_size=size)
                bias = network.deconvs[number].layers[0].bias
                features = F.relu(F.conv_transpose2d(features, conv.weight, bias, padding=conv.padding))
        made.append(features)
    curve = curves["curves"]["deconv 2"]
    alive = [features for features in made if features.max() > 0]
    assert curve["images"] == len(alive) and curve["activations"] == 48 * 4 * 4
    assert alive
    assert curve["values"] == pytest.approx(curve_of(alive)[curves["ranks"]], abs=1e-5)


def test_curves_of_two_runs(curves, whole_deconv):
    found = curves["curves"]
    assert list(found) == ["pool 3", "deconv 2", "pool 3 (again)", "deconv 2 (again)"]
    assert found["pool 3"] == found["pool 3 (again)"]
    assert curves["top"] == TOP and curves["images"] == len(films_of(whole_deconv))
    values = found["pool 3"]["values"]
    assert values[0] == 1 and all(a >= b for a, b in pairwise(values))
    assert curves["ranks"] == list(range(0, 100, 2))


def test_the_table_prints(curves):
    lines = format_table(json.loads(json.dumps(curves, allow_nan=False))).splitlines()
    assert lines[2].startswith("| pool 3 | 768 |") and "The 100 strongest activations" in lines[-1]


def test_more_than_there_are_is_all(whole_deconv):
    found = activation_curves(whole_deconv.data, {"": whole_deconv.run}, 10_000, "cpu")
    assert found["top"] == 768


def test_runs_that_cannot_be_drawn(whole, whole_deconv, tmp_path):
    with pytest.raises(InputError, match="has not ended"):
        activation_curves(whole_deconv.data, {"": tmp_path})
    with pytest.raises(InputError, match="no second deconvolution"):
        activation_curves(whole.data, {"": whole.run})
