"""The bundle under `python -m monai.bundle run`: stage by stage, as a whole, exported, and misused."""

import csv
import os
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run as monai_bundle_run
from monai.bundle import verify_net_in_out

from monai_wsss.data import Pseudonyms

STAGES = ["classify", "seed", "refine", "train", "inference", "evaluate"]
WRITES = {
    "classify": "classifier/model.pt",
    "seed": "seeds/{}.npy",
    "refine": "pseudo_masks/crf/{}.npy",
    "train": "segmenter/model.pt",
    "inference": "predictions/{}.nii.gz",
    "evaluate": "evaluation/scores.json",
}


def bundle_run(config, **override):
    """What `python -m monai.bundle run --config_file ...` calls, in this process; logging stays pytest's."""
    monai_bundle_run(config_file=str(config), logging_file=False, tracking_uri="none", **override)


def shell(*arguments, cwd, launcher=("-m", "monai.bundle", "run")):
    command = [sys.executable, *launcher, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment, check=False)


@pytest.fixture(scope="module")
def elsewhere(whole, tmp_path_factory):
    """A copy of the bundle with tiny values, far from the repository."""
    return shutil.copytree(whole.run / "bundle", tmp_path_factory.mktemp("elsewhere") / "renamed")


@pytest.fixture(scope="module")
def test_case(whole):
    return sorted(path.name.removesuffix(".nii.gz") for path in (whole.run / "predictions").glob("*.nii.gz"))[0]


def test_every_stage_runs_alone_from_a_copy_and_another_folder(
    whole, elsewhere, test_case, tmp_path, monkeypatch, files_of
):
    monkeypatch.chdir(tmp_path)
    for stage in STAGES:
        written = tmp_path / "run" / WRITES[stage].format(test_case)
        assert not written.exists()
        bundle_run(elsewhere / "configs" / f"{stage}.yaml", dataset_dir=str(whole.data), output_dir="run")
        assert written.exists()
    # The same configs, seed and device as the pipeline's: the same masks.
    found, expected = files_of(tmp_path / "run" / "predictions"), files_of(whole.run / "predictions")
    assert found.keys() == expected.keys()
    for name in found:
        if name.endswith(".csv"):
            assert found[name] == expected[name]


