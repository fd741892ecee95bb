"""Pixel-wise cross-entropy with a weight for lesion pixels."""

import torch
from torch import Tensor, nn

from monai_wsss.losses.seeding import pixel_losses


class WeightedPixelLoss(nn.Module):
    """Cross-entropy over the labelled pixels of a batch, lesion pixels weighted.

    ``L = 1/n sum_i w_i l_i``, with w the positive weight where label > 0 and 1 elsewhere, and n the number of labelled
    pixels.

    One channel is a sigmoid head: l is binary cross-entropy, every label > 0 is lesion, and L equals torch's
    ``BCEWithLogitsLoss(pos_weight=w)``. Two or more are a softmax head: l is cross-entropy. There too n counts pixels,
    where torch's ``cross_entropy(weight=...)`` divides by the sum of the weights: the weight raises the share of lesion
    pixels and leaves background's alone, the same for both heads. Without any labelled pixel the loss is 0 and its
    gradient too.

    :class:`SeedingLoss` differs: it weights the number as well, and averages over images.

    Args:
        positive_weight: w, > 0.
        ignore_index: label of pixels that are left out.

    Raises:
        ValueError: if ``positive_weight`` is not > 0.

    Source: Viniavskyi et al., Weakly-supervised segmentation for disease localization in chest X-ray images, 2020,
    section 3, step 3 (in words; neither the weight nor the mean is given).
    """

    def __init__(self, positive_weight: float = 1.0, ignore_index: int = 255) -> None:
        super().__init__()
        if not positive_weight > 0:
            raise ValueError(f"positive_weight must be > 0, got {positive_weight}.")
        self.positive_weight = positive_weight
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            logits: ``(B, C, *S)``.
            labels: 0 background, k + 1 class k, or ``ignore_index``, ``(B, 1, *S')``, any dtype; of another grid than
                the logits' they are brought to it, see :func:`labels_on_grid`.

        Raises:
            ValueError: if the shapes do not fit.
        """
        losses, weights = pixel_losses(logits, labels, self.ignore_index, self.positive_weight)
        return losses.sum() / torch.count_nonzero(weights).clamp(min=1)
