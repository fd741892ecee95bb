"""Folds, seeds and several methods in one table; what a method predicts is written, not trained."""

import json

import nibabel as nib
import numpy as np
import pytest
from tiny_bundles import BUNDLE

from benchmarks import accuracy as module
from benchmarks.accuracy import folders_of, measure, run_fold
from benchmarks.rows.method_rows import MethodRows
from benchmarks.rows.methods_file import Method, Methods
from benchmarks.rows.row_names import BACKGROUND, CEILING, CRF, METHOD
from benchmarks.tables.rebuild import format_table
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest

PATIENTS, FOLDS = 6, 3
SIDES = {"A": (4, 2), "B": (4, 4), "C": (4, 2)}  # of the squares that a method claims, by turn; the true ones are 4 x 4


def write_square(path, side):
    """A square of `side` x `side` in the first of two slices of 8 x 8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((8, 8, 2), np.uint8)
    mask[:side, :side, 0] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), path)
    return path


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    cases = [
        Case(truth, f"c{n}", f"PAT{n}", (1,), ((1,), (0,)), truth=truth)
        for n in range(PATIENTS)
        for truth in [write_square(root / "truth" / f"c{n}.nii.gz", 4)]
    ]
    PreparedDataset(("x",), training=tuple(cases[2:]), test=tuple(cases[:2])).write(root)
    return root


@pytest.fixture
def calls(monkeypatch):
    """Folders that methods worked in, and what else they were given; the first method makes the table's own rows."""
    seen = []

    def method_rows(runs, until, extras, trivial, shared):
        name = runs.work.name.upper()
        seen.append((runs.work, runs.values.get("seed"), list(extras), trivial, list(shared)))
        record = {"seconds": 60.0, "started": "shared", "output": "x", "seed": 0, "device": "cpu", "threads": 1}
        stages = {"classify": record, "infer": record | {"started": str(runs.work)}}
        for stage in stages.values():
            stage["versions"] = {}
        runs.method.mkdir(parents=True, exist_ok=True)
        Manifest(runs.method).set(stages=stages, bundle="b", overlays=[], overrides={})
        (runs.method / "bundle" / "configs").mkdir(parents=True, exist_ok=True)
        (runs.method / "bundle" / "configs" / "train.yaml").write_text("{}\n")
        sides = {CRF: 3, METHOD: SIDES[name][(runs.values.get("seed") or 0) // FOLDS]}
        sides |= {CEILING: 4} if "ceiling" in extras else {}
        sides = ({BACKGROUND: 0} if trivial else {}) | sides
        for row, side in sides.items():
            for case in PreparedDataset.read(runs.data).test:
                write_square(runs.work / row / f"{case.case}.nii.gz", side)
        return MethodRows(runs.work, {row: runs.work / row for row in sides}, [CRF, METHOD], ["classify", "infer"])

    monkeypatch.setattr(module, "method_rows", method_rows)
    return seen


METHODS = Methods(
    (Method("A", BUNDLE), Method("B", BUNDLE, values={"refine": "irnet"}), Method("C", BUNDLE, rows=("segmenter",))),
    (BACKGROUND, "ceiling"),
    "B",
    "Three",
)


def test_out_of_fold_predictions_of_every_patient_averaged_over_seeds(data, tmp_path, calls):
    """4 x 4 of 4 x 4 is Dice 1, 3 x 3 is 2 * 9 / 25 = .72, 2 x 2 is 2 * 4 / 20 = .4, so (1 + .4) / 2 = .7."""
    table = measure(data, METHODS, tmp_path / "work", "cpu", folds=3, seeds=2)
    dice = {name: row["patients"]["dice"]["mean"] for name, row in table["rows"].items()}
    assert dice == pytest.approx({BACKGROUND: 0, f"A: {CRF}": 0.72, "A": 0.7, "B": 1, "C": 0.7, CEILING: 1})
    assert table["base"] == "B" and table["rows"]["A"]["difference"]["mean"] == pytest.approx(0.3)
    assert table["rows"]["A"]["spread"]["positives"] == pytest.approx([1, 0.4])
    for row in table["rows"].values():
        assert row["counts"]["patients"] == PATIENTS == row["patients"]["dice"]["n"]
        assert row["positives"]["dice"]["n"] == PATIENTS
    assert (table["folds"], table["seeds"]) == (3, [0, 1, 2, 3, 4, 5])
    assert table["protocol"].startswith(
        "W0: no true mask before evaluate; 3 folds over patients, out-of-fold predictions pooled, 2 seeds a fold, none "
        "in two folds, averaged per patient."
    )


def test_every_cell_has_its_folder_and_takes_from_the_methods_before(data, tmp_path, calls):
    work = tmp_path / "work"
    measure(data, METHODS, work, "cpu", folds=3, seeds=2)
    assert [folder for folder, *_ in calls][:4] == [
        work / "fold_0" / "seed_0" / "a",
        work / "fold_0" / "seed_0" / "b",
        work / "fold_0" / "seed_0" / "c",
        work / "fold_0" / "seed_3" / "a",
    ]
    assert [seed for _, seed, *_ in calls] == [seed for seed in (0, 3, 1, 4, 2, 5) for _ in range(3)]
    assert [(extras, trivial) for _, _, extras, trivial, _ in calls][:3] == [
        (["ceiling"], True),
        ([], False),
        ([], False),
    ]
    for number, (folder, *_, shared) in enumerate(calls):
        earlier = [other for other, *_ in calls[number - number % 3 : number]]
        assert [run.parent for run in shared] == earlier[::-1], folder


def test_folds_made_one_by_one_are_those_of_the_table(data, tmp_path, calls):
    work = tmp_path / "work"
    for fold in (2, 0, 1):
        run_fold(data, METHODS, work, "cpu", folds=3, seeds=2, fold=fold)
        assert {folder.relative_to(work).parts[0] for folder, *_ in calls[-6:]} == {f"fold_{fold}"}
    made = sorted(calls)
    del calls[:]
    measure(data, METHODS, work, "cpu", folds=3, seeds=2)
    assert sorted(calls) == made


@pytest.mark.parametrize("fold", [-1, 3])
def test_a_fold_that_is_not_there_is_refused(data, tmp_path, calls, fold):
    with pytest.raises(InputError, match=rf"--fold {fold}: --folds 3 makes the folds 0 to 2"):
        run_fold(data, METHODS, tmp_path, "cpu", folds=3, fold=fold)
    assert not calls


def test_a_shared_stage_counts_once(data, tmp_path, calls):
    """One classifier of a minute for all, and an `infer` a method, fold and seed."""
    table = measure(data, METHODS, tmp_path / "work", "cpu", folds=3, seeds=2)
    assert table["minutes"] == {"classify": 1.0, "infer": 18.0}


def test_one_cell_works_where_it_always_did(data, tmp_path, calls):
    methods = Methods((Method("A", BUNDLE), Method("B", BUNDLE)), ())
    table = measure(data, methods, tmp_path / "work", "cpu")
    assert [folder for folder, *_ in calls] == [tmp_path / "work" / "a", tmp_path / "work" / "b"]
    assert table["rows"]["A"]["counts"]["patients"] == 2 and table["seeds"] == [0]


def test_the_same_rows_whichever_fold_comes_first(data, tmp_path, calls, monkeypatch):
    own = module.make_cells
    tables = []
    for name, step in (("a", 1), ("b", -1)):
        monkeypatch.setattr(module, "make_cells", lambda *given, step=step: own(*given)[::step])
        tables.append(measure(data, METHODS, tmp_path / name, "cpu", folds=3)["rows"])
    assert tables[0] == tables[1]


def test_the_table_prints_and_names_no_patient(data, tmp_path, calls):
    table = measure(data, METHODS, tmp_path / "work", "cpu", folds=3, seeds=2)
    text = json.dumps(table, allow_nan=False)
    assert "PAT" not in text and str(tmp_path) not in text
    lines = format_table(json.loads(text)).splitlines()
    assert lines[0].startswith("| row | Dice per patient | B minus row |")
    assert lines[4].startswith("| A | 0.700 [0.700, 0.700] | +0.300 [+0.300, +0.300] |")
    assert "A: brain_mri_lesion_mixed_unet; B: brain_mri_lesion_mixed_unet, refine=irnet; C: brain" in lines[-1]
    assert (
        "Folds 3, seeds [0, 1, 2, 3, 4, 5]." in lines[-1]
        and "Dice per patient, training by training: all background 0.000" in lines[-1]
    )
    assert "A 0.400 to 1.000" in lines[-1]


def test_one_training_a_fold_has_no_spread(data, tmp_path, calls):
    table = measure(data, METHODS, tmp_path / "work", "cpu", folds=3)
    assert "predictions pooled, one seed a fold, none in two folds. " in f"{table['protocol']} "
    note = format_table(table).splitlines()[-1]
    assert "Folds 3, seeds [0, 1, 2]." in note and "training by training" not in note


@pytest.mark.parametrize(
    ("options", "match"),
    [({"seeds": 0}, "at least 1 of each"), ({"folds": 7}, "7 folds need as many patients")],
)
def test_numbers_that_cannot_be(data, tmp_path, calls, options, match):
    with pytest.raises(InputError, match=match):
        measure(data, METHODS, tmp_path / "work", "cpu", **options)
    assert not calls


def test_classifiers_are_scored_on_slices(data, tmp_path, calls, monkeypatch):
    """A is right in both slices of every patient, B in the second alone: accuracy 1 and 1 / 2."""

    def slice_predictions(run, data, device):
        right = run.parent.name == "a"
        return [
            {"patient": case.patient, "case": case.case, "number": k, "positive": k == 0, "probability": chance}
            for case in PreparedDataset.read(data).test
            for k, chance in enumerate((0.9 if right else 0.2, 0.1))
        ]

    monkeypatch.setattr(module, "slice_predictions", slice_predictions)
    methods = tuple(Method(name, BUNDLE, until="classify") for name in "AB")
    table = measure(data, Methods(methods, layout="classifiers", title="T"), tmp_path / "work", "cpu", folds=2, seeds=2)
    assert {name: row["accuracy"]["mean"] for name, row in table["rows"].items()} == {"A": 1.0, "B": 0.5}
    assert table["rows"]["B"]["difference"]["mean"] == 0.5 and table["rows"]["A"]["counts"]["patients"] == PATIENTS
    assert not any(extras or trivial for _, _, extras, trivial, _ in calls)
    text = format_table(json.loads(json.dumps(table, allow_nan=False)))
    assert text.startswith("| row | accuracy | A minus row | AUC") and "6 test patients, 12 slices" in text
    assert "PAT" not in json.dumps(table)


def test_folders_of_several_folds():
    found = folders_of(["a=x", "a=y", "z/b"])
    assert {name: [str(folder) for folder in folders] for name, folders in found.items()} == {
        "a": ["x", "y"],
        "b": ["z/b"],
    }