def test_whole_pipeline_from_a_copy_in_a_process_of_its_own(whole, tmp_path):
    bundle = shutil.copytree(whole.bundle, tmp_path / "copy")
    (tmp_path / "cwd").mkdir()
    done = shell(
        *("--config_file", bundle / "configs" / "pipeline.yaml"),
        *("--dataset_dir", whole.data, "--output_dir", "../run", "--overlays", "['small']", "--tracking_uri", "none"),
        *("--classify_epochs", 1, "--train_epochs", 1, "--size", "[64, 64]", "--pixel_spacing", 4.0),
        *("--cam_method", "cam", "--cam_target", "last", "--threshold", 0.3),  # one epoch makes no fine maps
        cwd=tmp_path / "cwd",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for stage in STAGES[:4] + STAGES[5:]:
        assert list((tmp_path / "run").glob(WRITES[stage].format("*"))), stage
    frozen = (tmp_path / "run" / "bundle" / "configs" / "train.yaml").read_text()
    assert "\ntrain_epochs: 1 " in frozen  # given on the command line
    assert "\nchannels: [16, 32, 64, 128] " in frozen  # from the overlay


def test_a_misspelt_id_fails_in_a_process_of_its_own(whole, tmp_path):
    config = whole.bundle / "configs" / "classify.yaml"
    arguments = ("--config_file", config, "--dataset_dir", whole.data, "--output_dir", "run", "--clasify_epochs", 1)
    done = shell(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert "unknown id 'clasify_epochs' (did you mean 'classify_epochs'?)" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", [*STAGES, "pipeline"])
def test_misspelt_ids_and_missing_folders_fail_in_every_config(stage, whole, tmp_path):
    config, out = whole.bundle / "configs" / f"{stage}.yaml", str(tmp_path / "run")
    with pytest.raises((RuntimeError, ValueError)) as misspelt:
        bundle_run(config, dataset_dir=str(whole.data), output_dir=out, treshold=0.3)
    assert "did you mean 'threshold'?" in str(misspelt.getrepr(chain=True))
    with pytest.raises((RuntimeError, ValueError)) as missing:
        bundle_run(config, dataset_dir=str(tmp_path / "nowhere"), output_dir=out)
    assert "nowhere: no such data folder; make one with" in str(missing.getrepr(chain=True))
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def exported(whole, tmp_path_factory):
    from monai_wsss.workflow.export import export_bundle

    return export_bundle(whole.run, tmp_path_factory.mktemp("exported") / "bundle")


def test_exported_bundle_infers_a_plain_folder_as_the_run_did(exported, whole, test_case, tmp_path, write_volume):
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(whole.study / "images" / f"{test_case}.nii.gz", images)
    (images / "broken.nii.gz").write_bytes(b"no gzip")
    config = exported / "configs" / "inference.yaml"
    bundle_run(config, dataset_dir=str(images), output_dir=str(tmp_path / "out"), keep_names=True)
    mask, source = nib.load(tmp_path / f"out/predictions/{test_case}.nii.gz"), nib.load(images / f"{test_case}.nii.gz")
    expected = nib.load(whole.run / "predictions" / f"{test_case}.nii.gz")
    assert mask.shape == source.shape
    np.testing.assert_array_equal(mask.affine, source.affine)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(expected.dataobj))
    with (tmp_path / "out/predictions/skipped.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["file"] == "broken.nii.gz"


def test_exported_bundle_hashes_names_unless_told_otherwise(exported, whole, test_case, tmp_path):
    config, source = exported / "configs" / "inference.yaml", whole.study / "images" / f"{test_case}.nii.gz"
    bundle_run(config, dataset_dir=str(source), output_dir=str(tmp_path / "out"))
    case = Pseudonyms.open(tmp_path / "out.key").case(test_case)
    assert [mask.name for mask in (tmp_path / "out" / "predictions").glob("*.nii.gz")] == [f"{case}.nii.gz"]


def test_exported_bundle_infers_the_test_split_of_a_prepared_folder(exported, whole, tmp_path, files_of):
    config = exported / "configs" / "inference.yaml"
    bundle_run(config, dataset_dir=str(whole.data), output_dir=str(tmp_path))
    statistics = (tmp_path / "predictions" / "statistics.csv").read_bytes()
    assert statistics == (whole.run / "predictions" / "statistics.csv").read_bytes()
    assert (tmp_path / "run.json").exists()


def test_masks_may_go_to_a_folder_with_other_things(exported, whole, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for threshold in (0.0, 1.0):  # the second run replaces the first one's record
        bundle_run(
            exported / "configs" / "inference.yaml",
            dataset_dir=str(whole.data),
            output_dir=str(tmp_path / "run"),
            predictions_dir=str(tmp_path / "mine"),
            infer_gate_probability=threshold,
        )
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "mine" / "statistics.csv").exists()


def test_exported_bundle_passes_the_checks_of_its_network(exported):
    for config in ("train.yaml", "inference.yaml"):
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(exported / "configs" / "metadata.json"),
            config_file=str(exported / "configs" / config),
            device="cpu",
            n=4,
        )


def test_exported_bundle_trains_anew_with_its_own_weights_out_of_the_way(exported, whole, run_pipeline, tmp_path):
    run_pipeline(whole.data, tmp_path / "run", bundle=exported, until_stage="infer")
    assert (tmp_path / "run" / "predictions" / "statistics.csv").exists()
    text = (tmp_path / "run" / "bundle" / "configs" / "inference.yaml").read_text()
    assert "segmenter_weights: $@output_dir + '/segmenter/model.pt'" in text


def test_sigmoid_head_runs_end_to_end_and_exports_what_it_is(whole, run_pipeline, tmp_path):
    from monai_wsss.workflow.export import export_bundle

    records = run_pipeline(whole.data, tmp_path / "run", {"out_channels": 1, "distributed": False})
    assert [record["status"] for record in records.values()] == ["done"] * 6
    values = {int(v) for p in (tmp_path / "run/predictions").glob("*.nii.gz") for v in np.unique(nib.load(p).dataobj)}
    assert values <= {0, 1}
    bundle = export_bundle(tmp_path / "run", tmp_path / "bundle")
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.yaml"),
        device="cpu",
        n=4,
    )


def test_unet_is_one_id_away(whole, run_pipeline, tmp_path):
    records = run_pipeline(whole.data, tmp_path / "run", {"segmenter": "unet"})
    assert [record["status"] for record in records.values()] == ["done"] * 6
    weights = torch.load(tmp_path / "run" / "segmenter" / "model.pt", weights_only=True)
    assert any(name.startswith("decoder.ups.") for name in weights)  # UNet, not Mixed-UNet


def test_two_processes_train_one_model(whole, tmp_path):
    bundle = shutil.copytree(whole.run / "bundle", tmp_path / "bundle")  # tiny values; overlays were dropped
    shutil.copy(whole.bundle / "configs" / "multi_gpu.yaml", bundle / "configs")
    arguments = (
        *("-m", "monai_wsss", "run", bundle, "--data", whole.data, "--out", tmp_path / "run"),
        *("--overlay", "multi_gpu", "--device", "cpu", "--tracking", "none", "--until", "infer"),
        *("--set", "classify_epochs=1", "--set", "train_epochs=1", "--set", "num_workers=0"),
    )
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    done = shell(*arguments, launcher=torchrun, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("train: done in") == 1  # one process speaks
    assert done.stderr.count("train: epoch 1/1") == 1
    weights = torch.load(tmp_path / "run" / "segmenter" / "model.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in weights)
    # What two processes trained, one uses; and a second call finds everything done, in both processes.
    from monai_wsss.workflow.infer_command import infer

    counts = infer(tmp_path / "run", whole.study / "images", tmp_path / "masks", "cpu")
    assert counts == {"cases": 9, "skipped": 0}
    again = shell(*arguments, launcher=torchrun, cwd=tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stderr.count("train: already done") == 1
