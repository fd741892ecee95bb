"""The chest X-ray bundle under `python -m monai.bundle run`: stage by stage from a copy, exported, and misused."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run as monai_bundle_run
from monai.bundle import verify_net_in_out
from PIL import Image

from monai_wsss.data import input_error
from monai_wsss.errors import InputError
from monai_wsss.workflow.export import export_bundle

WRITES = {
    "classify": "classifier/model.pt",
    "seed": "seeds/{}.npy",
    "confident": "confident_masks",
    "irnet": "irnet/model.pt",
    "walk": "pseudo_masks/walk/{}.npy",
    "train": "segmenter/model.pt",
    "inference": "predictions/{}.nii.gz",
    "evaluate": "evaluation/scores.json",
}


def bundle_run(config, **override):
    """What `python -m monai.bundle run --config_file ...` calls, in this process; logging stays pytest's."""
    monai_bundle_run(config_file=str(config), logging_file=False, tracking_uri="none", **override)


@pytest.fixture(scope="module")
def test_case(whole_films):
    return sorted(path.name.removesuffix(".nii.gz") for path in (whole_films.run / "predictions").glob("*.nii.gz"))[0]


def test_every_stage_runs_alone_from_a_copy_and_another_folder(whole_films, test_case, tmp_path, monkeypatch, files_of):
    copy = shutil.copytree(whole_films.run / "bundle", tmp_path / "renamed")
    monkeypatch.chdir(tmp_path)
    for stage, written in WRITES.items():
        path = tmp_path / "run" / written.format(test_case)
        assert not path.exists()
        bundle_run(copy / "configs" / f"{stage}.yaml", dataset_dir=str(whole_films.data), output_dir="run")
        assert path.exists(), stage
    for folder in ("confident_masks", "pseudo_masks"):  # the same configs, seed and device as the pipeline's
        assert files_of(tmp_path / "run" / folder) == files_of(whole_films.run / folder)


@pytest.mark.parametrize(("stage", "lacks"), [("irnet", "classifier"), ("walk", "seeds"), ("train", "pseudo_masks")])
def test_a_stage_without_its_input_says_which_stage_is_missing(stage, lacks, whole_films, tmp_path):
    config = whole_films.run / "bundle" / "configs" / f"{stage}.yaml"
    with pytest.raises(RuntimeError) as raised:
        bundle_run(config, dataset_dir=str(whole_films.data), output_dir=str(tmp_path / "run"))
    reason = str(input_error(raised.value))
    assert lacks in reason and "first" in reason and "\n" not in reason


def test_exported_bundle_infers_new_films_and_pictures(whole_films, test_case, tmp_path):
    bundle = export_bundle(whole_films.run, tmp_path / "bundle")
    assert not (bundle / "models" / "irnet.pt").exists()  # inference needs the classifier and the segmenter
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(whole_films.study / "images" / f"{test_case}.nii.gz", images)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (50, 40, 3), dtype=np.uint8)).save(images / "photo.png")  # colour: luminance
    config = bundle / "configs" / "inference.yaml"
    bundle_run(config, dataset_dir=str(images), output_dir=str(tmp_path / "out"), keep_names=True)
    expected = nib.load(whole_films.run / "predictions" / f"{test_case}.nii.gz")
    found = nib.load(tmp_path / "out" / "predictions" / f"{test_case}.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    assert nib.load(tmp_path / "out" / "predictions" / "photo.nii.gz").shape == (40, 50, 1)
    for name in ("train.yaml", "inference.yaml"):
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(bundle / "configs" / name),
            device="cpu",
            n=1,
        )


def test_the_published_codes_overlay_runs(whole_films, run_film_bundle, tmp_path):
    """A classifier without head convolutions, the code's Grad-CAM++, a U-Net with a ResNet50 encoder."""
    tiny = {"classifier_name": "resnet18", "segmenter": "unet_resnet18", "train_batch_size": 4, "train_epochs": 1}
    tiny |= {"classify_epochs": 1, "irnet_epochs": 1}
    records = run_film_bundle(whole_films.data, tmp_path / "run", tiny, overlays=["reference_code"])
    assert {record["status"] for record in records.values()} == {"done"}
    weights = torch.load(tmp_path / "run" / "classifier" / "model.pt", weights_only=True)
    assert not any(name.startswith("head.") for name in weights)
    text = (tmp_path / "run" / "bundle" / "configs" / "seed.yaml").read_text()
    assert "\ncam_method: grad_cam_pp_code " in text


@pytest.mark.parametrize("name", ["vgg16_bn", "vgg16"])
def test_vgg_classifiers_run_up_to_the_walk(name, whole_films, run_film_bundle, tmp_path):
    tiny = {"classifier_name": name, "classify_epochs": 1, "irnet_epochs": 1}
    records = run_film_bundle(whole_films.data, tmp_path / "run", tiny, until_stage="walk")
    assert {record["status"] for record in records.values()} == {"done"}


@pytest.mark.parametrize(
    ("settings", "says", "kept"),
    [
        ({"cam_target": "nolayer"}, "cam_target must be a layer of the classifier", "seeds"),
        ({"classify_optimizer": "lion"}, "optimizer must be one of adam, radam, sgd, got lion", "classifier"),
        ({"classify_schedule": "cosine"}, "schedule must be one of polynomial, step", "classifier"),
        ({"backbone_weights": "nowhere.pt"}, "nowhere.pt: no such file", "classifier"),
        ({"boundary_backbone_weights": "nowhere.pt"}, "nowhere.pt: no such file", "irnet"),
        ({"foreground_threshold": 1.5}, "and that at most 1", "confident_masks"),
        ({"walk_threshold": 2.0}, "at most 1, got 2.0", "pseudo_masks"),
        ({"crf_confidence": 1.5}, "crf_confidence must be between 0 and 1", "confident_masks"),
    ],
)
def test_a_bad_value_is_one_line_and_loses_no_finished_result(
    settings, says, kept, whole_films, run_film_bundle, tmp_path, files_of
):
    run = shutil.copytree(whole_films.run, tmp_path / "run")
    before = files_of(run / kept)
    with pytest.raises(InputError) as raised:
        run_film_bundle(whole_films.data, run, settings)
    assert says in str(raised.value) and "\n" not in str(raised.value)
    assert files_of(run / kept) == before and before
