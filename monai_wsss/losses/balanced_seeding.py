"""Balanced seeding loss: seeds of the classes and of background weigh the same."""

import torch
from torch import Tensor, nn


class BalancedSeedingLoss(nn.Module):
    """Negative log-likelihood of the seeds, with a mean of its own for foreground and for background.

    ``L = -1 / sum_{c>0} |S_c|  sum_{c>0} sum_{u in S_c} log H_{u,c}  -  1 / |S_0|  sum_{u in S_0} log H_{u,0}`` for
    each image, mean over the images that have seeds.

    A term without seeds is 0 (Eq. 1 is 0/0 there): a lesion-free image has background's term alone. Without any seed
    the loss is 0 and its gradient too. A pixel that is a seed of several classes counts once for each.

    Args:
        balanced: False takes one mean over all seeds of the image, the seeding loss of SEC.

    Source: Huang et al., DSRG, CVPR 2018, Eq. 1; Kolesnikov and Lampert, SEC, ECCV 2016, Eq. 2.
    """

    def __init__(self, balanced: bool = True) -> None:
        super().__init__()
        self.balanced = balanced

    def forward(self, log_probability: Tensor, seeds: Tensor) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            log_probability: log H, ``(B, L, *S)``, background first; finite at the seeds.
            seeds: ``(B, L, *S)``, bool.

        Raises:
            ValueError: if the shapes do not fit, or ``seeds`` is not bool.
        """
        if seeds.dtype != torch.bool or seeds.ndim < 3 or seeds.shape != log_probability.shape:
            raise ValueError(
                "seeds must be bool and, like log_probability, (B, L, *S), got "
                f"{seeds.dtype}, {tuple(seeds.shape)} and {tuple(log_probability.shape)}."
            )
        scores = log_probability.to(torch.promote_types(log_probability.dtype, torch.float32))
        sums = -scores.where(seeds, scores.new_zeros(())).flatten(2).sum(dim=2)
        counts = seeds.flatten(2).sum(dim=2)
        parts = [slice(0, 1), slice(1, None)] if self.balanced else [slice(None)]
        losses = sum(sums[:, part].sum(dim=1) / counts[:, part].sum(dim=1).clamp(min=1) for part in parts)
        return torch.as_tensor(losses).sum() / counts.any(dim=1).sum().clamp(min=1)
