"""AUC with its interval over patients."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score


def auc_interval(
    scores: Sequence[float],
    positive: Sequence[bool],
    patients: Sequence[Hashable],
    folds: Sequence[int] | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """AUC and its 95 % percentile interval, by drawing patients with all of their images.

    With folds only images of one fold are compared: the mean of the folds' AUC, weighted by their pairs of a positive
    and a negative. Classifiers of different folds differ in level, which counts against the AUC of all images together.
    A draw without such a pair is left out.

    Args:
        scores: of N images.
        positive: the label of each.
        patients: the patient of each.
        folds: the fold of each; None compares all.
        samples: number of draws.
        seed: of the draws.

    Returns:
        ``mean`` (None without a pair), ``ci95`` (None as well), ``n`` images and number of ``patients``.
    """
    score, truth = np.asarray(scores, float), np.asarray(positive, bool)
    fold = np.zeros(len(truth), int) if folds is None else np.asarray(folds)
    names = sorted(set(patients), key=str)
    place = {name: index for index, name in enumerate(names)}
    group = np.array([place[name] for name in patients], int)
    rng = np.random.default_rng(seed)
    draws = (np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)) for _ in range(samples))
    found = [_auc(score, truth, fold, draw[group]) for draw in draws] if len(names) > 1 else []
    drawn = [value for value in found if value is not None]
    mean = _auc(score, truth, fold, np.ones(len(truth)))
    interval = np.percentile(drawn, [2.5, 97.5]).tolist() if drawn and mean is not None else None
    return {"mean": mean, "ci95": interval, "n": len(truth), "patients": len(names)}


def _auc(score: np.ndarray, truth: np.ndarray, fold: np.ndarray, weight: np.ndarray) -> float | None:
    total = pairs = 0.0
    for part in np.unique(fold):
        rows = (fold == part) & (weight > 0)
        many = float(weight[rows & truth].sum() * weight[rows & ~truth].sum())
        if many:
            total += many * roc_auc_score(truth[rows], score[rows], sample_weight=weight[rows])
            pairs += many
    return float(total / pairs) if pairs else None
