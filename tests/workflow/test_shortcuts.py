"""The shortcut audit, on labels that a variable predicts wholly, not at all, or not in a straight line."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_wsss.data import Case
from monai_wsss.data.nuisance import VARIABLES
from monai_wsss.workflow.shortcuts import audit

SHARED = Path(__file__).parents[2] / "../shared/data"


def make(count=120, per_patient=1, label=None, site=None, **variables):
    """Cases c000.. with label i % 2 unless given, and a nuisance row of functions of i."""
    label = label or (lambda i: i % 2)
    cases, rows = [], {}
    for i in range(count):
        name = f"c{i:03d}"
        cases.append(Case(Path("x"), name, f"p{i // per_patient:03d}", (label(i),), site=site(i) if site else None))
        rows[name] = {key: value(i) for key, value in variables.items()}
    return cases, rows


def aucs(cases, rows, labels=("finding",)):
    return {shortcut.variable: shortcut for shortcut in audit(cases, labels, rows).shortcuts}


def noise(seed=0):
    values = np.random.default_rng(seed).random(10_000)
    return lambda i: float(values[i])


def test_a_perfect_predictor_is_found_and_noise_is_not():
    cases, rows = make(
        400, file_size=lambda i: 1000.0 + i % 2, border_mean=noise(), scanner=lambda i: f"m{int(3 * noise(1)(i))}"
    )
    found = aucs(cases, rows)
    assert found["file size"].auc == 1
    assert found["image border"].auc == pytest.approx(0.5, abs=0.08)
    assert found["scanner"].auc == pytest.approx(0.5, abs=0.08)
    assert (found["file size"].positive_patients, found["file size"].negative_patients) == (200, 200)
    assert audit(cases, ["finding"], rows).lines() == [
        "file size alone predicts finding with AUC 1.00: a network may learn it instead of the finding"
    ]


@pytest.mark.parametrize(
    ("variables", "variable"),
    [
        ({"site": lambda i: "AB"[i % 2]}, "site"),
        ({"colour_mode": lambda i: ("L", "RGB")[i % 2]}, "colour mode"),
        ({"scanner": lambda i: "A" if i % 2 else f"B{i % 4}"}, "scanner"),
        # neither side nor its order tells: the middle is positive (no monotone relation)
        ({"columns": lambda i: 500.0 + (i if i % 2 else (-1) ** (i // 2) * (i + 200))}, "image size"),
        ({"spacing_rows": lambda i: None if i % 2 else 0.5}, "spacing"),  # that it is missing tells
        ({"slices": lambda i: 20.0 + 4 * (i % 2)}, "number of slices"),
    ],
)
def test_every_kind_of_variable_is_judged(variables, variable):
    assert aucs(*make(120, **variables))[variable].auc > 0.95


def test_what_is_constant_or_unknown():
    found = aucs(*make(60, file_size=lambda i: 5.0, rows=lambda i: None))
    assert (found["file size"].auc, found["file size"].reason) == (0.5, "the same everywhere")
    assert (found["image size"].auc, found["image size"].reason) == (None, "not known")
    assert (found["slice position"].auc, found["slice position"].reason) == (None, "only whole images are labelled")
    assert set(found) == {"slice position", "site", *VARIABLES}


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (lambda i: int(i < 4), "only 4 patients with it, 5 are needed"),
        (lambda i: 1, "no patient without it, 5 are needed"),
        (lambda i: -1, "no patient with it, 5 are needed"),
    ],
)
def test_too_few_patients(label, reason):
    cases, rows = make(40, label=label, file_size=noise())
    assert all(s.auc is None and s.reason == reason for s in audit(cases, ["finding"], rows).shortcuts)
    assert audit(cases, ["finding"], rows).lines() == [f"finding cannot be audited for shortcuts: {reason}"]


def test_few_patients_are_said_to_be_few():
    cases, rows = make(20, file_size=lambda i: 1.0 * (i % 2))
    assert audit(cases, ["finding"], rows).lines()[0].endswith("(or it is chance: only 10 patients on one side)")


def test_nothing_found_is_said_with_the_best():
    cases, rows = make(200, file_size=noise(), columns=lambda i: 512.0)
    (line,) = audit(cases, ["finding"], rows).lines()
    assert line.startswith("no nuisance variable alone predicts a class with an AUC above 0.7 (highest: ")


def test_a_patient_is_never_on_both_sides():
    # each patient has a file size of its own and one label: an image-wise split would recognise the patient
    sizes, labels = np.random.default_rng(1).permutation(100), np.random.default_rng(2).permutation(100) % 2
    cases, rows = make(
        1000,
        10,
        label=lambda i: int(labels[i // 10]),
        file_size=lambda i: float(sizes[i // 10]),
        scanner=lambda i: f"m{i // 10}",
    )
    found = aucs(cases, rows)
    assert found["file size"].auc < 0.65
    assert found["scanner"].auc == pytest.approx(0.5, abs=0.01)  # every patient's scanner is new to the model


def test_order_of_the_cases_changes_nothing():
    cases, rows = make(90, 2, file_size=noise(), site=lambda i: "ABC"[i % 3])
    shuffled = list(cases)
    random.Random(0).shuffle(shuffled)
    assert audit(shuffled, ["finding"], rows) == audit(cases, ["finding"], rows)


def test_soft_and_unknown_labels():
    cases, rows = make(120, label=lambda i: (0, 0.5, -1, 0.2)[i % 4], file_size=lambda i: float(i % 4 == 1))
    found = aucs(cases, rows)["file size"]
    assert (found.auc, found.positive_patients, found.negative_patients) == (1, 30, 30)


def sliced(count=40, depth=10, first=4, last=6):
    return [
        Case(Path("x"), f"c{i:02d}", f"p{i:02d}", (1,), tuple((int(first <= k <= last),) for k in range(depth)))
        for i in range(count)
    ]


def test_slice_position_predicts_slice_labels():
    # the middle slices are positive in every case: the position says all, what belongs to the case says nothing
    cases = sliced()
    rows = {case.case: {"file_size": noise()(i)} for i, case in enumerate(cases)}
    found = aucs(cases, rows)
    assert found["slice position"].auc > 0.95
    assert found["file size"].auc == pytest.approx(0.5, abs=0.01)


def test_a_few_cases_with_slice_labels_among_many_studies():
    """A fold may have no slice of its own to score."""
    rng = random.Random(0)
    cases, rows = make(60, file_size=lambda i: 1000.0 + rng.random())
    slices = tuple((int(k > 5),) for k in range(10))
    cases = [replace(case, slice_classes=slices) if i < 3 else case for i, case in enumerate(cases)]
    found = aucs(cases, rows)["slice position"]
    assert found.auc == pytest.approx(1, abs=0.05) or found.reason == "too few patients for five folds"


def test_a_slice_inherits_what_belongs_to_its_case():
    # large files: 8 of 10 slices positive, small files: 2 of 10. A slice of each sign, by pairs:
    # P(large | positive) = .8, P(large | negative) = .2; AUC = .8 * .8 + (.8 * .2 + .2 * .8) / 2 = .8
    cases = sliced(20, 10, 0, 7) + sliced(40, 10, 0, 1)[20:]
    rows = {case.case: {"file_size": 2.0 if i < 20 else 1.0} for i, case in enumerate(cases)}
    assert aucs(cases, rows)["file size"].auc == pytest.approx(0.8, abs=1e-4)


def test_many_rows_are_thinned(monkeypatch):
    monkeypatch.setattr("monai_wsss.workflow.shortcuts._MAX_ROWS", {"case": 60, "slice": 200})
    cases, rows = make(400, label=lambda i: int(i % 20 == 0), file_size=lambda i: float(i % 20 == 0))
    found = aucs(cases, rows)["file size"]
    assert (found.auc, found.positive_patients, found.negative_patients) == (1, 20, 40)  # the rare ones all stay
    assert aucs(sliced(), {})["slice position"].auc > 0.9


def test_json_is_plain():
    cases, rows = make(60, file_size=noise())
    content = json.loads(json.dumps(audit(cases, ["a"], rows).to_json(), allow_nan=False))
    assert content["warn_above"] == 0.7
    assert [entry["variable"] for entry in content["shortcuts"]] == ["slice position", *VARIABLES, "site"]


def test_no_case():
    assert audit([], ["finding"], {}).lines() == [
        "finding cannot be audited for shortcuts: no patient with it, 5 are needed"
    ]


def test_file_size_of_chest_films():
    if not (SHARED / "cxr_nih").is_dir():
        pytest.skip("shared/data/cxr_nih is not there")
    cases, rows = [], {}
    for line in (SHARED / "cxr_nih/labels.csv").read_text().splitlines()[1:]:
        file, patient, _, _, label = line.split(",")
        cases.append(Case(Path(file), file, patient, (int(label),)))
        rows[file] = {"file_size": float((SHARED / "cxr_nih/dicom" / file).stat().st_size)}
    assert aucs(cases, rows)["file size"].auc == pytest.approx(0.81, abs=0.03)  # in-sample, by rank: .810


def test_slice_position_of_gliomas():
    if not (SHARED / "lgg_mri").is_dir():
        pytest.skip("shared/data/lgg_mri is not there")
    slices: dict[str, list[tuple[int]]] = {}
    for line in (SHARED / "lgg_mri/slice_labels.csv").read_text().splitlines()[1:]:
        patient, _, _, label = line.split(",")
        slices.setdefault(patient, []).append((int(label),))
    cases = [Case(Path(patient), patient, patient, (1,), tuple(rows)) for patient, rows in slices.items()]
    assert aucs(cases, {})["slice position"].auc == pytest.approx(0.86, abs=0.02)
