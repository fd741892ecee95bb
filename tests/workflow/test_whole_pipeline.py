"""What holds for a whole run: no truth, same bytes, same geometry, negatives everywhere."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError

LEARNED = ("classifier", "seeds", "pseudo_masks", "segmenter", "predictions")


@pytest.fixture(scope="module")
def blind(whole, prepare_study, run_pipeline, tmp_path_factory):
    """The same run again where no true mask has ever been: none on disk, none in dataset.json."""
    root = tmp_path_factory.mktemp("blind")
    shutil.copytree(whole.study, root / "study", ignore=shutil.ignore_patterns("masks"))
    data = prepare_study(root / "study", root / "data", masks=False)
    return root / "run", data, run_pipeline(data, root / "run")


def test_without_true_masks_not_a_byte_changes(whole, blind, files_of):
    """DESIGN rule 5, and with it determinism: two runs, in two folders, byte for byte."""
    run, data, records = blind
    assert any(case.truth for case in PreparedDataset.read(whole.data).cases())
    assert not any(case.truth for case in PreparedDataset.read(data).cases())
    for folder in LEARNED:
        expected, found = files_of(whole.run / folder), files_of(run / folder)
        assert expected.keys() == found.keys() and expected
        assert [name for name in expected if expected[name] != found[name]] == [], folder
    assert records["evaluate"]["status"] == "skipped"
    assert "no test case has a true mask" in records["evaluate"]["reason"]


def test_masks_that_vanish_later_change_no_pseudo_mask_and_no_weight(whole, run_pipeline, tmp_path, files_of):
    """dataset.json still names them: the stages that learn never open them."""
    study = shutil.copytree(whole.study, tmp_path / "study")
    data = shutil.copytree(whole.data, tmp_path / "data")
    path = data / "dataset.json"
    path.write_text(path.read_text().replace(str(whole.study), str(study)))
    shutil.rmtree(study / "masks")
    run_pipeline(data, tmp_path / "run", until_stage="infer")
    for folder in LEARNED:
        assert files_of(tmp_path / "run" / folder) == files_of(whole.run / folder), folder


def test_the_run_is_no_empty_one(whole):
    """Else equal bytes would say nothing."""
    seeds = [np.load(path) for path in (whole.run / "seeds").glob("*.npy")]
    masks = [np.load(path) for path in (whole.run / "pseudo_masks" / "crf").glob("*.npy")]
    assert any(values.max() == 1 for values in seeds) and any(mask.any() and not mask.all() for mask in masks)


@pytest.mark.parametrize(("setting", "differs"), [({"seed": 1}, True), ({"num_workers": 0}, False)])
def test_the_seed_decides(whole, run_pipeline, tmp_path, setting, differs):
    run_pipeline(whole.data, tmp_path / "run", setting, until_stage="classify")
    ours, other = (torch.load(r / "classifier" / "model.pt", weights_only=True) for r in (whole.run, tmp_path / "run"))
    assert any(not torch.equal(ours[key], other[key]) for key in ours) is differs


def test_predictions_have_their_sources_geometry(whole):
    for case in PreparedDataset.read(whole.data).test:
        source, mask = nib.load(case.image), nib.load(whole.run / "predictions" / f"{case.case}.nii.gz")
        assert mask.shape == source.shape and np.array_equal(mask.affine, source.affine)
        assert mask.get_data_dtype() == np.uint8


def test_seeds_and_pseudo_masks_follow_the_labels(whole):
    """Where a slice is labelled negative there is neither; HOSP002 is a negative patient in training."""
    data = PreparedDataset.read(whole.data)
    negatives = 0
    for case in data.training + data.validation:
        rows = np.array(case.slice_classes)[:, 0]
        seeds = np.load(whole.run / "seeds" / f"{case.case}.npy")
        assert seeds.dtype == np.float16 and seeds.shape == (4, 1, 32, 32) and 0 <= seeds.min() and seeds.max() <= 1
        assert seeds.any(axis=(1, 2, 3)).tolist() == (rows == 1).tolist()
        for kind in ("refined", "crf"):
            mask = np.load(whole.run / "pseudo_masks" / kind / f"{case.case}.npy")
            assert mask.dtype == np.uint8 and mask.shape == (4, 32, 32) and set(np.unique(mask)) <= {0, 1}
            assert not mask[rows == 0].any()
        negatives += not rows.any()
    assert negatives == 1


def test_summaries_are_finite_numbers(whole):
    for name, record in whole.records.items():
        assert record["summary"] and all(np.isfinite(v) for v in record["summary"].values()), name
    assert whole.records["seed"]["summary"]["slices"] == 36
    # labelled positives: 2 slices of 4 + 2 patients in training and validation, and what passes the gate in the test
    assert whole.records["seed"]["summary"]["slices_with_maps"] >= 2 * (4 + 2)


def run_with(positive, write_study, prepare_study, run_pipeline, folder):
    splits = {"train": 2, "val": 1, "test": 1}
    study = write_study(folder / "study", splits, positive=positive)
    data = prepare_study(study, folder / "data")
    return run_pipeline(data, folder / "run", {"classify_epochs": 1, "train_epochs": 1})


@pytest.mark.parametrize("lacking", ["train", "val"])
def test_a_split_that_lacks_positives_is_refused_first_of_all(
    write_study, prepare_study, run_pipeline, tmp_path, lacking
):
    with pytest.raises(InputError) as raised:
        run_with(lambda split, _: split != lacking, write_study, prepare_study, run_pipeline, tmp_path)
    split = {"train": "training", "val": "validation"}[lacking]
    assert f"dataset.json: no positive slice in {split}" in str(raised.value) and "\n" not in str(raised.value)
    stages = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]
    assert {name: record["status"] for name, record in stages.items()} == {"classify": "failed"}


def test_a_test_split_of_negatives_runs_through(write_study, prepare_study, run_pipeline, tmp_path):
    records = run_with(lambda split, _: split != "test", write_study, prepare_study, run_pipeline, tmp_path)
    assert [record["status"] for record in records.values()] == ["done"] * 6
    scores = json.loads((tmp_path / "run" / "evaluation" / "scores.json").read_text())
    assert scores["positives"]["dice"]["mean"] is None and scores["counts"]["positive_slices"] == 0
    assert records["evaluate"]["summary"]["positives_dice"] is None
