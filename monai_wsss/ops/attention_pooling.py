"""Attention pooling: a mean in which strong responses weigh more."""

import torch
from torch import Tensor


def attention_pooling(maps: Tensor, k: float = 0.001, learns_attention: bool = True) -> Tensor:
    """Mean of each map, weighted by the softmax of the map itself.

    ``s_c = sum_i M_ci A_ci``, ``A_ci = exp(k M_ci) / sum_j exp(k M_cj)``

    k = 0 is the mean, a large k the maximum.

    Args:
        maps: M, ``(B, K, *S)``, any float dtype.
        k: sharpness of the attention, in 1 / units of M, >= 0.
        learns_attention: let the gradient run through A too, as the formula has it; the published code's A takes none.

    Returns:
        Scores ``(B, K)``, float32 (float64 stays).

    Raises:
        ValueError: if ``k`` is negative or not finite.

    Source: Chen et al., Boundary exploration (BES), ECCV 2020, Eqs. 6-7 (k = 0.001).
    """
    if not 0 <= k < float("inf"):
        raise ValueError(f"k must be >= 0, got {k}.")
    values = maps.flatten(2).to(torch.promote_types(maps.dtype, torch.float32))
    attention = (k * values).softmax(dim=2)
    return (values * (attention if learns_attention else attention.detach())).sum(dim=2)
