"""Curves without training: every run finds a square, smaller for fewer patients and for wrong labels."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from tiny_bundles import SETTINGS

from benchmarks import curves as module
from benchmarks.curves import label_curves
from benchmarks.rows.row_names import BLOB, DSRG, METHOD
from benchmarks.rows.runs import Runs
from benchmarks.tables.curve_tables import curves_table
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import load_config
from monai_wsss.workflow.manifest import Manifest

BUNDLES = Path(__file__).parents[2] / "bundles"
CRF = "class maps + CRF"
# Side of the square that a run finds of 6 x 6, by its folder: Dice 2 s^2 / (s^2 + 36).
SIDES = {"all": 6, "patients_0.25": 2, "patients_0.5": 3, "noise_0.1": 3, "noise_0.2": 0}
DICE = {6: 1.0, 3: 0.4, 2: 0.2, 0: 0.0}


def write_square(path, side):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((12, 12, 1), np.uint8)
    mask[:side, :side] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), path)
    return path


@pytest.fixture
def data(tmp_path):
    """Eight training patients, two validation and two test patients, all with the finding, two slices each."""
    cases = []
    for number in range(12):
        truth = write_square(tmp_path / "data" / "truth" / f"c{number:02d}.nii.gz", 6)
        own = Case(truth, f"c{number:02d}", f"p{number:02d}", (1,), ((0,), (1,)), truth=truth)
        cases.append(own)
    parts = {"training": tuple(cases[:8]), "validation": tuple(cases[8:10]), "test": tuple(cases[10:])}
    PreparedDataset(("lesion",), **parts).write(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def ran(monkeypatch):
    """What was run: data set, shared runs and values, by folder."""
    seen = {}

    def rows(runs, until, shared):
        name = runs.work.name
        seen[name] = PreparedDataset.read(runs.data), list(shared), dict(runs.values)
        record = {"seconds": 90.0, "seed": 0, "device": "cpu", "threads": 1, "versions": {}}
        runs.method.mkdir(parents=True)
        Manifest(runs.method).set(
            stages={"classify": record, "infer": record}, bundle="b", overlays=["small"], overrides={}
        )
        steps = [] if until == "classify" else ["class maps, thresholded", CRF, DSRG, METHOD]
        folders = {step: runs.work / step for step in [BLOB, *steps]}
        for step, folder in folders.items():
            for case in ("c10", "c11"):
                write_square(folder / f"{case}.nii.gz", {BLOB: 3, METHOD: SIDES[name]}.get(step, 6))
        return SimpleNamespace(folders=folders, steps=steps, done=["classify", "infer"])

    monkeypatch.setattr(module, "method_rows", rows)
    monkeypatch.setattr(Runs, "epochs", lambda runs, factor: {"classify_epochs": round(3 * factor)})
    return seen


def measured(data, tmp_path, **options):
    options = {"patients": (1.0, 0.5, 0.25), "noise": (0.2, 0.1)} | options
    return label_curves(data, tmp_path / "bundle", tmp_path / "work", ["small"], {"x": 1}, **options)


def test_points_of_both_curves(data, tmp_path, ran):
    found = measured(data, tmp_path)
    assert list(ran) == ["all", "patients_0.25", "patients_0.5", "noise_0.1", "noise_0.2"]
    patients, noise = found["curves"]["patients"], found["curves"]["noise"]
    assert [point["x"] for point in patients] == [2, 4, 8] and [point["x"] for point in noise] == [0, 0.1, 0.2]
    assert [point["training_patients"] for point in noise] == [8, 8, 8]
    assert [point["flipped"] for point in noise] == [0, 2, 4]  # of 16 and 4 labels: 1.6 + 0.4, 3.2 + 0.8
    names = ["patients_0.25", "patients_0.5", "all", "all", "noise_0.1", "noise_0.2"]
    for point, name in zip([*patients, *noise], names, strict=True):
        dice = DICE[SIDES[name]]
        assert list(point["rows"]) == [CRF, METHOD]
        row = point["rows"][METHOD]
        assert row["patients"]["mean"] == row["positives"]["mean"] == pytest.approx(dice)
        assert row["difference"]["mean"] == pytest.approx(1 - dice)
        assert point["rows"][CRF]["patients"]["mean"] == 1
    assert found["references"][BLOB]["patients"]["mean"] == pytest.approx(0.4)
    assert found["minutes"] == dict.fromkeys(["all", "patients 0.25", "patients 0.5", "noise 0.1", "noise 0.2"], 3.0)
    assert found["counts"]["validation_patients"] == found["counts"]["patients"] == 2


def test_what_the_runs_learn_from(data, tmp_path, ran):
    """The test split is the same in all; only the run on everything takes stages of another."""
    measured(data, tmp_path, from_run=tmp_path / "other")
    own = PreparedDataset.read(data)
    assert {name: shared for name, (_, shared, _) in ran.items() if shared} == {"all": [tmp_path / "other"]}
    assert ran["all"][0] == own
    for name, (dataset, _, _) in ran.items():
        assert [case.case for case in dataset.test] == ["c10", "c11"]
        assert [case.slice_classes for case in dataset.test] == [case.slice_classes for case in own.test]
        assert len(dataset.training) == {"patients_0.25": 2, "patients_0.5": 4}.get(name, 8)
        labels = [case.slice_classes for case in (*dataset.training, *dataset.validation)]
        assert all(rows == ((0,), (1,)) for rows in labels) == (not name.startswith("noise"))


def test_fewer_patients_train_for_more_epochs(data, tmp_path, ran):
    measured(data, tmp_path)
    longer = {"patients_0.25": 12, "patients_0.5": 6}
    for name, (_, _, values) in ran.items():
        assert values == {"x": 1} | ({"classify_epochs": longer[name]} if name in longer else {})


@pytest.mark.parametrize(("options", "kind"), [({"noise": ()}, "patients"), ({"patients": (1.0,)}, "noise")])
def test_one_curve_alone(data, tmp_path, ran, options, kind):
    assert list(measured(data, tmp_path, **options)["curves"]) == [kind]


def test_the_table_prints(data, tmp_path, ran):
    found = json.loads(json.dumps(measured(data, tmp_path), allow_nan=False))
    lines = curves_table(found).splitlines()
    row = "| labelled training patients | 2 | segmenter | 0.200 [0.200, 0.200] | 0.200 [0.200, 0.200] |"
    assert lines[3] == f"{row} +0.800 [+0.800, +0.800] | - |"
    assert lines[7].startswith("| labelled training patients | 8 | segmenter | 1.000 [1.000, 1.000] |")
    assert lines[7].endswith("|  | - |") and lines[9].endswith("|  | - |")
    assert lines[13].startswith("| labels turned | 20 % (4) | segmenter | 0.000 [0.000, 0.000] |")
    assert "2 validation patients. Overlays: small." in lines[-1] and "minutes: all 3, patients 0.25 3" in lines[-1]
    assert "brightest blob, without training: Dice per patient 0.400" in lines[-1]


def test_what_cannot_be_measured(data, tmp_path, ran):
    for options in ({"patients": (0.0,)}, {"noise": (1.5,)}):
        with pytest.raises(ValueError, match="share"):
            measured(data, tmp_path, **options)
    dataset = PreparedDataset.read(data)
    replace(dataset, test=(replace(dataset.test[0], truth=None), *dataset.test[1:])).write(data)
    with pytest.raises(InputError, match="1 of 2 test cases have no true mask"):
        measured(data, tmp_path)
    assert not ran
    dataset.write(data)
    with pytest.raises(InputError, match="--until classify: makes no masks"):
        measured(data, tmp_path, until="classify")


def test_a_real_bundle_and_a_second_call(whole, tmp_path):
    """Trained classifiers and their maps; the second call runs no stage and comes out the same."""

    def run():
        return label_curves(
            whole.data, whole.bundle, tmp_path, (), SETTINGS, (0.5,), (), "cpu", "refine", from_run=whole.run
        )

    first = run()
    half, _ = first["curves"]["patients"]
    assert half["x"] == 3  # of 4 patients with lesions and 1 without
    frozen = tmp_path / "patients_0.5" / "method" / "bundle" / "configs" / "classify.yaml"
    assert load_config(frozen)["classify_epochs"] == round(SETTINGS["classify_epochs"] * 5 / 3)
    assert list(half["rows"]) == [CRF] and 0 <= half["rows"][CRF]["patients"]["mean"] <= 1
    assert 0 <= half["auc"] <= 1
    started = {path: Manifest(path.parent).content for path in tmp_path.rglob("run.json")}
    assert len(started) == 2
    assert run() == first and {path: Manifest(path.parent).content for path in started} == started


@pytest.mark.parametrize("bundle", sorted(path.name for path in BUNDLES.iterdir()))
def test_epochs_of_every_bundle(bundle, tmp_path):
    """The number of each stage that trains, doubled; ids that follow from another are left to follow."""
    runs = Runs(tmp_path, BUNDLES / bundle, tmp_path, ["small"], {"classify_epochs": 7})
    once, twice = runs.epochs(), runs.epochs(2)
    assert once["classify_epochs"] == 7 and ("train_epochs" in once) != (bundle == "cxr_tuberculosis_deconv")
    assert twice == {name: 2 * value for name, value in once.items()}
