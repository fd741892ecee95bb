"""A run as a bundle of its own, which tells of no patient and no place."""

import json
import re
import shutil
import zipfile

import nibabel as nib
import numpy as np
import pytest
import yaml

from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.export import export_bundle, model_card
from monai_wsss.workflow.infer_command import infer
from monai_wsss.workflow.manifest import Manifest


@pytest.fixture(scope="module")
def exported(whole, tmp_path_factory):
    return export_bundle(whole.run, tmp_path_factory.mktemp("exported") / "bundle")


def contents(folder, files_of):
    """Bytes of every file by name; of archives also those of their members, and the members' names."""
    found = files_of(folder)
    for name in [name for name in found if name.endswith(".pt")]:
        with zipfile.ZipFile(folder / name) as archive:
            for member in archive.namelist():
                found[f"{name}:{member}"] = member.encode() + archive.read(member)
    return found


def test_it_holds_what_a_bundle_needs(exported, files_of):
    files = set(files_of(exported))
    configs = ("classify", "seed", "refine", "train", "inference", "evaluate", "pipeline")
    assert {f"configs/{name}.yaml" for name in configs} <= files
    assert {"LICENSE", "docs/README.md", "configs/metadata.json", "configs/logging.conf"} <= files
    assert {"models/model.pt", "models/classifier.pt"} <= files
    assert not files & {"configs/small.yaml", "configs/multi_gpu.yaml"}


def test_no_name_and_no_path_is_in_any_byte(exported, whole, files_of):
    cases = PreparedDataset.read(whole.data).cases()
    words = {
        "HOSP",
        "/tmp",
        "/home",
        str(whole.root),
        *(case.case for case in cases),
        *(case.patient for case in cases),
    }
    for name, content in contents(exported, files_of).items():
        for word in words:
            assert word.encode() not in content, (name, word)
        if not name.endswith(".pt") and ":" not in name:
            paths = re.findall(rb"(?<![\w:/.)])(?<!\+ ')/[a-zA-Z][\w.-]*/[\w./-]+", content)
            assert name == "LICENSE" or not paths, (name, paths)


