"""Image-level loss of class maps, through log-sum-exp pooling."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.ops.log_sum_exp_pooling import ACTIVATIONS, pooled_logits


class LogSumExpLoss(nn.Module):
    """Cross-entropy between image-level labels and log-sum-exp pooled class maps.

    With ``y_c = (1 / s) log mean_i exp(s sigma(h)_ci)`` and the mean over images,
    `relu`, one class: ``L = -t log p_1 - (1 - t) log p_0``, ``p = softmax(y_0, y_1)``;
    `softmax`: ``L = -log y_0 - sum_k [ t_k log y_k + (1 - t_k) log(1 - y_k) ]``: the background is always present.

    Unknown labels count nowhere, and an image without any known label does not count among the images. Without any at
    all the loss is 0 and its gradient too.

    Args:
        activation: sigma, `relu` or `softmax` over the maps.
        sharpness: s, > 0.
        positive_weight: factor on the terms with ``t``, but not on the background's, > 0; None is 1.

    Raises:
        ValueError: if an argument is out of range.

    Source: Kim and Hwang, Deconvolutional feature stacking, 2016, 3.1 and Eq. 7 (s = 5).
    """

    def __init__(self, activation: str = "relu", sharpness: float = 5.0, positive_weight: float | None = None) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be relu or softmax, got {activation}.")
        if not 0 < sharpness < float("inf"):
            raise ValueError(f"sharpness must be > 0 and finite, got {sharpness}.")
        if positive_weight is not None and not 0 < positive_weight < float("inf"):
            raise ValueError(f"positive_weight must be > 0 and finite, got {positive_weight}.")
        self.activation, self.sharpness = activation, sharpness
        self.positive_weight = 1.0 if positive_weight is None else positive_weight

    def forward(self, maps: Tensor, targets: Tensor) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            maps: h, raw class maps ``(B, K + 1, *S)``, background first.
            targets: 1 present, 0 absent, between them soft, -1 unknown, ``(B, K)``, any dtype.

        Raises:
            ValueError: if the shapes do not fit.
        """
        if maps.ndim < 3 or targets.shape != (maps.shape[0], maps.shape[1] - 1):
            raise ValueError(
                f"maps must be (B, K + 1, *S) and targets (B, K), got {tuple(maps.shape)}, {tuple(targets.shape)}."
            )
        logits = pooled_logits(maps, self.activation, self.sharpness)
        known = targets >= 0
        labels = targets.to(logits.dtype)
        weight = torch.full_like(labels[:1], self.positive_weight)
        if self.activation == "softmax":
            known = torch.cat([known.any(dim=1, keepdim=True), known], dim=1)
            labels = F.pad(labels, (1, 0), value=1.0)
            weight = F.pad(weight, (1, 0), value=1.0)
        loss = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weight, reduction="none")
        return loss.where(known, torch.zeros_like(loss)).sum() / known.any(dim=1).sum().clamp(min=1)
