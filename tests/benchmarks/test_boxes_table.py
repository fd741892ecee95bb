"""The whole table on tiny films with the chest X-ray bundle."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.boxes import boxes_table
from benchmarks.rows.box_methods import METHODS, class_map_methods
from benchmarks.tables.rebuild import format_table
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError

BUNDLES = Path(__file__).parents[2] / "bundles"
TINY = {
    "size": [24, 24],
    "classifier_name": "resnet18",
    "classifier_width": 0.125,
    "head_channels": 64,
    "drop_size": 1,
    "classify_epochs": 1,
    "classify_batch_size": 4,
    "scales": [1.0],
    "segmenter": "mixed_unet",
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("boxes")


def measure(films, work, **options):
    options = {"overrides": TINY, "folds": 2, "device": "cpu"} | options
    return boxes_table(films.data, films.boxes, BUNDLES / "cxr_pneumothorax_irnet", work, **options)


@pytest.fixture(scope="module")
def table(films, work):
    return measure(films, work)


def test_counts_and_rows(table):
    assert table["counts"] == {
        "patients": 10,
        "films": 11,
        "positive_films": 6,
        "boxed_patients": 5,
        "boxed_films": 6,
        "boxes": 6,
    }
    assert list(table["rows"]) == [
        "film centre",
        "centre of a lung, drawn",
        "average box of the other patients (knows boxes)",
        "mean map of the other patients' films",
        "random weights",
        "shuffled labels",
        *(METHODS[method] for method in ("cam", "grad_cam", "grad_cam_pp", "layer_cam")),
    ]
    assert table["method"] == "Grad-CAM++" and table["threshold"] == 0.3
    assert {name: scores["pooled"]["n"] for name, scores in table["classifier"].items()} == {
        "classifier": 11,
        "classifier, shuffled labels": 11,
    }


def test_rows_that_know_no_film_are_those_of_the_geometry(table):
    """Every box is columns 30 to 38, rows 8 to 14 of 48 x 40: neither the centre nor a lung's centre is in it."""
    rows = table["rows"]
    assert rows["film centre"]["hits"] == rows["centre of a lung, drawn"]["hits"] == 0
    assert rows["film centre"]["box_iou"] is None
    average = rows["average box of the other patients (knows boxes)"]
    assert average["hits"] == 6 and average["box_iou"]["mean"] == pytest.approx(1)
    assert average["pointing"]["patients"] == 5 and average["pointing"]["n"] == 6


def test_every_map_is_scored_on_every_boxed_film(table):
    for name, scores in table["rows"].items():
        assert scores["pointing"]["n"] == 6 and 0 <= scores["hits"] <= 6, name
        assert scores["pointing"]["mean"] == pytest.approx(scores["hits"] / 6)
        assert scores["box_iou"] is None or 0 <= scores["box_iou"]["mean"] <= 1
    own = table["rows"]["Grad-CAM++"]
    assert own["difference"]["mean"] == own["iou_difference"]["mean"] == 0


def test_a_second_call_trains_nothing_and_says_the_same(films, work, table, caplog):
    with caplog.at_level(logging.INFO):
        again = measure(films, work, shuffled=False)
    assert sum("classify: already done" in record.getMessage() for record in caplog.records) == 2
    assert list(again["classifier"]) == ["classifier"] and "shuffled labels" not in again["rows"]
    assert again["rows"] == {name: scores for name, scores in table["rows"].items() if name != "shuffled labels"}
    assert again["classifier"]["classifier"] == table["classifier"]["classifier"]


@pytest.mark.parametrize(
    ("config", "rows", "own"),
    [
        ({}, ["class maps"], "class maps"),
        (
            {"cam_method": "grad_cam_pp", "cam_target": "last"},
            ["CAM", "Grad-CAM", "Grad-CAM++", "LayerCAM"],
            "Grad-CAM++",
        ),
        (
            {"cam_method": "grad_cam_pp_code", "cam_target": "layer3"},
            [
                *("CAM", "Grad-CAM", "Grad-CAM++", "LayerCAM", "Grad-CAM++, published code"),
                *("Grad-CAM, layer3", "Grad-CAM++, layer3", "LayerCAM, layer3", "Grad-CAM++, published code, layer3"),
            ],
            "Grad-CAM++, published code, layer3",
        ),
        (
            {"cam_method": "cam", "cam_target": "layer3"},  # CAM has no other layer
            ["CAM", "Grad-CAM", "Grad-CAM++", "LayerCAM", "Grad-CAM, layer3", "Grad-CAM++, layer3", "LayerCAM, layer3"],
            "CAM",
        ),
    ],
)
def test_methods_of_a_bundle(config, rows, own):
    found, best = class_map_methods(config)
    assert (list(found), best) == (rows, own)
    for name, settings in found.items():
        assert settings.get("cam_target", "last") == ("layer3" if "layer3" in name else "last")


def test_the_classifier_of_a_fold_never_saw_its_films(work, table):
    for fold in ("fold0", "fold1"):
        for name in ("method_data", "shuffled_data"):
            read = PreparedDataset.read(work / fold / name)
            assert not {c.patient for c in read.test} & {c.patient for c in (*read.training, *read.validation)}
        plain, shuffled = (PreparedDataset.read(work / fold / name) for name in ("method_data", "shuffled_data"))
        assert [c.case for c in plain.training] == [c.case for c in shuffled.training]
        assert plain.test == tuple(replace(a, image=b.image) for a, b in zip(shuffled.test, plain.test, strict=True))


def test_the_table_is_plain_json_and_prints(table):
    text = format_table(json.loads(json.dumps(table, allow_nan=False)))
    assert text.count("\n| ") == 2 + 10 + 2 + len(table["nuisance"]) - 1
    assert "6 boxes on 6 films of 5 patients" in text and "threshold 0.3" in text


def test_several_classes_are_refused(films, tmp_path):
    dataset = PreparedDataset.read(films.data)
    cases = tuple(replace(case, classes=(*case.classes, 0)) for case in dataset.cases())
    PreparedDataset(("a", "b"), dataset.preprocessing, cases).write(tmp_path / "data")
    with pytest.raises(InputError, match="2 classes"):
        boxes_table(tmp_path / "data", films.boxes, BUNDLES / "cxr_pneumothorax_irnet", tmp_path / "work")
    assert not (tmp_path / "work").exists()
