"""The ceiling and the few-shot segmenter: what they learn from, and what they do not."""

import csv
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from tiny_bundles import BES_BUNDLE, BUNDLE, CT_BUNDLE, DSRG_BUNDLE, FILM_BUNDLE

from benchmarks.rows import runs as runs_module
from benchmarks.rows.runs import TRAINING_FILE, Runs
from benchmarks.rows.true_masks import remove_gate, write_true_masks
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import load_config
from monai_wsss.workflow.bundle_freeze import freeze_bundle
from monai_wsss.workflow.manifest import Manifest


def runs_of(run, data, bundle, work, **values):
    """Runs beside a finished one."""
    shutil.copytree(run, work / "method")
    settings = Manifest(run).content["overrides"] | values
    return Runs(data, bundle, work, (), settings, "cpu")


@pytest.fixture(scope="module")
def learnt(whole, tmp_path_factory):
    runs = runs_of(whole.run, whole.data, whole.bundle, tmp_path_factory.mktemp("learnt"))
    return SimpleNamespace(runs=runs, supervised=runs.supervised().parent, few_shot=runs.few_shot(1).parent)


def note(folder):
    return json.loads((folder / TRAINING_FILE).read_text())


def test_what_is_said_of_them(learnt, whole):
    """Five training patients and three epochs; of two validation patients one is drawn, with four slices."""
    ceiling, few_shot = note(learnt.supervised), note(learnt.few_shot)
    assert ceiling["network"] == few_shot["network"] == "mixed_unet" and ceiling["bundle"] == whole.bundle.name
    assert (ceiling["epochs"], few_shot["epochs"]) == (6, 3)
    assert 1 <= ceiling["best_epoch"] <= 6 and 0 <= ceiling["agreement"] <= 1
    assert (ceiling["patients"], ceiling["slices_per_epoch"], few_shot["patients"]) == (5, 20, 1)
    drawn = Manifest(whole.run).stage("train")["summary"]["training_slices"]
    assert abs(few_shot["slices_per_epoch"] - drawn) <= 2 and few_shot["slices_per_epoch"] % 4 == 0


@pytest.mark.parametrize(("row", "learns_from"), [("supervised", 7), ("few_shot", 1)])
def test_masks_and_predictions(learnt, whole, row, learns_from):
    """True masks of those it learns from and of nobody else; predictions of the test cases, with no classifier."""
    folder = getattr(learnt, row)
    masks = {path.stem for path in (folder / "pseudo_masks" / "refined").iterdir()}
    dataset = PreparedDataset.read(whole.data)
    assert len(masks) == learns_from and not masks & {case.case for case in dataset.test}
    assert not (folder / "classifier").exists() and not (folder / "pseudo_masks" / "crf").exists()
    for case in dataset.test:
        assert nib.load(folder / "predictions" / f"{case.case}.nii.gz").shape == nib.load(case.image).shape
    with (folder / "predictions" / "slices.csv").open(newline="") as stream:
        assert {line["probability"] for line in csv.DictReader(stream)} == {""}


def test_a_second_call_trains_nothing(learnt):
    before = [(folder / "run.json").read_bytes() for folder in (learnt.supervised, learnt.few_shot)]
    learnt.runs.supervised(), learnt.runs.few_shot(1)
    assert [(folder / "run.json").read_bytes() for folder in (learnt.supervised, learnt.few_shot)] == before


