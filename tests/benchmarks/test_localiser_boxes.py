"""The table of boxes of a bundle whose localisers make the masks, on tiny films."""

import json

import pytest
import torch
from tiny_bundles import DECONV_BUNDLE, DECONV_SETTINGS
from torch import nn

from benchmarks.boxes import boxes_table
from benchmarks.rows import film_maps as module
from benchmarks.rows.box_methods import localiser_methods
from benchmarks.rows.film_maps import localiser_maps, probabilities
from benchmarks.rows.localisers import LOCALISERS, localiser_of
from benchmarks.tables.rebuild import format_table
from monai_wsss.data import PreparedDataset
from monai_wsss.transforms import GridPreprocessing

STAGES = ["localiser, baseline", "deconv 1", "segmenter"]
SETTINGS = DECONV_SETTINGS | {"deconv_stages": 2, "classify_epochs": 1, "baseline_epochs": 1, "deconv_epochs": 1}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("localiser_boxes")


@pytest.fixture(scope="module")
def table(films, work):
    settings = {"overrides": SETTINGS, "folds": 2, "shuffled": False, "device": "cpu"}
    return boxes_table(films.data, films.boxes, DECONV_BUNDLE, work, **settings)


def test_every_stage_has_maps_and_an_auc(table):
    rows = list(table["rows"])
    assert rows[4:] == ["random weights", *STAGES] and table["method"] == "segmenter"
    assert list(table["classifier"]) == ["classifier", *STAGES]
    assert all(scores["pooled"]["n"] == 11 for scores in table["classifier"].values())
    assert all(scores["pointing"]["n"] == 6 for scores in table["rows"].values())
    assert list(table["minutes"]) == ["classify", "baseline", "deconv1", "train", "maps and scores"]


def test_probabilities_are_the_localisers_own(films, work, table):
    run, data = work / "fold0" / "method", work / "fold0" / "method_data"
    cases = PreparedDataset.read(data).test
    networks = [localiser_of(run, LOCALISERS[stage]) for stage in ("baseline", "train")]
    found = [probabilities(run, data, cases, "cpu", network) for network in networks]
    methods = localiser_methods(["classify", "baseline", "deconv1", "train"], "cpu")
    assert methods.chances["localiser, baseline"](run, data, cases) == found[0]
    assert methods.chances["segmenter"](run, data, cases) == found[1]
    preprocess = module.preprocessing_of(run)
    film = preprocess({"image": str(cases[0].image)})["image"].as_tensor()[None, ..., 0]
    with torch.no_grad():
        logit = networks[1].image_logits(networks[1].maps(film))
    assert found[1][cases[0].case] == pytest.approx(float(logit.sigmoid()), abs=1e-5)


def test_the_table_prints(table):
    text = format_table(json.loads(json.dumps(table, allow_nan=False)))
    assert "| deconv 1 |" in text and "quantile of the maps of negative validation films" in text
    assert "threshold 0" not in text


class Bright(nn.Module):
    """The film itself as the first class's map, at half its size."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = torch.tensor([threshold, 9.0])

    def lesion_maps(self, film):
        return torch.cat([film[:, :, ::2, ::2], 0 * film[:, :, ::2, ::2]], 1)


def test_maps_lie_where_the_film_is_bright_less_the_threshold(films, tmp_path, monkeypatch):
    """The square: columns 30 to 37 of 48, rows 8 to 13 of 40."""
    grid = GridPreprocessing(pixel_spacing=None, size=(96, 96))
    monkeypatch.setattr(module, "preprocessing_of", lambda run: grid)
    cases = [case for case in PreparedDataset.read(films.data).cases() if case.classes == (1,)]
    plain, lowered = (localiser_maps(tmp_path, Bright(threshold), cases, "cpu") for threshold in (0.0, 0.25))
    x0, y0, x1, y1 = films.square
    for case in cases:
        values = plain[case.case]
        assert tuple(values.shape) == films.size
        column, row = divmod(int(values.argmax()), films.size[1])
        assert x0 <= column < x1 and y0 <= row < y1
        assert torch.allclose(lowered[case.case], values - 0.25, atol=1e-5)
