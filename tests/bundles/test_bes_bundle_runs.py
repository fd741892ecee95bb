"""The BES bundle under `python -m monai.bundle run`: stage by stage from a copy, exported, and misused."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run as monai_bundle_run
from tiny_bundles import BES_BUNDLE, GROWING_SETTINGS

from monai_wsss.data import PreparedDataset, input_error
from monai_wsss.errors import InputError
from monai_wsss.workflow.export import export_bundle

WRITES = {
    "classify": "classifier/model.pt",
    "seed": "seeds/{}.npy",
    "confident": "confident_masks",
    "bes": "bes/model.pt",
    "walk": "pseudo_masks/walk/{}.npy",
    "train": "segmenter/model.pt",
    "inference": "predictions/{}.nii.gz",
    "evaluate": "evaluation/scores.json",
}
LEARNED = ("classifier", "seeds", "confident_masks", "bes", "pseudo_masks", "segmenter", "predictions")


def bundle_run(config, **override):
    """What `python -m monai.bundle run --config_file ...` calls, in this process; logging stays pytest's."""
    monai_bundle_run(config_file=str(config), logging_file=False, tracking_uri="none", **override)


@pytest.fixture(scope="module")
def test_case(whole_bes):
    return PreparedDataset.read(whole_bes.data).test[0].case


def test_every_stage_is_done_and_has_finite_numbers(whole_bes):
    assert list(whole_bes.records) == [*list(WRITES)[:6], "infer", "evaluate"]
    for name, record in whole_bes.records.items():
        assert record["status"] == "done", name
        assert record["summary"] and all(np.isfinite(v) for v in record["summary"].values()), name


def test_every_stage_runs_alone_from_a_copy_and_another_folder(whole_bes, test_case, tmp_path, monkeypatch, files_of):
    copy = shutil.copytree(whole_bes.run / "bundle", tmp_path / "renamed")
    monkeypatch.chdir(tmp_path)
    for stage, written in WRITES.items():
        path = tmp_path / "run" / written.format(test_case)
        assert not path.exists()
        bundle_run(copy / "configs" / f"{stage}.yaml", dataset_dir=str(whole_bes.data), output_dir="run")
        assert path.exists(), stage
    for folder in ("confident_masks", "bes", "pseudo_masks"):  # the same configs, seed and device as the pipeline's
        assert files_of(tmp_path / "run" / folder) == files_of(whole_bes.run / folder)


def test_masks_that_vanish_later_change_no_weight_and_no_mask(whole_bes, run_bundle, tmp_path, files_of):
    """dataset.json still names them: the stages that learn never open them."""
    study = shutil.copytree(whole_bes.study, tmp_path / "study")
    data = shutil.copytree(whole_bes.data, tmp_path / "data")
    path = data / "dataset.json"
    path.write_text(path.read_text().replace(str(whole_bes.study), str(study)))
    shutil.rmtree(study / "masks")
    run_bundle(BES_BUNDLE, data, tmp_path / "run", GROWING_SETTINGS, until_stage="infer")
    for folder in LEARNED:
        found = files_of(tmp_path / "run" / folder)
        assert found and found == files_of(whole_bes.run / folder), folder


def test_masks_and_boundaries_follow_the_labels(whole_bes):
    data, run = PreparedDataset.read(whole_bes.data), whole_bes.run
    walked = 0
    for case in data.training + data.validation:
        rows = np.array(case.slice_classes)[:, 0]
        confident = np.load(run / "confident_masks" / f"{case.case}.npy")
        walk = np.load(run / "pseudo_masks" / "walk" / f"{case.case}.npy")
        boundary = np.load(run / "pseudo_masks" / "boundary" / f"{case.case}.npy")
        assert set(np.unique(confident)) <= {0, 1, 255} and set(np.unique(walk)) <= {0, 1}
        assert boundary.shape == (4, 8, 8) and boundary.dtype == np.float16
        assert 0 <= boundary.min() <= boundary.max() <= 1
        for values in (confident, walk, boundary):
            assert not values[rows == 0].any()
        assert boundary[rows == 1].any(axis=(1, 2)).all()
        walked += int(walk.any(axis=(1, 2)).sum())
    assert walked == 12  # 2 slices of 4 patients in training and of 2 in validation