def test_it_works_when_copied_elsewhere(exported, whole, tmp_path):
    """Same masks as the run's, from a copy, with the original out of reach."""
    moved = shutil.copytree(exported, tmp_path / "moved to" / "here")
    assert infer(moved, whole.data, tmp_path / "out", "cpu") == {"cases": 2, "skipped": 0}
    for path in (whole.run / "predictions").glob("*.nii.gz"):
        mask, other = nib.load(path), nib.load(tmp_path / "out" / path.name)
        assert np.array_equal(np.asarray(mask.dataobj), np.asarray(other.dataobj))
        assert np.array_equal(mask.affine, other.affine)
    for name in ("statistics.csv", "slices.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (whole.run / "predictions" / name).read_bytes()


def test_configs_say_what_was_run_and_where_the_weights_are(exported):
    train = yaml.safe_load((exported / "configs" / "train.yaml").read_text())
    assert train["train_epochs"] == 3 and train["channels"] == [4, 4, 8, 8]
    inference = (exported / "configs" / "inference.yaml").read_text()
    assert "segmenter_weights: $@bundle_root + '/models/model.pt'" in inference
    metadata = json.loads((exported / "configs" / "metadata.json").read_text())
    assert "+" not in metadata["pytorch_version"]
    assert "Weights trained" in metadata["changelog"][metadata["version"]]


def test_the_model_card_tells_stages_and_scores(exported, whole):
    card = (exported / "docs" / "README.md").read_text()
    assert card.startswith((whole.bundle / "docs" / "README.md").read_text().rstrip("\n"))
    section = card.split("## These weights")[1]
    assert all(f"| {stage} | cpu |" in section for stage in whole.records)
    assert "train_epochs=3" in section and "2 patients" in section
    dice = json.loads((whole.run / "evaluation" / "scores.json").read_text())["patients"]["dice"]["mean"]
    assert f"{dice:.3f}" in section


@pytest.fixture
def fork(whole, tmp_path):
    return shutil.copytree(whole.run, tmp_path / "run")


def test_the_model_card_claims_image_level_labels_only_where_the_run_made_its_masks(fork):
    assert "Trained on masks made from image-level labels." in model_card(Manifest(fork), fork)
    manifest = Manifest(fork)
    del manifest.content["stages"]["refine"]  # as where masks were put into the run folder by hand
    assert "Trained on masks given to the run, of unknown origin." in model_card(manifest, fork)


def test_settings_that_are_paths_go_along_by_name_alone(fork, tmp_path, files_of):
    path = fork / "bundle" / "configs" / "classify.yaml"
    path.write_text(path.read_text().replace("backbone_weights: null", "backbone_weights: /secret/dr_who/r18.pt"))
    manifest = Manifest(fork)
    given = manifest.content["overrides"] | {"backbone_weights": "/secret/dr_who/r18.pt", "tracking_uri": "http://ward"}
    manifest.set(overrides=given)
    out = export_bundle(fork, tmp_path / "out")
    content = b"".join(files_of(out).values())
    assert b"dr_who" not in content and b"http://ward" not in content
    assert b"backbone_weights=r18.pt" in content and b"backbone_weights: r18.pt" in content


@pytest.mark.parametrize("gone", ["evaluation", "null scores"])
def test_a_run_without_scores_is_exported_too(fork, tmp_path, gone):
    """No truth, or no positive slice among the test cases: the card says less, nothing breaks."""
    if gone == "evaluation":
        shutil.rmtree(fork / "evaluation")
    else:
        path = fork / "evaluation" / "scores.json"
        scores = json.loads(path.read_text())
        scores["positives"]["dice"] = {"mean": None, "ci95": None, "n": 0}
        path.write_text(json.dumps(scores))
    card = (export_bundle(fork, tmp_path / "out") / "docs" / "README.md").read_text()
    assert gone == "evaluation" or "on positive slices not defined" in card
    assert "## These weights" in card and "nan" not in card.split("## These weights")[1].lower()


def test_an_unfinished_run_is_refused(fork, tmp_path):
    (fork / "segmenter" / "model.pt").unlink()
    with pytest.raises(InputError, match=r"segmenter/model\.pt: not there; finish the run first"):
        export_bundle(fork, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_an_earlier_export_is_replaced(whole, fork, tmp_path, files_of):
    """Neither other things nor a bundle one works on, whose overlays would be lost."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    bundle = shutil.copytree(whole.bundle, tmp_path / "bundle")
    for folder in (other, bundle):
        before = files_of(folder)
        with pytest.raises(InputError, match="not empty"):
            export_bundle(fork, folder)
        assert files_of(folder) == before
    out = export_bundle(fork, tmp_path / "out")
    first = files_of(out)
    assert files_of(export_bundle(fork, out)) == first
    (tmp_path / "empty").mkdir()
    assert files_of(export_bundle(fork, tmp_path / "empty")) == first


def test_a_run_whose_stages_do_not_belong_together_is_no_bundle(whole, run_pipeline, tmp_path):
    """A classifier of other settings, made after the segmenter, has other configs than the segmenter's."""
    run = shutil.copytree(whole.run, tmp_path / "run")
    run_pipeline(whole.data, run, {"seed": 1}, until_stage="classify")
    with pytest.raises(InputError, match=r"classifier/ was made anew after stage seed ran; finish the run first"):
        export_bundle(run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_run_with_a_stage_that_failed_is_no_bundle(whole, tmp_path):
    run = shutil.copytree(whole.run, tmp_path / "run")
    manifest = Manifest(run)
    manifest.content["stages"]["seed"]["status"] = "failed"
    manifest.set()
    with pytest.raises(InputError, match=r"stage seed did not end well \(failed\)"):
        export_bundle(run, tmp_path / "bundle")