def test_the_few_shot_segmenter_sees_no_other_mask_and_no_label(learnt, whole, tmp_path):
    """The masks of training are gone and all labels of slices are turned round: the weights stay."""
    dataset = PreparedDataset.read(whole.data)
    drawn = next((learnt.few_shot / "pseudo_masks" / "refined").iterdir()).stem

    def blind(case):
        slices = tuple((1 - row[0],) for row in case.slice_classes)
        return replace(case, truth=case.truth if case.case == drawn else None, slice_classes=slices)

    training, validation = (tuple(map(blind, cases)) for cases in (dataset.training, dataset.validation))
    replace(dataset, training=training, validation=validation).write(tmp_path / "data")
    runs = runs_of(whole.run, tmp_path / "data", whole.bundle, tmp_path)
    runs.few_shot(1)
    weights = [folder / "segmenter" / "model.pt" for folder in (learnt.few_shot, tmp_path / "few_shot")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_method_that_was_not_trained_has_no_few_shot_row(whole, tmp_path):
    with pytest.raises(InputError, match="no finished stage train"):
        Runs(whole.data, whole.bundle, tmp_path / "work", (), {}, "cpu").few_shot()
    assert not (tmp_path / "work").exists()


def test_slices_are_labelled_by_their_masks(whole_films, tmp_path):
    """As the study's own label says nothing of a slice; the test split keeps its own."""
    dataset = PreparedDataset.read(whole_films.data)
    flipped = replace(dataset, training=tuple(replace(case, classes=(1,)) for case in dataset.training))
    found = write_true_masks(flipped, whole_films.run, tmp_path)
    assert [case.slice_classes for case in found.training] == [(case.classes,) for case in dataset.training]
    assert found.test == dataset.test
    masks = {case.case: np.load(tmp_path / "pseudo_masks" / "refined" / f"{case.case}.npy") for case in found.training}
    assert all(bool(masks[case.case].any()) == bool(case.classes[0]) for case in dataset.training)


def test_a_localisers_ceiling_is_mixed_unets(whole, whole_deconv, tmp_path, monkeypatch):
    """On the localiser's own grid, whose films are fitted whole; those few have negatives beside them."""
    monkeypatch.setattr(runs_module, "MASK_BUNDLE", whole.run / "bundle")
    runs = runs_of(whole_deconv.run, whole_deconv.data, whole_deconv.bundle, tmp_path)
    folders = runs.supervised().parent, runs.few_shot(2).parent
    assert [note(folder)["network"] for folder in folders] == ["mixed_unet", "mixed_unet"]
    assert [note(folder)["patients"] for folder in folders] == [16, 4]
    for folder in folders:
        config = load_config(folder / "bundle" / "configs" / "train.yaml")
        assert config["pixel_spacing"] is None and config["size"] == [32, 32] and config["seed"] == 2
        for case in PreparedDataset.read(whole_deconv.data).test:
            assert nib.load(folder / "predictions" / f"{case.case}.nii.gz").shape == nib.load(case.image).shape


@pytest.mark.parametrize("bundle", [BUNDLE, CT_BUNDLE, DSRG_BUNDLE, BES_BUNDLE, FILM_BUNDLE])
def test_no_bundles_inference_has_a_gate_left(bundle, tmp_path):
    frozen = freeze_bundle(bundle, tmp_path / "frozen", {})
    remove_gate(frozen)
    config = load_config(frozen / "configs" / "inference.yaml")
    assert config["stage"]["weights"] == ["@segmenter_weights"]
    assert ConfigParser(config).get_parsed_content("inferer").classifier is None


@pytest.mark.parametrize(("overlays", "expected"), [(("small",), None), ((), "vgg.pt")])
def test_a_few_shot_segmenter_does_not_begin_with_the_classifiers_weights(overlays, expected, tmp_path, monkeypatch):
    """`small` starts from the classifier's trunk, which learnt from all labels; a file from elsewhere stays."""
    asked = {}
    runs = Runs(tmp_path, DSRG_BUNDLE, tmp_path, overlays, {} if overlays else {"segmenter_backbone_weights": "vgg.pt"})
    monkeypatch.setattr(runs_module, "few_shot_dataset", lambda *arguments: None)
    monkeypatch.setattr(runs_module.PreparedDataset, "read", lambda folder: None)
    monkeypatch.setattr(Runs, "_trained_slices", lambda self: 1)
    monkeypatch.setattr(Runs, "_learn_masks", lambda self, *given: asked.update(self._mask_settings | given[2]))
    runs.few_shot()
    assert asked["segmenter_backbone_weights"] == expected and asked["val_interval"] > asked["train_epochs"]
