"""The DSRG bundle under `python -m monai.bundle run`: stage by stage from a copy, exported, and misused."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run as monai_bundle_run
from tiny_bundles import DSRG_BUNDLE, GROWING_SETTINGS

from monai_wsss.data import PreparedDataset, input_error
from monai_wsss.errors import InputError
from monai_wsss.workflow.export import export_bundle

WRITES = {
    "classify": "classifier/model.pt",
    "seed": "seeds/{}.npy",
    "refine": "pseudo_masks/refined/{}.npy",
    "dsrg": "dsrg/model.pt",
    "relabel": "relabelled",
    "train": "segmenter/model.pt",
    "inference": "predictions/{}.nii.gz",
    "evaluate": "evaluation/scores.json",
}
LEARNED = ("classifier", "seeds", "pseudo_masks", "dsrg", "relabelled", "segmenter", "predictions")


def bundle_run(config, **override):
    """What `python -m monai.bundle run --config_file ...` calls, in this process; logging stays pytest's."""
    monai_bundle_run(config_file=str(config), logging_file=False, tracking_uri="none", **override)


@pytest.fixture(scope="module")
def test_case(whole_dsrg):
    return PreparedDataset.read(whole_dsrg.data).test[0].case


def test_every_stage_is_done_and_has_finite_numbers(whole_dsrg):
    assert list(whole_dsrg.records) == [*list(WRITES)[:6], "infer", "evaluate"]
    for name, record in whole_dsrg.records.items():
        assert record["status"] == "done", name
        assert record["summary"] and all(np.isfinite(v) for v in record["summary"].values()), name


def test_every_stage_runs_alone_from_a_copy_and_another_folder(whole_dsrg, test_case, tmp_path, monkeypatch, files_of):
    copy = shutil.copytree(whole_dsrg.run / "bundle", tmp_path / "renamed")
    monkeypatch.chdir(tmp_path)
    for stage, written in WRITES.items():
        path = tmp_path / "run" / written.format(test_case)
        assert not path.exists()
        bundle_run(copy / "configs" / f"{stage}.yaml", dataset_dir=str(whole_dsrg.data), output_dir="run")
        assert path.exists(), stage
    for folder in ("pseudo_masks", "dsrg", "relabelled"):  # the same configs, seed and device as the pipeline's
        assert files_of(tmp_path / "run" / folder) == files_of(whole_dsrg.run / folder)


def test_masks_that_vanish_later_change_no_weight_and_no_mask(whole_dsrg, run_bundle, tmp_path, files_of):
    """dataset.json still names them: the stages that learn never open them."""
    study = shutil.copytree(whole_dsrg.study, tmp_path / "study")
    data = shutil.copytree(whole_dsrg.data, tmp_path / "data")
    path = data / "dataset.json"
    path.write_text(path.read_text().replace(str(whole_dsrg.study), str(study)))
    shutil.rmtree(study / "masks")
    run_bundle(DSRG_BUNDLE, data, tmp_path / "run", GROWING_SETTINGS, until_stage="infer")
    for folder in LEARNED:
        found = files_of(tmp_path / "run" / folder)
        assert found and found == files_of(whole_dsrg.run / folder), folder


def test_seeds_and_masks_follow_the_labels(whole_dsrg):
    data, run = PreparedDataset.read(whole_dsrg.data), whole_dsrg.run
    seen = set()
    for case in data.training + data.validation:
        rows = np.array(case.slice_classes)[:, 0]
        seeds = np.load(run / "dsrg" / "seeds" / f"{case.case}.npy")
        masks = np.load(run / "relabelled" / f"{case.case}.npy")
        assert seeds.dtype == masks.dtype == np.uint8 and seeds.shape == masks.shape == (4, 32, 32)
        assert not seeds[rows == 0].any() and not masks[rows == 0].any()  # background throughout
        assert set(np.unique(masks)) <= {0, 1}
        seen |= set(np.unique(seeds[rows == 1]).tolist())
    assert seen == {0, 1, 255}


def test_the_supervision_grew_in_training_cases_alone(whole_dsrg):
    data, folder = PreparedDataset.read(whole_dsrg.data), whole_dsrg.run / "dsrg" / "supervision"
    assert sorted(path.name for path in folder.iterdir()) == ["0000", "0001", "0002", "0003"]
    positive = {case.case for case in data.training if any(case.classes)}
    for epoch in folder.iterdir():
        assert {path.stem for path in epoch.glob("*.npy")} == positive
        for path in epoch.glob("*.npy"):
            labels = np.load(path)
            assert labels.shape == (4, 16, 16) and labels.dtype == np.uint8 and set(np.unique(labels)) <= {0, 1, 255}


