from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score
from torch import nn

from benchmarks.rows.run_parts import classifier_of
from benchmarks.scores.classifier_scores import (
    accuracy_difference,
    classifier_scores,
    score_predictions,
    slice_predictions,
)
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError


def slices(patient, *pairs):
    """Slices of a patient from (positive, probability)."""
    return [
        {"patient": patient, "case": f"{patient}1", "number": number, "positive": positive, "probability": probability}
        for number, (positive, probability) in enumerate(pairs)
    ]


A = slices("a", (True, 0.9), (False, 0.2), (False, 0.6), (True, 0.5))  # right, right, wrong, right: .5 is a positive
B = slices("b", (False, 0.1), (False, 0.4))  # right, right


def test_scores_worked_by_hand():
    """5 of 6 right; both positives found; 3 of 4 negatives; F1 = 4 / (4 + 1); .5 beats .1, .2, .4 and not .6."""
    found = score_predictions([A + B])
    means = {name: found[name]["mean"] for name in ("accuracy", "sensitivity", "specificity", "auc")}
    assert means == pytest.approx({"accuracy": 5 / 6, "sensitivity": 1, "specificity": 3 / 4, "auc": 7 / 8})
    assert found["f1"] == pytest.approx(0.8)
    assert found["counts"] == {"patients": 2, "patients_without": 1, "slices": 6, "positive_slices": 2}
    assert found["per_patient"] == {"a": 0.75, "b": 1.0}
    assert found["accuracy"]["ci95"] == pytest.approx([0.75, 1])  # patients (a, a) and (b, b)


def test_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    truth = rng.random((5, 8)) < 0.4
    chance = np.clip(0.3 * truth + rng.random((5, 8)), 0, 1)
    found = score_predictions([[i for n in range(5) for i in slices(f"p{n}", *zip(truth[n], chance[n], strict=True))]])
    target, score = truth.ravel(), chance.ravel()
    claimed = score >= 0.5
    assert found["accuracy"]["mean"] == pytest.approx(accuracy_score(target, claimed))
    assert found["sensitivity"]["mean"] == pytest.approx(recall_score(target, claimed))
    assert found["specificity"]["mean"] == pytest.approx(recall_score(~target, ~claimed))
    assert found["f1"] == pytest.approx(f1_score(target, claimed))
    assert found["auc"]["mean"] == pytest.approx(roc_auc_score(target, score))


def test_folds_are_not_compared_with_each_other():
    """In each fold positives are above negatives, but the second fold's are all below the first's: 1, not 3/4."""
    first, second = slices("a", (True, 0.9), (False, 0.8)), slices("b", (True, 0.3), (False, 0.2))
    assert score_predictions([first, second])["auc"]["mean"] == 1
    assert score_predictions([first + second])["auc"]["mean"] == pytest.approx(3 / 4)


def test_seeds_are_averaged_and_add_no_patients():
    """The second seed has one more of a's slices right: (5 + 6) / 12, patient a (3/4 + 1) / 2."""
    better = [item | ({"probability": 0.3} if item["probability"] == 0.6 else {}) for item in A]
    found = score_predictions([A + B, better + B])
    assert found["accuracy"]["mean"] == pytest.approx(11 / 12)
    assert found["per_patient"] == {"a": 0.875, "b": 1.0}
    assert found["counts"]["slices"] == 6 and found["accuracy"]["patients"] == 2


def test_the_order_of_patients_and_cells_is_free():
    assert score_predictions([B, A]) == score_predictions([A, B])
    assert score_predictions([B + A[::-1]]) == score_predictions([A + B])


@pytest.mark.parametrize("cells", [[], [[]]])
def test_nothing_to_score_is_refused(cells):
    with pytest.raises(ValueError, match="no slice"):
        score_predictions(cells)


def test_a_patient_without_positives_alone_has_no_auc_and_no_sensitivity():
    found = score_predictions([B])
    assert found["auc"]["mean"] is None and found["sensitivity"]["mean"] is None and found["specificity"]["mean"] == 1


def test_the_difference_is_paired_over_the_slices():
    """The other has all of a's slices wrong but the first: (3 - 1 + 0) / 6."""
    worse = [item | {"probability": 0.9} for item in A[:1]] + [
        item | {"probability": 0.1 if item["positive"] else 0.9} for item in A[1:]
    ]
    found = accuracy_difference([A, B], [worse, B])
    assert found["mean"] == pytest.approx(2 / 6) and found["patients"] == 2
    with pytest.raises(ValueError, match="same slices"):
        accuracy_difference([A], [A[1:]])


def test_a_runs_classifier_on_its_test_slices(whole):
    """Accuracy and AUC are those of the stored network, slice by slice, against the labels of the table."""
    stage_network = classifier_of(whole.run, "classify.yaml")
    found = slice_predictions(whole.run, whole.data, "cpu")
    dataset = PreparedDataset.read(whole.data)
    labels = [bool(row[0]) for case in dataset.test for row in case.slice_classes]
    assert [item["positive"] for item in found] == labels and len(labels) == 8
    assert not stage_network.training
    scores = classifier_scores(whole.run, whole.data, "cpu")
    chances = [item["probability"] for item in found]
    assert scores["accuracy"]["mean"] == pytest.approx(np.mean((np.array(chances) >= 0.5) == labels))
    assert scores["auc"]["mean"] == pytest.approx(roc_auc_score(labels, chances))


@pytest.fixture
def brightness(tmp_path, monkeypatch):
    """A run whose classifier's logit is a slice's mean; its test cases are given by their slices' values and labels."""

    def run(labels=("finding",), **cases):
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
        nn.init.ones_(network[2].weight), nn.init.zeros_(network[2].bias)
        (tmp_path / "classifier").mkdir()
        torch.save(network.state_dict(), tmp_path / "classifier" / "model.pt")
        listed = [
            SimpleNamespace(case=name, patient=name[0], classes=classes, slice_classes=rows)
            for name, (_, classes, rows) in cases.items()
        ]
        stage = SimpleNamespace(
            dataset=SimpleNamespace(labels=labels, cases=lambda split: {"test": listed}[split]),
            network=network,
            device=torch.device("cpu"),
            batch_size=2,
            volume=lambda case: torch.tensor(cases[case.case][0])[:, None, None, None].expand(-1, 1, 4, 4),
        )
        monkeypatch.setattr("benchmarks.scores.classifier_scores.stage_of", lambda *place: stage)
        return slice_predictions(tmp_path, tmp_path, "cpu")

    return run


def test_a_volume_with_one_label_counts_once_and_unknown_labels_do_not(brightness):
    """Sigmoids of -1, 0 and 2 are .269, .5 and .881."""
    found = brightness(
        a1=([-1.0, 2.0, 0.0], (1.0,), None),
        b1=([-1.0, 2.0, 0.0], (1.0,), ((0.0,), (-1.0,), (1.0,))),
        b2=([2.0], (0.3,), None),
    )
    assert [(i["patient"], i["case"], i["positive"], round(i["probability"], 3)) for i in found] == [
        ("a", "a1", True, 0.881),
        ("b", "b1", False, 0.269),
        ("b", "b1", True, 0.5),
    ]


def test_several_classes_are_refused(brightness):
    with pytest.raises(InputError, match="2 classes; the table of classifiers is of one"):
        brightness(labels=("air", "fluid"))


def test_a_run_without_a_classifier_is_refused(whole, tmp_path):
    (tmp_path / "bundle").symlink_to(whole.run / "bundle")
    with pytest.raises(InputError, match="has no classifier; run its stage classify"):
        slice_predictions(tmp_path, whole.data, "cpu")