@pytest.mark.parametrize(("stage", "lacks"), [("bes", "classifier"), ("walk", "seeds"), ("train", "pseudo_masks")])
def test_a_stage_without_its_input_says_which_stage_is_missing(stage, lacks, whole_bes, tmp_path):
    config = whole_bes.run / "bundle" / "configs" / f"{stage}.yaml"
    with pytest.raises(RuntimeError) as raised:
        bundle_run(config, dataset_dir=str(whole_bes.data), output_dir=str(tmp_path / "run"))
    reason = str(input_error(raised.value))
    assert lacks in reason and "first" in reason and "\n" not in reason


def test_exported_bundle_infers_what_the_run_did(whole_bes, test_case, tmp_path):
    bundle = export_bundle(whole_bes.run, tmp_path / "bundle")
    assert sorted(path.name for path in (bundle / "models").iterdir()) == ["classifier.pt", "model.pt"]
    card = (bundle / "docs" / "README.md").read_text().split("## These weights")[1]
    assert all(f"| {stage} | cpu |" in card for stage in whole_bes.records)
    assert "Trained on masks made from image-level labels." in card
    image = whole_bes.study / "images" / f"{test_case}.nii.gz"
    config = bundle / "configs" / "inference.yaml"
    bundle_run(config, dataset_dir=str(image), output_dir=str(tmp_path / "out"), keep_names=True)
    found, expected = (nib.load(folder / "predictions" / image.name) for folder in (tmp_path / "out", whole_bes.run))
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))


@pytest.mark.parametrize("overlay", ["reference_code", "small"])
def test_an_overlay_runs(overlay, whole_bes, run_bundle, tmp_path):
    """`small` takes the trunk of the classifier for DeepLab-v2's."""
    tiny = {name: value for name, value in GROWING_SETTINGS.items() if name not in ("theta_scale", "bes_epochs")}
    if overlay == "small":
        kept = ("pixel_spacing", "size", "classify_epochs", "scales", "train_epochs", "bes_window", "theta_diff")
        tiny = {name: tiny[name] for name in kept} | {"bes_epochs": 1, "theta_scale": 0.3}
    records = run_bundle(BES_BUNDLE, whole_bes.data, tmp_path / "run", tiny, overlays=[overlay])
    assert {record["status"] for record in records.values()} == {"done"}
    config = (tmp_path / "run" / "bundle" / "configs" / "bes.yaml").read_text()
    assert ("\nbes_reference_code: true " in config) == (overlay == "reference_code")
    if overlay == "small":
        assert records["train"]["inputs"]["backbone"]
        names = torch.load(tmp_path / "run" / "segmenter" / "model.pt", weights_only=True)
        assert any(name.startswith("last.") for name in names)


@pytest.mark.parametrize(
    ("settings", "says", "kept"),
    [
        ({"classifier_pooling": "maximum"}, "pooling", "classifier"),
        ({"background_threshold": 0.5}, "background_threshold must be above 0 and not above", "confident_masks"),
        ({"bes_window": 4}, "window must be odd and >= 3, got 4", "bes"),
        ({"theta_scale": 0.6}, "theta_scale must be in [0, 0.5)", "bes"),
        ({"boundary_backbone_weights": "nowhere.pt"}, "nowhere.pt: no such file", "bes"),
        ({"walk_threshold": 2.0}, "at most 1, got 2.0", "pseudo_masks"),
        ({"segmenter_backbone_weights": "nowhere.pt"}, "UNet has no ResNet", "segmenter"),
    ],
)
def test_a_bad_value_is_one_line_and_loses_no_finished_result(
    settings, says, kept, whole_bes, run_bundle, tmp_path, files_of
):
    run = shutil.copytree(whole_bes.run, tmp_path / "run")
    before = files_of(run / kept)
    with pytest.raises(InputError) as raised:
        run_bundle(BES_BUNDLE, whole_bes.data, run, GROWING_SETTINGS | settings)
    assert says in str(raised.value) and "\n" not in str(raised.value)
    assert files_of(run / kept) == before and before
