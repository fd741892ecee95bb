"""IRNet's loss: boundaries and displacements that agree with the labels of pairs of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from monai_wsss.ops.affinity import pair_targets, path_max
from monai_wsss.ops.pair_paths import Step, pair_paths, pair_view

_EPS = 1e-5  # keeps the logarithms finite


class AffinityLoss(nn.Module):
    """Loss of pair affinities and of displacements, each kind of pair averaged over the batch.

    ``L = (L_pos + L_neg) / 2 + (D_fg + D_bg) / 2`` over pairs ``(i, j = i + d)``, with
    ``L_pos = (mean_bg -log a_ij + mean_fg -log a_ij) / 2``, ``L_neg = mean_neg -log(1 - a_ij)``,
    ``D_fg = mean_fg |D_i - D_j - d|``, ``D_bg = mean_bg |D_i - D_j|`` (means over pairs and components) and
    ``a_ij = 1 - max_path sigmoid(boundary)``.

    A displacement points from a pixel to the centre of its object, in pixels of the grid, rows first: with
    ``D_i = centre - i`` the foreground term is 0. A kind without any pair adds 0, to the gradient too. Pairs are worked
    off one offset at a time, gradients included, so memory does not grow with the radius. Only once differentiable.

    Args:
        radius: pairs are less than this apart, pixels of the grid.

    Raises:
        ValueError: if ``radius`` is not > 1: there would be no pair.

    Source: Ahn et al., IRNet, CVPR 2019, Eqs. 4-8 (radius 10); halves and 1e-5 as in the published code.
    """

    def __init__(self, radius: float = 10.0) -> None:
        super().__init__()
        if not radius > 1:
            raise ValueError(f"radius must be > 1, got {radius}.")
        self.radius = radius

    def forward(self, boundary: Tensor, displacement: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            boundary: logits ``(B, 1, *S)``, 2D or 3D.
            displacement: ``(B, dims, *S)``, pixels of this grid.
            labels: 0 background, k + 1 class k, 255 ignore, ``(B, 1, *S)``, uint8 or any integer type.

        Raises:
            ValueError: if the shapes do not fit.
        """
        batch, _, *shape = boundary.shape
        expected = (batch, 1, *shape), (batch, len(shape), *shape), (batch, 1, *shape)
        got = tuple(boundary.shape), tuple(displacement.shape), tuple(labels.shape)
        if len(shape) not in (2, 3) or got != expected:
            raise ValueError(f"boundary, displacement, labels must be (B, 1 | dims | 1, *S), got {got}.")
        dtype = torch.promote_types(torch.promote_types(boundary.dtype, displacement.dtype), torch.float32)
        with torch.autocast(boundary.device.type, enabled=False):
            if not torch.is_grad_enabled():  # a Function is told of requires_grad, not of no_grad
                boundary, displacement = boundary.detach(), displacement.detach()
            return _PairLoss.apply(boundary.to(dtype), displacement.to(dtype), labels, self.radius)


class _PairLoss(torch.autograd.Function):
    """Takes the gradient while it goes through the offsets, and keeps nothing else of them."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, displacement: Tensor, labels: Tensor, radius: float) -> Tensor:
        paths = pair_paths(radius, labels.ndim - 2)
        counts = [torch.stack([kind.sum() for kind in pair_targets(labels, offset)]) for offset, _ in paths]
        share = torch.stack(counts).sum(dim=0).clamp(min=1).to(logits.dtype).reciprocal()
        wanted = any(ctx.needs_input_grad[:2])
        edge, field = torch.sigmoid(logits).requires_grad_(wanted), displacement.detach().requires_grad_(wanted)
        total, grad_edge, grad_field = logits.new_zeros(()), torch.zeros_like(edge), torch.zeros_like(field)
        for offset, cells in paths:
            with torch.set_grad_enabled(wanted):
                loss = _offset_loss(edge, field, labels, offset, cells, share)
            total += loss.detach()
            if wanted:
                for grad, part in zip((grad_edge, grad_field), torch.autograd.grad(loss, (edge, field)), strict=True):
                    grad += part
        ctx.save_for_backward(grad_edge * (edge * (1 - edge)).detach(), grad_field)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_logits, of_displacement = ctx.saved_tensors
        return grad * of_logits, grad * of_displacement, None, None


def _offset_loss(
    edge: Tensor, field: Tensor, labels: Tensor, offset: Step, cells: tuple[Step, ...], share: Tensor
) -> Tensor:
    """One offset's part of the loss; ``share`` is 1 over the number of pairs: background, foreground, negative."""
    background, foreground, negative = pair_targets(labels, offset)
    positive = background * share[0] + foreground * share[1]
    affinity = 1 - path_max(edge, offset, cells)
    target = foreground * labels.new_tensor(offset, dtype=field.dtype).reshape(-1, *[1] * len(offset))
    move = pair_view(field, offset, (0,) * len(offset)) - pair_view(field, offset, offset)
    gap = (move - target).abs().mean(dim=1, keepdim=True)
    loss = positive * (gap / 2 - (affinity + _EPS).log() / 4) - negative * share[2] * (1 - affinity + _EPS).log() / 2
    return loss.sum()
