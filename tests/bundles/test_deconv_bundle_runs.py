"""The bundle of tied deconvolution: stage by stage from a copy, resumed, exported, ablated, and misused."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run as monai_bundle_run
from tiny_bundles import DECONV_BUNDLE

from monai_wsss.data import input_error
from monai_wsss.errors import InputError
from monai_wsss.workflow.export import export_bundle

ORDER = ["classify", "baseline", "deconv1", "deconv2", "train", "infer", "evaluate"]
STAGES = {
    "classify": (["classify.yaml"], "classifier/model.pt"),
    "baseline": (["train.yaml", "baseline.yaml"], "baseline/model.pt"),
    "deconv1": (["train.yaml", "deconv1.yaml"], "deconv1/model.pt"),
    "deconv2": (["train.yaml", "deconv2.yaml"], "deconv2/model.pt"),
    "train": (["train.yaml"], "segmenter/model.pt"),
    "inference": (["inference.yaml"], "predictions/{}.nii.gz"),
    "evaluate": (["evaluate.yaml"], "evaluation/scores.json"),
}


def bundle_run(configs, files, **override):
    """What `python -m monai.bundle run --config_file ...` calls, in this process; logging stays pytest's."""
    config_file = [str(configs / file) for file in files]
    monai_bundle_run(config_file=config_file, logging_file=False, tracking_uri="none", **override)


def weights(run, folder):
    return torch.load(run / folder / "model.pt", weights_only=True)


@pytest.fixture(scope="module")
def test_case(whole_deconv):
    return sorted(path.name.removesuffix(".nii.gz") for path in (whole_deconv.run / "predictions").glob("*.nii.gz"))[0]


def test_the_papers_order_ran(whole_deconv):
    assert list(whole_deconv.records) == ORDER
    assert {record["status"] for record in whole_deconv.records.values()} == {"done"}
    inputs = {name: set(record["inputs"]) - {"dataset", "truth"} for name, record in whole_deconv.records.items()}
    assert inputs["baseline"] == {"classifier"} and inputs["deconv1"] == {"baseline"}
    assert inputs["deconv2"] == {"deconv1"} and inputs["train"] == {"deconv2"} and inputs["infer"] == {"segmenter"}
    for name in ORDER[1:5]:
        assert 0 <= whole_deconv.records[name]["summary"]["threshold"] < 100


def test_a_stage_has_the_layers_of_its_number_and_the_weights_of_the_one_before(whole_deconv):
    channels = [weights(whole_deconv.run, f)["map_conv.weight"].shape[1] for f in ("baseline", "deconv1", "deconv2")]
    assert channels == [32, 32 + 48, 32 + 48 + 48]  # an eighth of Table 1
    assert weights(whole_deconv.run, "segmenter")["map_conv.weight"].shape[1] == 32 + 48 + 48 + 32


def test_every_stage_runs_alone_from_a_copy_and_another_folder(
    whole_deconv, test_case, tmp_path, monkeypatch, files_of
):
    copy = shutil.copytree(whole_deconv.run / "bundle", tmp_path / "renamed")
    monkeypatch.chdir(tmp_path)
    for stage, (files, written) in STAGES.items():
        path = tmp_path / "run" / written.format(test_case)
        assert not path.exists()
        bundle_run(copy / "configs", files, dataset_dir=str(whole_deconv.data), output_dir="run")
        assert path.exists(), stage
    for folder in ("baseline", "deconv2", "segmenter"):  # the same configs, seed and device as the pipeline's
        ours, theirs = weights(tmp_path / "run", folder), weights(whole_deconv.run, folder)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize(("stage", "lacks"), [("baseline", "classifier"), ("deconv2", "deconv1"), ("train", "deconv2")])
def test_a_stage_without_its_input_says_which_stage_is_missing(stage, lacks, whole_deconv, tmp_path):
    configs = whole_deconv.run / "bundle" / "configs"
    with pytest.raises(RuntimeError) as raised:
        bundle_run(configs, STAGES[stage][0], dataset_dir=str(whole_deconv.data), output_dir=str(tmp_path / "run"))
    reason = str(input_error(raised.value))
    assert lacks in reason and "first" in reason and "\n" not in reason


def test_finished_stages_are_not_run_again(whole_deconv, run_bundle, tmp_path, files_of):
    run = shutil.copytree(whole_deconv.run, tmp_path / "run")
    before = files_of(run)
    records = run_bundle(DECONV_BUNDLE, whole_deconv.data, run, whole_deconv.settings)
    assert records.keys() == whole_deconv.records.keys()
    assert files_of(run / "segmenter") == {k[10:]: v for k, v in before.items() if k.startswith("segmenter/")}


