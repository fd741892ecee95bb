"""Three kinds of lesion, several in a slice, through the bundles of DSRG and BES."""

import csv
import json
import math
import shutil
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run as monai_bundle_run
from scipy.ndimage import binary_dilation
from three_class_phantom import ABSENT_IN_TEST, CLASSES, GRID, prepared_three_class
from tiny_bundles import BES_BUNDLE, DSRG_BUNDLE, GROWING_SETTINGS

from monai_wsss.data import PreparedDataset
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.evaluation import evaluate
from monai_wsss.workflow.manifest import Manifest, folder_hash
from monai_wsss.workflow.prepare import prepare
from monai_wsss.workflow.truth_on_grid import truth_on_grid

LARGE_FOV = {"segmenter": "deeplab_v2_vgg16_large_fov", "segmenter_width": 0.0625, "infer_gate_probability": 0.0}
GROWN_LONGER = {"dsrg_epochs": 8, "dsrg_batch_size": 2, "snapshot_epochs": 4}
SETTINGS = {"dsrg": (DSRG_BUNDLE, GROWN_LONGER), "bes": (BES_BUNDLE, LARGE_FOV)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared_three_class(tmp_path_factory.mktemp("three"))


@pytest.fixture(scope="module", params=SETTINGS)
def three(request, data, run_bundle, tmp_path_factory):
    """One run: `name`, `run`, `records`, `scores`, and `seeds`, the run that holds the classifier's class maps.

    A few epochs on four patients make no class maps from which DSRG's segmenter could learn: it gets better ones.
    """
    bundle, settings = SETTINGS[request.param]
    root = tmp_path_factory.mktemp(request.param)
    run, settings = root / "run", GROWING_SETTINGS | GRID | settings
    if request.param == "dsrg":
        run_bundle(bundle, data, run, settings, until_stage="seed")
        shutil.copytree(run, root / "seeded")
        put_better_seeds(run, data)
    records = run_bundle(bundle, data, run, settings)
    scores = json.loads((run / "evaluation" / "scores.json").read_text())
    seeds = root / "seeded" if request.param == "dsrg" else run
    return SimpleNamespace(name=request.param, run=run, records=records, scores=scores, seeds=seeds)


def put_better_seeds(run, data):
    """Class maps as a good classifier's: 1 on the lesion, 0.4 around it; recorded as if the stage had made them."""
    for case, maps in arrays(run, "seeds", data).items():
        truth = truth_on_grid(case, GridPreprocessing(**GRID), 3)
        for k in range(3):
            maps[:, k] = np.maximum(truth == k + 1, 0.4 * binary_dilation(truth == k + 1, np.ones((1, 5, 5))))
        np.save(run / "seeds" / f"{case.case}.npy", maps)
    manifest = Manifest(run)
    manifest.content["stages"]["seed"]["output"] = folder_hash(run / "seeds")
    manifest.set()


def arrays(run, name, data, splits=("training", "validation")):
    """Case -> array of a folder of the run."""
    cases = [case for split in splits for case in PreparedDataset.read(data).cases(split)]
    return {case: np.load(run / name / f"{case.case}.npy") for case in cases}


def rows_of(case, depth):
    """Labels (D, K) of a case."""
    return np.array([case.classes] * depth if case.slice_classes is None else case.slice_classes)


def predicted_and_true(run, data):
    for case in PreparedDataset.read(data).test:
        mask = nib.load(run / "predictions" / f"{case.case}.nii.gz")
        yield case, mask, np.asarray(mask.dataobj), np.asarray(nib.load(case.truth).dataobj)


def test_every_stage_is_done_and_nothing_is_nan(three, data):
    assert {record["status"] for record in three.records.values()} == {"done"}
    for path in three.run.rglob("*.npy"):
        assert np.isfinite(np.load(path).astype(np.float32)).all(), path
    for path in (three.run / "evaluation").glob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda word, path=path: pytest.fail(f"{path}: {word}"))
    for name in ("classifier", "segmenter"):
        state = torch.load(three.run / name / "model.pt", weights_only=True)
        assert all(value.isfinite().all() for value in state.values()), name


def test_seeds_of_several_classes_stand_in_one_slice(three, data):
    shared = 0
    for case, maps in arrays(three.seeds, "seeds", data).items():
        assert maps.shape[1:] == (3, 64, 64)
        rows = rows_of(case, len(maps))
        assert (maps.max(axis=(2, 3)) == rows).all()  # each class by its own maximum; none where it is absent
        shared += int((rows.sum(axis=1) > 1).sum())
    assert shared >= 4


def test_masks_hold_no_class_but_the_slices_own(three, data):
    folder = {"dsrg": "pseudo_masks/refined", "bes": "pseudo_masks/walk"}[three.name]
    folders = [folder, "relabelled"] if three.name == "dsrg" else [folder, "confident_masks"]
    together = set()
    for name in folders:
        for case, masks in arrays(three.run, name, data).items():
            for mask, row in zip(masks, rows_of(case, len(masks)), strict=True):
                found = set(np.unique(mask).tolist()) - {0, 255}
                assert found <= {k + 1 for k in range(3) if row[k]}, (name, case.case)
                together |= {(name, len(found))}
    assert (folder, 2) in together  # two kinds side by side


