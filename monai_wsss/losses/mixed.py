"""Mixed-UNet's loss: two pseudo masks, each with its own term."""

from torch import Tensor, nn

from monai_wsss.losses.seeding import SeedingLoss, pixel_losses


class SeedingCrossEntropyLoss(nn.Module):
    """Seeding loss on the refined mask plus cross-entropy on the CRF mask; a single mask enters both.

    ``L = seed_weight L_seed(Y, refined) + crf_weight L_CE(Y, CRF)``, with ``L_CE = -sum_i T_i log Y_i`` averaged over
    the batch's labelled pixels, whichever image they lie in.

    Args:
        seed_weight: weight of the seeding loss, >= 0; the paper's is 1.
        crf_weight: weight of the cross-entropy, >= 0; the paper's is 1.
        lesion_weight: weight of lesion pixels (label > 0) beside background's 1, in both terms; > 0.
        ignore_index: label that is left out, in both masks.

    Raises:
        ValueError: if a weight is out of range.

    Source: Liu et al., Mixed-UNet, 2022, Eqs. 8-10.
    """

    def __init__(
        self, seed_weight: float = 1.0, crf_weight: float = 1.0, lesion_weight: float = 1.0, ignore_index: int = 255
    ) -> None:
        super().__init__()
        if not (seed_weight >= 0 and crf_weight >= 0):
            raise ValueError(f"seed_weight and crf_weight must be >= 0, got {seed_weight} and {crf_weight}.")
        self.seeding = SeedingLoss(ignore_index, lesion_weight)
        self.seed_weight = seed_weight
        self.crf_weight = crf_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            logits: ``(B, C, *S)``; one channel is a sigmoid head, more are a softmax head.
            labels: refined mask and CRF mask, ``(B, 2, *S')``, or one mask for both terms, ``(B, 1, *S')``: 0
                background, k + 1 class k, or ``ignore_index``; of another grid than the logits' they are brought to
                it, see :func:`labels_on_grid`.

        Raises:
            ValueError: if the shapes do not fit.
        """
        if labels.ndim < 2 or labels.shape[1] not in (1, 2):
            raise ValueError(f"labels must be (B, 2, *S): refined mask, CRF mask; or one; got {tuple(labels.shape)}.")
        seed = self.seeding(logits, labels[:, :1])
        losses, weights = pixel_losses(logits, labels[:, -1:], self.seeding.ignore_index, self.seeding.lesion_weight)
        total = weights.sum()
        crf = losses.sum() / total.where(total > 0, total + 1)
        return self.seed_weight * seed + self.crf_weight * crf
