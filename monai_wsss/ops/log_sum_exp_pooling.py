"""Log-sum-exp pooling of class maps, and the image-level scores it gives."""

import math

import torch
from torch import Tensor

ACTIVATIONS = ("relu", "softmax")


def log_sum_exp_pooling(maps: Tensor, sharpness: float = 5.0) -> Tensor:
    """One value for each map, between its mean and its maximum.

    ``y_c = (1 / s) log( (1 / N) sum_i exp(s M_ci) )`` over the N positions i

    A small s gives the mean, a large one the maximum.

    Args:
        maps: M, ``(B, K, *S)``, any float dtype.
        sharpness: s, in 1 / units of M, > 0.

    Returns:
        Scores ``(B, K)``, float32 (float64 stays).

    Raises:
        ValueError: if ``sharpness`` is not positive and finite.

    Source: Kim and Hwang, Deconvolutional feature stacking, 2016, Eq. 7 (s = 5).
    """
    if not 0 < sharpness < float("inf"):
        raise ValueError(f"sharpness must be > 0 and finite, got {sharpness}.")
    values = maps.flatten(2).to(torch.promote_types(maps.dtype, torch.float32))
    return (torch.logsumexp(sharpness * values, dim=2) - math.log(values.shape[2])) / sharpness


def activate_maps(maps: Tensor, activation: str = "relu") -> Tensor:
    """``sigma(h)``: ReLU of each element, or softmax over the channels of each position.

    Args:
        maps: h, raw class maps ``(B, L, *S)``, background first.
        activation: `relu` or `softmax`.

    Returns:
        ``(B, L, *S)``, float32 (float64 stays).

    Raises:
        ValueError: another activation.

    Source: Kim and Hwang, 2016, 3.1.
    """
    values = maps.to(torch.promote_types(maps.dtype, torch.float32))
    if activation == "relu":
        return torch.relu(values)
    if activation == "softmax":
        return values.softmax(dim=1)
    raise ValueError(f"activation must be relu or softmax, got {activation}.")


def pooled_logits(maps: Tensor, activation: str = "relu", sharpness: float = 5.0) -> Tensor:
    """Image-level logits of raw class maps, with y the log-sum-exp pooling of ``sigma(h)``.

    `relu`, two maps: ``y_1 - y_0``, the logit of the softmax of ``(y_0, y_1)``.
    `softmax`, L maps: ``log y_c - log(1 - y_c)``, since y_c itself is a probability; y is kept above 1e-30 and 1e-7
    away from 1.

    Args:
        maps: h, ``(B, L, *S)``, background first; L = 2 with `relu`.
        activation: `relu` or `softmax`.
        sharpness: s of the pooling.

    Returns:
        ``(B, 1)`` with `relu`, ``(B, L)`` with the background's first with `softmax`; float32 (float64 stays).

    Raises:
        ValueError: another activation, ``sharpness`` out of range, or other than two maps with `relu`.

    Source: Kim and Hwang, 2016, 3.1 and Eq. 7.
    """
    if activation == "relu" and maps.shape[1] != 2:
        raise ValueError(f"relu is for one class and needs two maps, background first, got {maps.shape[1]}.")
    active = activate_maps(maps, activation)
    if activation == "relu":
        scores = log_sum_exp_pooling(active, sharpness)
        return scores[:, 1:] - scores[:, :1]
    # y = 1/s log(1 + mean(exp(s p) - 1)) keeps the digits of a small y, and with them the gradient of a class that is
    # present and was pushed down; above s = 80 exp would overflow
    scores = log_sum_exp_pooling(active, sharpness)
    if sharpness <= 80:
        scores = torch.log1p(torch.expm1(sharpness * active.flatten(2)).mean(dim=2)) / sharpness
    scores = scores.clamp(min=1e-30)
    return scores.log() - torch.log1p(-scores.clamp(max=1 - 1e-7))
