"""Affinity of nearby pixels: predicted from a boundary map, or known from labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from monai_wsss.ops.pair_paths import Step, pair_paths, pair_view

_IGNORE = 255


def boundary_affinity(boundary: Tensor, radius: float) -> Tensor:
    """Affinity of each pixel to its partners: no boundary on the way, full affinity.

    ``a_ij = 1 - max_{c on the path from i to j} boundary_c``, and 0 where j lies outside the image

    The gradient goes to the cell of the maximum; of several equal ones the first in the order of
    :func:`~monai_wsss.ops.pair_paths.path_cells` takes it all. Only once differentiable.

    Args:
        boundary: probability of a boundary, ``(B, 1, *S)`` in [0, 1], 2D or 3D.
        radius: pairs are less than this apart, pixels.

    Returns:
        Affinities ``(B, P, *S)`` in [0, 1], float32 (float64 stays): channel p at pixel i is the pair of i and
        ``i + pair_offsets(radius)[p]``.

    Raises:
        ValueError: if shape, values or radius are out of range.

    Source: Ahn et al., IRNet, CVPR 2019, Eq. 3.
    """
    _check_map(boundary, "boundary")
    if not bool(((boundary >= -1e-3) & (boundary <= 1 + 1e-3)).all()):
        raise ValueError("boundary must be in [0, 1], got NaN or values outside; logits need a sigmoid first.")
    values = boundary.to(torch.promote_types(boundary.dtype, torch.float32)).clamp(0, 1)
    paths = pair_paths(radius, boundary.ndim - 2)
    if not paths:
        return values.new_zeros(len(values), 0, *values.shape[2:])
    return torch.cat([_place(1 - path_max(values, d, cells), d, values.shape[2:]) for d, cells in paths], dim=1)


def affinity_targets(labels: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Which pairs of pixels belong together, as far as labels tell.

    Args:
        labels: 0 background, k + 1 class k, 255 ignore, ``(B, 1, *S)``, uint8 or any integer type, 2D or 3D.
        radius: pairs are less than this apart, pixels.

    Returns:
        background-positive (both background), foreground-positive (both the same class) and negative (different
        labels), each bool ``(B, P, *S)``, laid out as :func:`boundary_affinity`. A pair with an ignored pixel, or one
        outside the image, is none of the three.

    Raises:
        ValueError: if shape or radius are out of range.

    Source: Ahn et al., IRNet, CVPR 2019, Sec. 4.2.
    """
    _check_map(labels, "labels")
    shape, paths = labels.shape[2:], pair_paths(radius, labels.ndim - 2)
    if not paths:
        return (labels.new_zeros(len(labels), 0, *shape, dtype=torch.bool),) * 3
    kinds = zip(*(pair_targets(labels, d) for d, _ in paths), strict=True)
    placed = [torch.cat([_place(k, d, shape) for k, (d, _) in zip(kind, paths, strict=True)], dim=1) for kind in kinds]
    return placed[0], placed[1], placed[2]


def pair_targets(labels: Tensor, offset: Step) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`affinity_targets` of one offset, on the pairs inside the image, bool ``(B, 1, *(S - |offset|))``."""
    first, second = pair_view(labels, offset, (0,) * len(offset)), pair_view(labels, offset, offset)
    valid = (first != _IGNORE) & (second != _IGNORE)
    same, foreground = valid & (first == second), first > 0
    return same & ~foreground, same & foreground, valid & (first != second)


def path_max(x: Tensor, offset: Step, cells: tuple[Step, ...]) -> Tensor:
    """Largest value on the path of every pair inside the image, ``(B, C, *(S - |offset|))`` of ``x (B, C, *S)``."""
    return _PathMax.apply(x if torch.is_grad_enabled() else x.detach(), offset, cells)


class _PathMax(torch.autograd.Function):
    """Running maximum over shifted views that keeps one byte a pair: autograd's own keeps one map a cell."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Step, cells: tuple[Step, ...]) -> Tensor:
        best = pair_view(x, offset, cells[0]).clone()
        ctx.shape, ctx.offset, ctx.cells = x.shape, offset, cells
        if not ctx.needs_input_grad[0]:
            for cell in cells[1:]:
                torch.maximum(best, pair_view(x, offset, cell), out=best)
            return best
        winner = torch.zeros_like(best, dtype=torch.uint8 if len(cells) <= 256 else torch.int32)
        for i, cell in enumerate(cells[1:], start=1):
            value = pair_view(x, offset, cell)
            better = value > best
            # cells come in order, so the last to be better is the largest; masked_fill_ takes forty times as long
            if winner.dtype == torch.uint8:
                torch.maximum(winner, better.view(torch.uint8) * i, out=winner)
            else:
                winner.masked_fill_(better, i)
            torch.maximum(best, value, out=best)
        ctx.save_for_backward(winner)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (winner,) = ctx.saved_tensors
        total = grad.new_zeros(ctx.shape)
        # one add a cell, no scatter: the same sum in the same order on every run
        for i, cell in enumerate(ctx.cells):
            pair_view(total, ctx.offset, cell).add_(grad * (winner == i))
        return total, None, None


def _place(x: Tensor, offset: Step, shape: torch.Size) -> Tensor:
    """Values of the pairs at their first pixel, ``(B, C, *shape)``; 0 or False where there is no pair."""
    if 0 in x.shape:
        return x.new_zeros(*x.shape[:2], *shape)
    return F.pad(x, [side for d in reversed(offset) for side in (max(-d, 0), max(d, 0))])


def _check_map(x: Tensor, name: str) -> None:
    if x.ndim not in (4, 5) or x.shape[1] != 1:
        raise ValueError(f"{name} must be (B, 1, *S), 2D or 3D, got {tuple(x.shape)}.")
