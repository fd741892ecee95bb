import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from benchmarks.calibration import calibration
from benchmarks.scores.slice_probabilities import labelled_images, read_probabilities
from benchmarks.tables.curve_tables import calibration_table
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError

# probability and label of the slices of two patients
SLICES = {"a": [(0.05, 0), (0.1, 0), (0.9, 1)], "b": [(0.15, 1), (0.95, 1), (0.85, 0)]}


def write_data(folder, slices, labels=("x",)):
    """A prepared folder with the labels of the slices."""
    cases = []
    for name, rows in slices.items():
        own = tuple((label,) * len(labels) for _, label in rows)
        cases.append(Case(folder / f"{name}.nii.gz", name, f"P{name}", max(own), own))
    PreparedDataset(labels, test=tuple(cases)).write(folder)
    return folder


def write_run(run, slices, labels=("x",)):
    """A run's table of slices."""
    (run / "predictions").mkdir(parents=True)
    rows = [[name, n, label, p, 0] for name, of in slices.items() for n, (p, _) in enumerate(of) for label in labels]
    with (run / "predictions" / "slices.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["case", "slice", "class", "probability", "voxels"], *rows])
    return run


def test_two_bins_by_hand(tmp_path):
    """Up to 0.5 one of 0.05, 0.1, 0.15 is positive, above two of 0.9, 0.95, 0.85."""
    data, run = write_data(tmp_path, SLICES), write_run(tmp_path / "run", SLICES)
    row = calibration(data, {"m": run}, bins=2)["rows"]["m"]
    assert row["counts"] == {"patients": 2, "images": 6, "positive": 3}
    low, high = row["bins"]
    assert (low["n"], high["n"]) == (3, 3)
    assert [low["probability"], low["share"]["mean"]] == pytest.approx([0.1, 1 / 3])
    assert [high["probability"], high["share"]["mean"]] == pytest.approx([0.9, 2 / 3])
    assert low["share"]["ci95"] == pytest.approx([0, 1])  # patient a has none of two, b one of one
    assert row["ece"] == pytest.approx((1 / 3 - 0.1 + 0.9 - 2 / 3) / 2)
    squares = [0.05**2, 0.1**2, 0.1**2, 0.85**2, 0.05**2, 0.85**2]
    assert row["brier"]["mean"] == pytest.approx(np.mean(squares)) and row["brier_share"] == 0.25


def random_slices(seed):
    rng = np.random.default_rng(seed)
    chances = rng.random((5, 40)).round(4)
    return {f"c{k}": [(p, int(rng.random() < p**2)) for p in row] for k, row in enumerate(chances.tolist())}


def test_scores_are_those_of_scikit_learn(tmp_path):
    slices = random_slices(0)
    data, run = write_data(tmp_path, slices), write_run(tmp_path / "run", slices)
    row = calibration(data, {"m": run})["rows"]["m"]
    pairs = np.array([pair for of in slices.values() for pair in of])
    probability, truth = pairs[:, 0], pairs[:, 1].astype(int)
    share, mean = calibration_curve(truth, probability, n_bins=15)
    filled = [found for found in row["bins"] if found["n"]]
    assert [found["probability"] for found in filled] == pytest.approx(mean)
    assert [found["share"]["mean"] for found in filled] == pytest.approx(share)
    assert row["brier"]["mean"] == pytest.approx(brier_score_loss(truth, probability))
    assert row["auc"] == pytest.approx(roc_auc_score(truth, probability))
    weights = np.array([found["n"] for found in filled]) / len(truth)
    assert row["ece"] == pytest.approx((weights * abs(share - mean)).sum())
    assert len(row["bins"]) == 15 and sum(found["n"] for found in row["bins"]) == 200


def test_folds_are_pooled(tmp_path):
    slices = random_slices(1)
    data, whole = write_data(tmp_path, slices), write_run(tmp_path / "run", slices)
    names = list(slices)
    folds = [
        write_run(tmp_path / f"fold{k}", {name: slices[name] for name in part})
        for k, part in enumerate((names[3:], names[:3]))
    ]
    found = calibration(data, {"whole": whole, "folds": folds})["rows"]
    assert found["whole"] == found["folds"]


def test_several_labels_have_a_row_each(tmp_path):
    data, run = write_data(tmp_path, SLICES, ("x", "y")), write_run(tmp_path / "run", SLICES, ("x", "y"))
    rows = calibration(data, {"m": run})["rows"]
    assert list(rows) == ["m, x", "m, y"] and rows["m, x"] == rows["m, y"]


def test_a_study_with_one_label_counts_once_and_doubtful_images_not(tmp_path):
    cases = [
        Case(Path("a"), "a", "P", (1,)),
        Case(Path("b"), "b", "Q", (0.7,)),  # soft
        Case(Path("c"), "c", "Q", (1,), ((-1,), (0,), (1,))),  # the first unknown, the last without a probability
        Case(Path("d"), "d", "R", (1,)),
    ]
    found = labelled_images(cases, {"a": {0: 0.2, 1: 0.6}, "b": {0: 0.5}, "c": {0: 0.9, 1: 0.3}})
    assert found == ([0.6, 0.3], [True, False], ["P", "Q"])


def test_the_probabilities_of_a_real_run(whole):
    """Those of `infer`, as often as there are test slices, and its settings."""
    table = read_probabilities(whole.run / "predictions" / "slices.csv", "lesion")
    cases = PreparedDataset.read(whole.data).test
    assert set(table) == {case.case for case in cases}
    found = calibration(whole.data, {"m": whole.run})
    assert found["rows"]["m"]["counts"]["images"] == sum(len(case.slice_classes) for case in cases)
    assert found["runs"]["m"]["bundle"] == whole.bundle.name


def test_the_table_prints(tmp_path):
    data, run = write_data(tmp_path, SLICES), write_run(tmp_path / "run", SLICES)
    found = json.loads(json.dumps(calibration(data, {"m": run}, bins=4), allow_nan=False))
    lines = calibration_table(found).splitlines()
    # of 9 pairs only 0.15 above 0.85 is wrong
    assert lines[2].startswith("| m | 6 | 3 | 0.889 | 0.233 | 0.245 [")
    assert [line.split("|")[2:5] for line in lines[6:8]] == [
        [" 0.00 to 0.25 ", " 3 ", " 0.100 "],
        [" 0.75 to 1.00 ", " 3 ", " 0.900 "],
    ]
    assert lines[-1].startswith("2 test patients. Brier score:")


def test_what_cannot_be_scored(tmp_path):
    data, run = write_data(tmp_path, SLICES), write_run(tmp_path / "run", SLICES)
    with pytest.raises(InputError, match=r"slices.csv: not there"):
        calibration(data, {"m": tmp_path})
    with pytest.raises(ValueError, match="got 0"):
        calibration(data, {"m": run}, bins=0)
    empty = write_run(tmp_path / "empty", {"a": [("", 0)]})
    with pytest.raises(InputError, match="no predicted image"):
        calibration(data, {"m": empty})
    broken = write_run(tmp_path / "broken", {"a": [("much", 0)]})
    with pytest.raises(InputError, match="much"):
        calibration(data, {"m": broken})
