"""BES's loss: boundary, foreground and background pixels on a par, boundary labels trusted as far as predicted."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.ops.boundary_labels import BACKGROUND, BOUNDARY, FOREGROUND

_EPS = 1e-4  # probabilities are kept in [_EPS, 1 - _EPS]
_LIMIT = math.log((1 - _EPS) / _EPS)  # the same, of logits


class BoundaryExplorationLoss(nn.Module):
    """Cross-entropy of a boundary map in three parts, each averaged over its own pixels.

    ``L = mean_boundary -W log P + (mean_fg -log(1 - P) + mean_bg -log(1 - P)) / 2``, ``W = sqrt(P)``

    Eq. 4 leaves open, and here holds: the parts are those of the whole batch; a part without pixels is 0, and the
    halves stay halves; W is a constant to the gradient, and the boundary part is divided by the number of its pixels,
    not by the sum of W; P is kept in [1e-4, 1 - 1e-4], beyond which there is no gradient.

    Args:
        reference_code: divide each part by its number of pixels + 1, as the published code does.

    Source: Chen et al., BES, ECCV 2020, Eq. 4; limits of P and the constant W as in the published code.
    """

    def __init__(self, reference_code: bool = False) -> None:
        super().__init__()
        self.reference_code = reference_code

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            logits: of a boundary, ``(B, 1, *S)``.
            labels: of :func:`~monai_wsss.ops.boundary_labels.boundary_labels` on the same grid, ``(B, 1, *S)``.

        Raises:
            ValueError: if the shapes do not fit.
        """
        if logits.ndim < 3 or logits.shape[1] != 1 or logits.shape != labels.shape:
            raise ValueError(f"logits and labels must be (B, 1, *S), got {tuple(logits.shape)}, {tuple(labels.shape)}.")
        # of logits: 1 - P would have lost its digits where P is near 1
        score = logits.to(torch.promote_types(logits.dtype, torch.float32)).clamp(-_LIMIT, _LIMIT)
        weight = score.detach().sigmoid().sqrt()
        away = F.softplus(score)  # -log(1 - P)
        boundary = self._mean(weight * F.softplus(-score), labels == BOUNDARY)
        plain = self._mean(away, labels == FOREGROUND) + self._mean(away, labels == BACKGROUND)
        return boundary + plain / 2

    def _mean(self, values: Tensor, part: Tensor) -> Tensor:
        number = part.sum()
        return (values * part).sum() / (number + 1 if self.reference_code else number.clamp(min=1))
