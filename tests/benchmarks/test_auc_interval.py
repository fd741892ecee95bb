import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.scores.auc_interval import auc_interval


def test_literal():
    # positives .8 .4 against .6 .2: 3 of 4 pairs
    found = auc_interval([0.8, 0.6, 0.4, 0.2], [1, 0, 1, 0], list("abcd"), samples=200)
    assert found["mean"] == 0.75 and (found["n"], found["patients"]) == (4, 4)
    assert found["ci95"][0] <= 0.75 <= found["ci95"][1] == 1


def test_within_folds_only_pairs_of_one_fold_count():
    # fold 0: 1 of 1 pair; fold 1, whose classifier gives more to all: 1 of 2; all together: .1 < .8, .9 too
    scores, positive, folds = [0.2, 0.1, 0.8, 0.9, 0.7], [1, 0, 1, 0, 0], [0, 0, 1, 1, 1]
    patients = list("abcde")
    assert auc_interval(scores, positive, patients, folds, samples=10)["mean"] == pytest.approx((1 + 1) / 3)
    assert auc_interval(scores, positive, patients, samples=10)["mean"] == pytest.approx(3 / 6)


def test_parity_with_scikit_learn_and_one_fold():
    rng = np.random.default_rng(0)
    positive = rng.random(60) < 0.4
    scores, patients = rng.normal(positive, 1), rng.integers(20, size=60).tolist()
    found = auc_interval(scores, positive, patients, samples=100)
    assert found["mean"] == pytest.approx(roc_auc_score(positive, scores))
    ties = scores.round()
    assert auc_interval(ties, positive, patients, samples=1)["mean"] == pytest.approx(roc_auc_score(positive, ties))
    assert found == auc_interval(scores, positive, patients, [3] * 60, samples=100)


def test_patients_are_drawn_not_images():
    """Ten copies of each film say no more than one of each."""
    rng = np.random.default_rng(1)
    positive = rng.random(30) < 0.5
    scores, patients = rng.normal(positive, 1), list(range(30))
    once = auc_interval(scores, positive, patients, samples=300)["ci95"]
    copies = auc_interval(np.repeat(scores, 10), np.repeat(positive, 10), np.repeat(patients, 10).tolist(), samples=300)
    assert copies["ci95"] == pytest.approx(once)


@pytest.mark.parametrize("positive", [[1, 1], [0, 0]])
def test_one_answer_alone_has_no_auc(positive):
    assert auc_interval([0.1, 0.2], positive, ["a", "b"], samples=5) == {
        "mean": None,
        "ci95": None,
        "n": 2,
        "patients": 2,
    }
