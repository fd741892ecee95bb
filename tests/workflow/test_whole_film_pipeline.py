"""What holds for a whole run of the chest X-ray bundle, on films of one slice."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError

STAGES = ["classify", "seed", "confident", "irnet", "walk", "train", "infer", "evaluate"]
LEARNED = ("classifier", "seeds", "confident_masks", "irnet", "pseudo_masks", "segmenter", "predictions")


def test_every_stage_is_done_and_has_finite_numbers(whole_films):
    assert list(whole_films.records) == STAGES
    for name, record in whole_films.records.items():
        assert record["status"] == "done", name
        assert record["summary"] and all(np.isfinite(v) for v in record["summary"].values()), name


def test_without_true_masks_not_a_byte_changes(whole_films, run_films, tmp_path, files_of):
    study = shutil.copytree(whole_films.study, tmp_path / "study", ignore=shutil.ignore_patterns("masks"))
    records = run_films(study, tmp_path, masks=False)
    for folder in LEARNED:
        expected, found = files_of(whole_films.run / folder), files_of(tmp_path / "run" / folder)
        assert expected.keys() == found.keys() and expected
        assert [name for name in expected if expected[name] != found[name]] == [], folder
    assert records["evaluate"]["status"] == "skipped"


def test_other_labels_of_the_test_films_change_not_a_byte(whole_films, run_film_bundle, tmp_path, files_of):
    data = shutil.copytree(whole_films.data, tmp_path / "data")
    content = json.loads((data / "dataset.json").read_text())
    for item in content["test"]:
        item["classes"] = [1 - value for value in item["classes"]]
    (data / "dataset.json").write_text(json.dumps(content))
    run_film_bundle(data, tmp_path / "run", until_stage="infer")
    for folder in LEARNED:
        assert files_of(whole_films.run / folder) == files_of(tmp_path / "run" / folder), folder


def test_masks_follow_the_labels(whole_films):
    data, run = PreparedDataset.read(whole_films.data), whole_films.run
    walked = 0
    for case in data.training + data.validation:
        confident = np.load(run / "confident_masks" / f"{case.case}.npy")
        walk = np.load(run / "pseudo_masks" / "walk" / f"{case.case}.npy")
        maps = np.load(run / "pseudo_masks" / "maps" / f"{case.case}.npy")
        assert confident.dtype == walk.dtype == np.uint8 and confident.shape == walk.shape == (1, 32, 32)
        assert set(np.unique(confident)) <= {0, 1, 255} and set(np.unique(walk)) <= {0, 1}
        assert maps.shape == (1, 1, 32, 32) and maps.dtype == np.float16
        if case.classes == (0,):
            assert not confident.any() and not walk.any() and not maps.any()
        else:
            assert maps.max() == 1
            walked += int(walk.any())
    assert walked == 11  # 8 positives in training, 3 in validation


def test_no_stage_learns_from_a_test_film(whole_films):
    test = {case.case for case in PreparedDataset.read(whole_films.data).test}
    assert test.isdisjoint(path.stem for path in (whole_films.run / "confident_masks").glob("*.npy"))
    assert whole_films.records["irnet"]["summary"]["training_slices"] == 8  # the positives alone
    assert whole_films.records["train"]["summary"]["training_slices"] == 16


def test_predictions_have_their_sources_geometry(whole_films):
    for case in PreparedDataset.read(whole_films.data).test:
        source, mask = nib.load(case.image), nib.load(whole_films.run / "predictions" / f"{case.case}.nii.gz")
        assert mask.shape == source.shape and np.array_equal(mask.affine, source.affine)
        assert mask.get_data_dtype() == np.uint8


def test_the_papers_scores_stand_beside_the_all_empty_prediction(whole_films):
    papers = json.loads((whole_films.run / "evaluation" / "scores.json").read_text())["papers"]
    assert papers["all_empty"] == 0.5  # 2 of 4 test films have no lesion


def test_a_validation_split_without_positives_is_refused_by_the_classifier(write_films, run_films, tmp_path):
    study = write_films(tmp_path / "study", {"train": 4, "val": 1, "test": 2})  # the first film has no lesion
    with pytest.raises(InputError, match="no positive slice in validation"):
        run_films(study, tmp_path, {"classify_epochs": 1})


def test_three_classes_on_one_film_run_through(write_films, run_films, tmp_path):
    """Softmax head; each class has its own map, walk and label, none is lost to another."""
    labels = ("air", "fluid", "nodule")
    study = write_films(tmp_path / "study", {"train": 8, "val": 4, "test": 3}, labels)
    records = run_films(study, tmp_path, {"classify_epochs": 2, "train_epochs": 1, "irnet_epochs": 1})
    assert [record["status"] for record in records.values()] == ["done"] * len(STAGES)
    data = PreparedDataset.read(tmp_path / "data")
    assert data.labels == labels
    for case in data.training:
        maps = np.load(tmp_path / "run" / "pseudo_masks" / "maps" / f"{case.case}.npy")
        assert maps.shape == (1, 3, 32, 32)
        assert maps.max(axis=(0, 2, 3)).tolist() == list(case.classes)  # each class by its own maximum
    scores = json.loads((tmp_path / "run" / "evaluation" / "scores.json").read_text())
    assert sorted(scores["classes"]) == sorted(labels)


def test_volumes_run_through_the_film_bundle(whole, run_film_bundle, tmp_path):
    """The same stages on slices of a volume, with pixels of a known size and the body's mask."""
    settings = {"pixel_spacing": 4.0, "classify_epochs": 1, "irnet_epochs": 1, "train_epochs": 1}
    records = run_film_bundle(whole.data, tmp_path / "run", settings)
    assert [record["status"] for record in records.values()] == ["done"] * len(STAGES)
    case = PreparedDataset.read(whole.data).training[0]
    assert np.load(tmp_path / "run" / "pseudo_masks" / "walk" / f"{case.case}.npy").shape == (4, 32, 32)
