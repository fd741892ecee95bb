"""Rows of masks on films with boxes; what a method predicts is written, not trained, but in the last test."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from tiny_bundles import BUNDLE, SETTINGS

from benchmarks import accuracy as module
from benchmarks.accuracy import measure, one_method, run_fold
from benchmarks.rows.method_rows import MethodRows
from benchmarks.rows.methods_file import Method, Methods
from benchmarks.rows.row_names import BACKGROUND, CRF, METHOD
from benchmarks.scores.mask_boxes import AVERAGE_ROW, CENTRE_ROW, LUNG_ROW, film_scores
from benchmarks.tables.rebuild import format_table
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest

# x0, y0, x1, y1 in a film of 10 columns and 8 rows
BOXES = {"c0": [(6, 1, 8, 5)], "c2": [(6, 1, 8, 5), (0, 0, 2, 2)]}


def write_mask(path, *squares):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((10, 8, 1), np.uint8)
    for x0, y0, x1, y1 in squares:
        mask[x0:x1, y0:y1] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), path)
    return path


@pytest.fixture
def data(tmp_path):
    """Six films of six patients; the even ones have the finding, two of them boxes."""
    root = tmp_path / "data"
    cases = [
        Case(write_mask(root / "images" / f"c{n}.nii.gz"), f"c{n}", f"PAT{n}", (1 - n % 2,), None) for n in range(6)
    ]
    root.mkdir(exist_ok=True)
    PreparedDataset(("finding",), test=tuple(cases)).write(root)
    lines = [f"c{c[1]}.nii.gz,{x0},{y0},{x1 - x0},{y1 - y0}" for c in BOXES for x0, y0, x1, y1 in BOXES[c]]
    (root / "boxes.csv").write_text("\n".join(["file,x,y,width,height", *lines, ""]))
    return root


@pytest.fixture
def known():
    return {name: torch.tensor(found, dtype=torch.float64) for name, found in BOXES.items()}


@pytest.mark.parametrize(
    ("square", "hit", "iou"),
    [
        ((6, 1, 8, 5), 1, 1),  # the box itself
        ((6, 1, 8, 3), 1, 0.5),  # its upper half: 4 of 8 pixels
        ((4, 1, 8, 5), 0.5, 0.5),  # twice as wide: 8 of 16
        ((1, 6, 3, 8), 0, 0),  # the film mirrored at its diagonal
        ((0, 0, 0, 0), 0, 0),  # an empty mask is no guess
    ],
)
def test_a_mask_on_a_film(data, known, tmp_path, square, hit, iou):
    write_mask(tmp_path / "row" / "c0.nii.gz", square)
    found = {s.case: s for s in film_scores(tmp_path / "row", PreparedDataset.read(data), tmp_path / "k.json", known)}
    assert (found["c0"].hit, found["c0"].iou) == (hit, iou)
    assert found["c0"].pixels == (square[2] - square[0]) * (square[3] - square[1])
    assert (found["c2"].hit, found["c2"].iou) == (0, 0)  # no mask there
    assert found["c1"].hit is None and found["c1"].positive is False and found["c4"].positive


def test_of_two_boxes_the_one_that_fits(data, known, tmp_path):
    """The largest component is the second box; a pixel of the mask lies in one of the two with 4 + 2 of 6."""
    write_mask(tmp_path / "row" / "c2.nii.gz", (0, 0, 2, 2), (6, 1, 7, 3))
    found = {s.case: s for s in film_scores(tmp_path / "row", PreparedDataset.read(data), tmp_path / "k.json", known)}
    assert (found["c2"].hit, found["c2"].iou) == (1, 1)


def test_kept_scores_are_those_of_the_masks_that_are_there(data, known, tmp_path):
    dataset, row, kept = PreparedDataset.read(data), tmp_path / "row", tmp_path / "k.json"
    write_mask(row / "c0.nii.gz", BOXES["c0"][0])
    first = film_scores(row, dataset, kept, known)
    before = kept.stat().st_mtime_ns
    assert film_scores(row, dataset, kept, known) == first and kept.stat().st_mtime_ns == before
    write_mask(row / "c0.nii.gz", (0, 0, 1, 1))
    assert film_scores(row, dataset, kept, known)[0].hit == 0
    moved = {"c0": known["c0"] - known["c0"][:, :1].min()}  # to the film's left
    assert film_scores(row, dataset, kept, moved) != first


@pytest.fixture
def made(monkeypatch):
    """In the place of runs: A marks the box in every film, B its upper half where there is one; returns blank seeds."""
    blanks = set()

    def method_rows(runs, until, extras, trivial, shared):
        assert until == "infer" and not extras
        record = {"seconds": 6.0, "started": str(runs.work), "seed": 0, "device": "cpu", "threads": 1, "versions": {}}
        runs.method.mkdir(parents=True, exist_ok=True)
        Manifest(runs.method).set(stages={"infer": record}, bundle="b", overlays=[], overrides={})
        (runs.method / "bundle" / "configs").mkdir(parents=True, exist_ok=True)
        (runs.method / "bundle" / "configs" / "train.yaml").write_text("{}\n")
        rows = {BACKGROUND: ()} if trivial else {}
        rows |= {CRF: (6, 1, 8, 5), METHOD: (6, 1, 8, 5) if "refine" not in runs.values else (6, 1, 8, 3)}
        for row, square in rows.items():
            lines = ["case,slice,class,probability,voxels"]
            for case in PreparedDataset.read(runs.data).test:
                marks = square and (row == CRF or "refine" not in runs.values or case.case in BOXES)
                blank = runs.values.get("seed") in blanks and row == METHOD
                write_mask(runs.work / row / f"{case.case}.nii.gz", square if marks and not blank else (0, 0, 0, 0))
                lines.append(f"{case.case},0,finding,{0.9 if case.classes[0] else 0.2},0")
            if row == METHOD:
                (runs.work / row / "slices.csv").write_text("\n".join([*lines, ""]))
        return MethodRows(runs.work, {row: runs.work / row for row in rows}, [CRF, METHOD], ["infer"])

    monkeypatch.setattr(module, "method_rows", method_rows)
    monkeypatch.setattr(module, "nuisance_classifiers", lambda *folders: {})
    return blanks


TWO = Methods((Method("A", BUNDLE), Method("B", BUNDLE, values={"refine": "bes"})), (BACKGROUND,), "A", "Films")


def table_of(data, work, methods=TWO, **options):
    return measure(data, methods, work, "cpu", boxes=data / "boxes.csv", **options)


def test_rows_pooled_over_folds(data, made, tmp_path):
    table = table_of(data, tmp_path / "work", folds=3)
    rows = table["rows"]
    assert list(rows) == [CENTRE_ROW, LUNG_ROW, AVERAGE_ROW, BACKGROUND, f"A: {CRF}", "A", "B"]  # B's CRF is A's
    assert [rows[name]["hits"] for name in (BACKGROUND, "A", "B")] == [0, 2, 2]
    assert [rows[name]["box_iou"]["mean"] for name in (BACKGROUND, "A", "B")] == [0, 1, 0.5]
    assert rows["B"]["iou_difference"]["mean"] == 0.5 and rows["B"]["difference"]["mean"] == 0
    assert [(rows[name]["clean"], rows[name]["marked"]) for name in (BACKGROUND, "A")] == [(1, 0), (0, 1)]
    assert rows["B"]["clean"] == 1 and rows["B"]["marked"] == pytest.approx(2 / 3)
    assert (rows["A"]["auc"]["mean"], rows["A"]["auc"]["n"]) == (1, 6) and rows[BACKGROUND]["auc"] is None
    assert table["counts"] == {
        "patients": 6,
        "films": 6,
        "positive_films": 3,
        "boxed_patients": 2,
        "boxed_films": 2,
        "boxes": 3,
    }


def test_seeds_are_averaged_film_by_film(data, made, tmp_path):
    made |= {3, 4, 5}  # the second of each fold
    rows = table_of(data, tmp_path / "work", folds=3, seeds=2)["rows"]
    assert rows["A"]["box_iou"]["mean"] == 0.5 and rows["B"]["box_iou"]["mean"] == 0.25
    assert rows["A"]["pointing"]["n"] == 2 and rows["A"]["clean"] == 0.5 and rows["A"]["auc"]["n"] == 6


def test_of_one_split_the_films_that_test(data, made, tmp_path):
    dataset = PreparedDataset.read(data)
    replace(dataset, test=dataset.test[:2], training=dataset.test[2:]).write(data)
    table = table_of(data, tmp_path / "work")
    assert table["rows"]["A"]["hits"] == 1
    assert table["counts"] | {"boxed_films": 1, "boxes": 1, "films": 2, "positive_films": 1} == table["counts"]


def test_the_table_prints_and_names_no_patient(data, made, tmp_path):
    text = json.dumps(table_of(data, tmp_path / "work", folds=3), allow_nan=False)
    assert "PAT" not in text and str(tmp_path) not in text
    lines = format_table(json.loads(text)).splitlines()
    assert lines[0].startswith("| row | hits of 2 | pointing | A minus row | box IoU | A minus row | films without, c")
    assert "| B | 2.0 | 1.000 [1.000, 1.000] | +0.000" in lines[-3] and "| 1.000 | 0.667 | 1.000 [" in lines[-3]
    assert "3 boxes on 2 films of 2 patients" in lines[-1] and "W0: no box before the scores; 3 folds" in lines[-1]


@pytest.mark.parametrize(
    ("methods", "match"),
    [
        (replace(TWO, rows=("ceiling",)), "--row ceiling: learns from true masks, which boxes are not"),
        (replace(TWO, rows=("few-shot", BACKGROUND)), "--row few-shot: learns"),
        (replace(TWO, layout="classifiers"), "a table of classifiers has no masks"),
    ],
)
def test_what_boxes_say_nothing_of_is_refused(data, made, tmp_path, methods, match):
    with pytest.raises(InputError, match=match):
        table_of(data, tmp_path / "work", methods)


def test_several_classes_are_refused(data, made, tmp_path):
    dataset = PreparedDataset.read(data)
    two = tuple(replace(case, classes=(*case.classes, 0)) for case in dataset.test)
    replace(dataset, labels=("finding", "other"), test=two).write(data)
    with pytest.raises(InputError, match="--boxes: the data have 2 classes"):
        run_fold(data, TWO, tmp_path / "work", "cpu", boxes=data / "boxes.csv")


def test_a_split_without_a_boxed_film_is_refused(data, made, tmp_path):
    dataset = PreparedDataset.read(data)
    replace(dataset, test=dataset.test[3:], training=dataset.test[:3]).write(data)
    with pytest.raises(InputError, match="no film of the test split has a box; give --folds 5"):
        table_of(data, tmp_path / "work")


def test_a_mask_of_another_film_is_refused(data, known, tmp_path):
    folder = tmp_path / "row"
    folder.mkdir()
    nib.save(nib.Nifti1Image(np.zeros((8, 10, 1), np.uint8), np.eye(4)), folder / "c1.nii.gz")
    with pytest.raises(InputError, match=r"c1.nii.gz: is of \[8, 10\] pixels, the film of \[10, 8\]"):
        film_scores(folder, PreparedDataset.read(data), tmp_path / "k.json", known)


def test_a_bundle_on_films(films, tmp_path):
    """Whole: two folds of tiny films, from labels to the table."""
    methods = one_method(BUNDLE, (), SETTINGS | {"classify_epochs": 1, "train_epochs": 1}, "refine", ["random"])
    work, options = tmp_path / "work", {"folds": 2, "boxes": films.boxes}
    for fold in (1, 0):
        run_fold(films.data, methods, work, "cpu", **options, fold=fold)
    runs = sorted(work.rglob("run.json"))
    before = [run.read_bytes() for run in runs]
    table = measure(films.data, methods, work, "cpu", **options)
    assert len(runs) == 2 and [run.read_bytes() for run in sorted(work.rglob("run.json"))] == before
    own = list(table["rows"])[3:]
    assert own[0] == "all background" and "class maps, random weights" in own and CRF in own
    assert all(table["rows"][row]["pointing"]["n"] == 6 for row in own)
    assert table["rows"][CRF]["auc"]["n"] == 11 and table["folds"] == 2