def test_predictions_hold_the_three_classes_alone_in_their_sources_geometry(three, data):
    seen = 0
    for case, mask, values, true in predicted_and_true(three.run, data):
        source = nib.load(case.image)
        assert mask.shape == source.shape and np.array_equal(mask.affine, source.affine)
        assert mask.get_data_dtype() == np.uint8 and set(np.unique(values)) <= {0, 1, 2, 3}
        assert not (true == CLASSES.index(ABSENT_IN_TEST) + 1).any()
        seen += 1
    assert seen == 3


def scores_by_hand(pairs):
    """IoU of each label over all voxels; a label that is neither true nor predicted has none."""
    true, mask = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*pairs, strict=True))
    there = sorted({*true.tolist(), *mask.tolist()})
    return {k: ((true == k) & (mask == k)).sum() / ((true == k) | (mask == k)).sum() for k in there}


def test_every_class_has_its_scores(three, data):
    assert list(three.scores["classes"]) == list(CLASSES)
    expected = scores_by_hand([(true, values) for _, _, values, true in predicted_and_true(three.run, data)])
    assert three.scores["dataset"]["miou"] == pytest.approx(np.mean(list(expected.values())))
    for label, name in enumerate(CLASSES, start=1):
        found = three.scores["classes"][name]["dataset"]["iou"]
        assert found == (pytest.approx(expected[label]) if label in expected else None), name


def test_a_class_without_a_true_positive_counts_as_zero(three, data, tmp_path):
    """Every voxel of one class is taken away, one of a class that no test patient has is put in."""
    folder = shutil.copytree(three.run / "predictions", tmp_path / "predictions")
    lost, invented, pairs = CLASSES.index("dark") + 1, CLASSES.index(ABSENT_IN_TEST) + 1, []
    for case, mask, values, true in predicted_and_true(three.run, data):
        values = np.where((values == lost) | (values == invented), 0, values).astype(np.uint8)
        values[0, 0, 0] = invented
        nib.save(nib.Nifti1Image(values, mask.affine), folder / f"{case.case}.nii.gz")
        pairs.append((true, values))
    cases = PreparedDataset.read(data).test
    scores = evaluate(folder, {case.case: case.truth for case in cases}, None, labels=CLASSES)
    assert scores["classes"]["dark"]["dataset"]["iou"] == scores["classes"][ABSENT_IN_TEST]["dataset"]["iou"] == 0
    expected = scores_by_hand(pairs)
    assert expected[lost] == expected[invented] == 0 and len(expected) == 4
    assert scores["dataset"]["miou"] == pytest.approx(np.mean(list(expected.values())))


def test_label_quality_and_boundaries_are_scored(three):
    if three.name == "dsrg":
        found = json.loads((three.run / "evaluation" / "label_quality.json").read_text())
        assert [row["epoch"] for row in found["epochs"]] == [0, 4, 8] and found["cases"] == 4
        assert all(list(row["classes"]) == list(CLASSES) for row in found["epochs"])
        assert all(0 <= row["iou"] <= 1 for row in found["epochs"])
    else:
        found = three.records["evaluate"]["summary"]
        assert 0 < found["boundary_max_f"] <= 1 and 0 < found["boundary_max_f_learnt"] <= 1


def test_another_order_of_the_classes_reorders_seeds_and_masks(three, data, tmp_path):
    """With the same classifier, its last layer's rows in that order; a training draws other first weights."""
    order = [2, 0, 1]
    labels, study = [CLASSES[k] for k in order], data.parent / "study"
    with (study / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["PatientID", "split", "slice", *labels])
        writer.writeheader()
        writer.writerows(rows)
    grid = GridPreprocessing(**GRID)
    prepare(study / "images", tmp_path / "labels.csv", tmp_path / "data", keep_names=True, preprocessing=grid)
    assert list(PreparedDataset.read(tmp_path / "data").labels) == labels
    state = torch.load(three.run / "classifier" / "model.pt", weights_only=True)
    last = [name for name, value in state.items() if value.shape[:1] == (3,)]
    assert last
    (tmp_path / "run" / "classifier").mkdir(parents=True)
    torch.save(state | {name: state[name][order] for name in last}, tmp_path / "run" / "classifier" / "model.pt")
    places = {"dataset_dir": str(tmp_path / "data"), "output_dir": str(tmp_path / "run"), "device": "cpu"}
    for name in ("seed", "confident"):
        config = three.run / "bundle" / "configs" / f"{name}.yaml"
        monai_bundle_run(config_file=str(config), logging_file=False, tracking_uri="none", labels=labels, **places)

    expected = {case.case: maps for case, maps in arrays(three.seeds, "seeds", data).items()}
    for case, maps in arrays(tmp_path / "run", "seeds", tmp_path / "data").items():
        np.testing.assert_allclose(maps, expected[case.case][:, order], atol=1e-3)
    if three.name == "dsrg":
        return
    renamed = np.arange(256, dtype=np.uint8)
    renamed[[k + 1 for k in order]] = [1, 2, 3]
    expected = {case.case: masks for case, masks in arrays(three.run, "confident_masks", data).items()}
    agree = [
        (masks == renamed[expected[case.case]]).mean()
        for case, masks in arrays(tmp_path / "run", "confident_masks", tmp_path / "data").items()
    ]
    assert math.isclose(np.mean(agree), 1, abs_tol=1e-3)  # but for a tie of two classes