@pytest.mark.parametrize(("stage", "lacks"), [("dsrg", "pseudo_masks"), ("relabel", "dsrg"), ("train", "relabelled")])
def test_a_stage_without_its_input_says_which_stage_is_missing(stage, lacks, whole_dsrg, tmp_path):
    config = whole_dsrg.run / "bundle" / "configs" / f"{stage}.yaml"
    with pytest.raises(RuntimeError) as raised:
        bundle_run(config, dataset_dir=str(whole_dsrg.data), output_dir=str(tmp_path / "run"))
    reason = str(input_error(raised.value))
    assert lacks in reason and "first" in reason and "\n" not in reason


def test_exported_bundle_infers_what_the_run_did(whole_dsrg, test_case, tmp_path):
    bundle = export_bundle(whole_dsrg.run, tmp_path / "bundle")
    assert sorted(path.name for path in (bundle / "models").iterdir()) == ["classifier.pt", "model.pt"]
    card = (bundle / "docs" / "README.md").read_text().split("## These weights")[1]
    assert all(f"| {stage} | cpu |" in card for stage in whole_dsrg.records)
    assert "Trained on masks made from image-level labels." in card
    image = whole_dsrg.study / "images" / f"{test_case}.nii.gz"
    config = bundle / "configs" / "inference.yaml"
    bundle_run(config, dataset_dir=str(image), output_dir=str(tmp_path / "out"), keep_names=True)
    found, expected = (nib.load(folder / "predictions" / image.name) for folder in (tmp_path / "out", whole_dsrg.run))
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))


@pytest.mark.parametrize("overlay", ["reference_code", "small"])
def test_an_overlay_runs(overlay, whole_dsrg, run_bundle, tmp_path):
    """`small` takes the trunk of the classifier for DeepLab-v2's, whose seeds grow on the grid of stride 8."""
    tiny = dict(GROWING_SETTINGS)
    if overlay == "small":
        kept = ("pixel_spacing", "size", "classify_epochs", "scales", "relabel_scales", "infer_scales", "train_epochs")
        tiny = {name: tiny[name] for name in kept} | {"dsrg_epochs": 1}
    options = {"overlays": [overlay], "until_stage": "dsrg" if overlay == "small" else None}
    records = run_bundle(DSRG_BUNDLE, whole_dsrg.data, tmp_path / "run", tiny, **options)
    assert {record["status"] for record in records.values()} == {"done"}
    config = (tmp_path / "run" / "bundle" / "configs" / "dsrg.yaml").read_text()
    assert ("\ndsrg_rule: reference_code " in config) == (overlay == "reference_code")
    assert ("backbone" in records["dsrg"]["inputs"]) == (overlay == "small")
    names = torch.load(tmp_path / "run" / "dsrg" / "model.pt", weights_only=True)
    assert any(name.startswith("last.") for name in names) == (overlay == "small")


@pytest.mark.parametrize(
    ("settings", "says", "kept"),
    [
        ({"background_seed": 1.5}, "background_seed must be above 0 and at most 1", "dsrg"),
        ({"seed_normalise": "mean"}, "seed_normalise must be min_max or max, got mean", "seeds"),
        ({"dsrg_rule": "code"}, "rule", "dsrg"),
        ({"dsrg_foreground": 1.5}, "foreground", "dsrg"),
        ({"dsrg_optimizer": "lion"}, "optimizer must be one of adam, radam, sgd, got lion", "dsrg"),
        ({"out_channels": 1}, "the dsrg stage needs a softmax head of 2 channels", "dsrg"),
        ({"relabel_scales": [0.0]}, "scales must be one or more factors > 0", "relabelled"),
        ({"segmenter": "deeplab_v2_vgg19"}, "segmenter must be one of", "segmenter"),
        ({"infer_scales": []}, "give a list", "predictions"),
    ],
)
def test_a_bad_value_is_one_line_and_loses_no_finished_result(
    settings, says, kept, whole_dsrg, run_bundle, tmp_path, files_of
):
    run = shutil.copytree(whole_dsrg.run, tmp_path / "run")
    before = files_of(run / kept)
    with pytest.raises(InputError) as raised:
        run_bundle(DSRG_BUNDLE, whole_dsrg.data, run, GROWING_SETTINGS | settings)
    assert says in str(raised.value) and "\n" not in str(raised.value)
    assert files_of(run / kept) == before and before


def test_without_a_true_mask_nothing_is_scored(whole_dsrg, run_bundle, tmp_path):
    data, run = shutil.copytree(whole_dsrg.data, tmp_path / "data"), shutil.copytree(whole_dsrg.run, tmp_path / "run")
    content = json.loads((data / "dataset.json").read_text())
    for split in ("training", "validation", "test"):
        for item in content[split]:
            item["truth"] = None
    (data / "dataset.json").write_text(json.dumps(content))
    bundle_run(run / "bundle" / "configs" / "evaluate.yaml", dataset_dir=str(data), output_dir=str(run))
    record = json.loads((run / "run.json").read_text())["stages"]["evaluate"]
    assert record["status"] == "skipped" and "no test case has a true mask" in record["reason"]
