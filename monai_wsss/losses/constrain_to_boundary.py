"""Constrain-to-boundary loss: distance of the network's output to its own CRF."""

import torch
from torch import Tensor, nn

_TINY = 1e-12  # log 0 must be no NaN; a softmax with a floor never comes near


class ConstrainToBoundaryLoss(nn.Module):
    """Kullback-Leibler divergence from the CRF's posterior Q to the network's probability P.

    ``L = mean_u sum_l Q_{u,l} log(Q_{u,l} / P_{u,l})``, without gradient through Q; ``0 log 0 = 0``.

    Args:
        ratio_limits: limits ``(low, high)`` that ``Q / P`` is clipped to, ``0 < low < 1 < high``; beyond them the
            gradient is 0. The published code has (0.05, 20). None: no limits.

    Raises:
        ValueError: if the limits are out of range.

    Source: Kolesnikov and Lampert, SEC, ECCV 2016, Eq. 5; Huang et al., DSRG, CVPR 2018, Eq. 2.
    """

    def __init__(self, ratio_limits: tuple[float, float] | None = None) -> None:
        super().__init__()
        if ratio_limits is not None and not 0 < ratio_limits[0] < 1 < ratio_limits[1]:
            raise ValueError(f"ratio_limits must be low < 1 < high, low > 0, got {ratio_limits}.")
        self.ratio_limits = ratio_limits

    def forward(self, probability: Tensor, crf_probability: Tensor) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            probability: P, ``(B, L, *S)``, floored at 1e-12.
            crf_probability: Q, ``(B, L, *S)``.

        Raises:
            ValueError: if the shapes do not fit.
        """
        if probability.ndim < 3 or probability.shape != crf_probability.shape:
            raise ValueError(
                "probability and crf_probability must be (B, L, *S), got "
                f"{tuple(probability.shape)} and {tuple(crf_probability.shape)}."
            )
        dtype = torch.promote_types(probability.dtype, torch.float32)
        p, q = probability.to(dtype).clamp(min=_TINY), crf_probability.detach().to(dtype)
        log_ratio = q.clamp(min=_TINY).log() - p.log()
        if self.ratio_limits is not None:
            low, high = torch.tensor(self.ratio_limits, dtype=torch.float64).log().tolist()
            log_ratio = log_ratio.clamp(low, high)
        return (q * log_ratio).sum(dim=1).mean()
