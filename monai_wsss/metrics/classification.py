"""Measures of a binary classifier; each is None where it is not defined."""

import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor

ECE_BINS = 15


def auc(probability: Tensor, target: Tensor) -> float | None:
    """Area under the ROC curve (scikit-learn); None unless both positives and negatives are there.

    Args:
        probability: scores, (N,), any finite numbers: only their order matters.
        target: 0 or 1, (N,).
    """
    truth = _binary(probability, target)
    if len(truth.unique()) < 2:
        return None
    return float(roc_auc_score(truth.numpy(), _host(probability).numpy()))


def f1(probability: Tensor, target: Tensor, threshold: float = 0.5) -> float | None:
    """``F1 = 2 TP / (2 TP + FP + FN)`` of ``probability >= threshold``; None with neither a positive nor a claim.

    Args:
        probability: (N,) in [0, 1].
        target: 0 or 1, (N,).
        threshold: a probability at or above it is a positive.
    """
    truth = _binary(probability, target)
    claimed = _host(probability) >= threshold
    if not (truth | claimed).any():
        return None
    return float(f1_score(truth.numpy(), claimed.numpy()))


def expected_calibration_error(probability: Tensor, target: Tensor, bins: int = ECE_BINS) -> float | None:
    """Expected calibration error: ``sum_b n_b / N * |mean probability_b - share of positives_b|``; None without items.

    Bins are of equal width over [0, 1] and closed on the right; the probability is that of the positive class.

    Args:
        probability: (N,) in [0, 1].
        target: 0 or 1, (N,).
        bins: number of bins, 15 as in the source.

    Raises:
        ValueError: a probability outside [0, 1].

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, Eq. 3.
    """
    truth = _binary(probability, target).double()
    score = _host(probability)
    if len(score) == 0:
        return None
    if score.min() < 0 or score.max() > 1:
        raise ValueError(f"probabilities must lie in [0, 1], got {float(score.min())} .. {float(score.max())}")
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = torch.bucketize(score, edges[1:-1])
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, score - truth)
    return float(gap.abs().sum() / len(score))


def _host(tensor: Tensor) -> Tensor:
    return tensor.detach().double().flatten().cpu()


def _binary(probability: Tensor, target: Tensor) -> Tensor:
    truth = target.detach().flatten().cpu()
    if truth.numel() != probability.numel():
        raise ValueError(f"{probability.numel()} probabilities, but {truth.numel()} targets")
    if not ((truth == 0) | (truth == 1)).all():
        raise ValueError("targets must be 0 or 1")
    return truth.bool()
