"""Binary cross-entropy for image-level labels, some of them unknown."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WeightedBCELoss(nn.Module):
    """Binary cross-entropy with a weight for positives, over the known labels.

    ``L = -1/n sum_known [ w_k t log s(z) + (1 - t) log(1 - s(z)) ]``, with n the number of known labels. A soft label t
    has its least loss at ``s = w t / (w t + 1 - t)``, which is t for w = 1.

    Without any known label the loss is 0 and its gradient too.

    Args:
        pos_weight: w, one for all classes or one for each, > 0; None is 1.

    Raises:
        ValueError: if a weight is not > 0.
    """

    pos_weight: Tensor

    def __init__(self, pos_weight: float | Sequence[float] | None = None) -> None:
        super().__init__()
        weights = torch.as_tensor(1.0 if pos_weight is None else pos_weight, dtype=torch.float32).reshape(-1)
        if not bool((weights > 0).all()) or len(weights) == 0:
            raise ValueError(f"pos_weight must be > 0, got {pos_weight}.")
        self.register_buffer("pos_weight", weights, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            logits: ``(B, K)``.
            targets: 1 present, 0 absent, between them soft, -1 unknown, ``(B, K)``, any dtype.

        Raises:
            ValueError: if the shapes do not fit, or the number of weights is neither 1 nor K.
        """
        if logits.ndim != 2 or targets.shape != logits.shape:
            raise ValueError(f"logits and targets must be (B, K), got {tuple(logits.shape)}, {tuple(targets.shape)}.")
        if len(self.pos_weight) not in (1, logits.shape[1]):
            raise ValueError(f"pos_weight must be one number or {logits.shape[1]}, got {len(self.pos_weight)}.")
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
        known = targets >= 0
        loss = F.binary_cross_entropy_with_logits(
            scores,
            targets.to(scores.dtype),
            pos_weight=self.pos_weight.to(scores),
            reduction="none",
        )
        return loss.where(known, torch.zeros_like(loss)).sum() / known.sum().clamp(min=1)
