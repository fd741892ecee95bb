"""AUC with its interval over patients."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np


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
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=samples)  # draws x patients
    mean = float(_auc(score, truth, fold, np.ones((1, len(truth))))[0])
    drawn = _auc(score, truth, fold, times[:, group].astype(float))
    known = np.isfinite(mean) and len(names) > 1
    interval = np.nanpercentile(drawn, [2.5, 97.5]).tolist() if known else None
    return {"mean": mean if np.isfinite(mean) else None, "ci95": interval, "n": len(truth), "patients": len(names)}


def _auc(score: np.ndarray, truth: np.ndarray, fold: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of the pairs of a fold whose positive scores higher, ties half; one for each row of weights (draws, N)."""
    right, pairs = np.zeros(len(weight)), np.zeros(len(weight))
    for part in np.unique(fold):
        rows = fold == part
        level = np.unique(score[rows], return_inverse=True)[1]
        of_level = np.eye(level.max() + 1)[level]  # images x levels
        positives, negatives = (weight[:, rows] * kind[rows] @ of_level for kind in (truth, ~truth))
        below = negatives.cumsum(1) - negatives / 2
        right += (positives * below).sum(1)
        pairs += positives.sum(1) * negatives.sum(1)
    return np.divide(right, pairs, out=np.full(len(weight), np.nan), where=pairs > 0)