def test_other_epochs_of_the_deconvolutions_keep_the_classifier(whole_deconv, run_bundle, tmp_path, files_of):
    """The classifier's config does not know the id, so it stays."""
    run = shutil.copytree(whole_deconv.run, tmp_path / "run")
    before = files_of(run / "classifier")
    run_bundle(
        DECONV_BUNDLE, whole_deconv.data, run, whole_deconv.settings | {"deconv_epochs": 1}, until_stage="deconv1"
    )
    assert files_of(run / "classifier") == before


@pytest.mark.parametrize(
    ("settings", "stages", "names"),
    [
        ({"deconv_stages": 0}, ["classify", "train"], 32),
        ({"deconv_stages": 1, "tied": False}, ["classify", "baseline", "train"], 80),
        (
            {
                "deconv_training": "end_to_end",
                "encoder_name": "vgg16",
                "activation": "softmax",
                "deconv_trains": "tied",
            },
            ["train"],
            176,
        ),
    ],
)
def test_ablations_run(settings, stages, names, whole_deconv, run_bundle, tmp_path):
    tiny = whole_deconv.settings | {"classify_epochs": 1, "baseline_epochs": 1, "deconv_epochs": 1} | settings
    records = run_bundle(DECONV_BUNDLE, whole_deconv.data, tmp_path / "run", tiny)
    assert list(records) == [*stages, "infer", "evaluate"]
    assert {record["status"] for record in records.values()} == {"done"}
    assert weights(tmp_path / "run", "segmenter")["map_conv.weight"].shape[1] == names


@pytest.mark.parametrize("overlay", ["small", "mri", "voc"])
def test_an_overlay_runs(overlay, whole_deconv, run_bundle, tmp_path):
    """A map of 1 x 1 dies at its ReLU under Adam's first steps, so `small` ends with its classifier here."""
    kept = ("seed", "size", "network_width", "hidden_units", "classify_epochs", "baseline_epochs", "deconv_epochs")
    tiny = {name: whole_deconv.settings[name] for name in (*kept, "crop_shift")}
    options = {"overlays": [overlay], "until_stage": "classify" if overlay == "small" else None}
    if overlay == "mri":
        options["until_stage"] = "baseline"
    records = run_bundle(DECONV_BUNDLE, whole_deconv.data, tmp_path / "run", tiny, **options)
    assert {record["status"] for record in records.values()} == {"done"}


def test_exported_bundle_holds_one_model_and_infers_new_films(whole_deconv, test_case, tmp_path):
    bundle = export_bundle(whole_deconv.run, tmp_path / "bundle")
    assert [path.name for path in (bundle / "models").iterdir()] == ["model.pt"]
    card = (bundle / "docs" / "README.md").read_text()
    assert all(f"| {stage} | cpu |" in card for stage in whole_deconv.records)
    assert "Trained on image-level labels" in card
    image = whole_deconv.study / "images" / f"{test_case}.nii.gz"
    places = {"dataset_dir": str(image), "output_dir": str(tmp_path / "out"), "keep_names": True}
    bundle_run(bundle / "configs", ["inference.yaml"], **places)
    found, expected = (nib.load(folder / "predictions" / image.name) for folder in (tmp_path / "out", whole_deconv.run))
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))


def test_true_masks_change_no_weight(whole_deconv, whole_films, run_bundle, tmp_path):
    data = shutil.copytree(whole_films.data, tmp_path / "data")
    content = json.loads((data / "dataset.json").read_text())
    for split in ("training", "validation", "test"):
        for item in content[split]:
            item.pop("truth", None)
    (data / "dataset.json").write_text(json.dumps(content))
    shutil.rmtree(data / "truth", ignore_errors=True)
    run_bundle(DECONV_BUNDLE, data, tmp_path / "run", whole_deconv.settings, until_stage="train")
    ours, theirs = weights(tmp_path / "run", "segmenter"), weights(whole_deconv.run, "segmenter")
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"deconv_stages": 4}, "deconv_stages"),
        ({"deconv_training": "both"}, "deconv_training must be one of layer_by_layer, end_to_end, got both"),
        ({"deconv_trains": "none"}, "must be all or tied|must be one of all, tied"),
        ({"activation": "sigmoid"}, "activation must be"),
        ({"encoder_name": "vgg19"}, "tuberculosis"),
        ({"stack_normalise": "batch"}, "normalise must be"),
        ({"threshold_quantile": 2.0}, "threshold_quantile must lie in"),
        ({"sharpness": 0.0}, "sharpness must be"),
    ],
)
def test_a_bad_value_is_one_line_and_loses_no_finished_result(
    settings, says, whole_deconv, run_bundle, tmp_path, files_of
):
    run = shutil.copytree(whole_deconv.run, tmp_path / "run")
    before = files_of(run / "segmenter")
    with pytest.raises(InputError, match=says) as raised:
        run_bundle(DECONV_BUNDLE, whole_deconv.data, run, whole_deconv.settings | settings)
    assert "\n" not in str(raised.value)
    assert files_of(run / "segmenter") == before and before
