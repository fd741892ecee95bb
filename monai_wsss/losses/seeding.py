"""Seeding loss: likelihood of the seeds alone."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.losses.label_grid import labels_on_grid


class SeedingLoss(nn.Module):
    """Negative log-likelihood of an image's seeds, over their number.

    ``L = -1 / sum_c |S_c|  sum_c sum_{u in S_c} log Y_{u,c}`` for each image, mean over the images that have seeds.

    One channel is a sigmoid head (every label > 0 is lesion), two or more are a softmax head. Without any seed the loss
    is 0 and its gradient too.

    Args:
        ignore_index: label of pixels that are no seed.
        lesion_weight: weight of lesion pixels (label > 0) beside background's 1, in the sum and in the number; > 0.

    Raises:
        ValueError: if ``lesion_weight`` is not > 0.

    Source: Liu et al., Mixed-UNet, 2022, Eq. 8; Kolesnikov and Lampert, SEC, ECCV 2016.
    """

    def __init__(self, ignore_index: int = 255, lesion_weight: float = 1.0) -> None:
        super().__init__()
        if not lesion_weight > 0:
            raise ValueError(f"lesion_weight must be > 0, got {lesion_weight}.")
        self.ignore_index = ignore_index
        self.lesion_weight = lesion_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            logits: ``(B, C, *S)``.
            labels: 0 background, k + 1 class k, or ``ignore_index``, ``(B, 1, *S')``, any dtype; of another grid than
                the logits' they are brought to it, see :func:`labels_on_grid`.

        Raises:
            ValueError: if the shapes do not fit.
        """
        losses, weights = pixel_losses(logits, labels, self.ignore_index, self.lesion_weight)
        total = weights.flatten(1).sum(dim=1)
        mean = losses.flatten(1).sum(dim=1) / total.where(total > 0, torch.ones_like(total))
        return mean.sum() / (total > 0).sum().clamp(min=1)


def pixel_losses(logits: Tensor, labels: Tensor, ignore_index: int, lesion_weight: float) -> tuple[Tensor, Tensor]:
    """Weighted negative log-likelihood and weight of each pixel, ``(B, *S)``; both 0 where ignored.

    Args:
        logits: ``(B, C, *S)``; one channel is a sigmoid head, more are a softmax head.
        labels: ``(B, 1, *S')``, 0 is background; brought to the logits' grid.
        ignore_index: label that is left out.
        lesion_weight: weight of labels > 0, beside background's 1.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if labels.ndim != logits.ndim or labels.shape[:2] != (logits.shape[0], 1):
        raise ValueError(
            f"logits must be (B, C, *S) and labels (B, 1, *S'), got {tuple(logits.shape)} and {tuple(labels.shape)}."
        )
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    target = labels_on_grid(labels, logits.shape[2:])[:, 0].long()
    ignored = target == ignore_index
    target = target.masked_fill(ignored, 0)
    lesion = target > 0
    if scores.shape[1] == 1:
        loss = F.binary_cross_entropy_with_logits(scores[:, 0], lesion.to(scores.dtype), reduction="none")
    else:
        loss = F.cross_entropy(scores, target, reduction="none")
    weight = torch.ones_like(loss).masked_fill(lesion, lesion_weight).masked_fill(ignored, 0.0)
    return loss * weight, weight
