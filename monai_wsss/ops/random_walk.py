"""Random walk of class maps over the affinity of nearby pixels."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from monai_wsss.ops.affinity import boundary_affinity
from monai_wsss.ops.pair_paths import pair_paths


@torch.no_grad()
def random_walk(
    maps: Tensor,
    boundary: Tensor,
    radius: float = 5.0,
    beta: float = 10.0,
    steps: int = 256,
    multiply_edge: bool = True,
) -> Tensor:
    """Spread class maps to the boundaries that enclose them.

    ``x_0 = M (1 - boundary)``, then ``x <- x T`` a step, with ``T_ij = a_ij^beta / s_j``, ``s_j = sum_i a_ij^beta``,
    ``a_ii = 1`` and ``a_ij = 1 - max_path boundary`` below a distance of ``radius``, else 0

    T is normalised by column, so a step replaces each value by a weighted mean of its neighbourhood: a constant stays
    constant, no value leaves the range of those before, and ``sum_j x_j s_j`` is kept. A step is a stencil of O(P N);
    T is never built. No gradient.

    Args:
        maps: M, class maps ``(B, K, *S)``, >= 0, usually on the grid of stride 4, 2D or 3D.
        boundary: probability of a boundary, ``(B, 1, *S)`` in [0, 1].
        radius: pixels; only closer pairs exchange values.
        beta: exponent, > 0; larger ones make weak boundaries tighter.
        steps: number of steps, >= 0; the paper's ``exp_times`` t means 2^t.
        multiply_edge: take the maps' values off the boundaries first; if not, ``x_0 = M``.

    Returns:
        x, ``(B, K, *S)``, float32 (float64 stays), not normalised.

    Raises:
        ValueError: if shapes or values are out of range.

    Source: Ahn et al., IRNet, CVPR 2019, Eqs. 4-6 (beta 10, 256 steps, radius 5). Chen et al., BES, ECCV 2020, Eq. 5,
    is the same with beta 5; to the letter it has ``a_ii = 1 - boundary_i``, and it leaves ``x_0`` open.
    """
    if maps.ndim != boundary.ndim or maps.shape[0] != boundary.shape[0] or maps.shape[2:] != boundary.shape[2:]:
        raise ValueError(
            f"maps must be (B, K, *S) and boundary (B, 1, *S), got {tuple(maps.shape)} and {tuple(boundary.shape)}."
        )
    if not bool(torch.isfinite(maps).all()):
        raise ValueError("maps must be finite, got NaN or infinity.")
    if not 0 < beta < float("inf") or steps < 0:
        raise ValueError(f"beta must be > 0 and steps >= 0, got {beta} and {steps}.")
    dtype = torch.promote_types(torch.promote_types(maps.dtype, boundary.dtype), torch.float32)
    weight = boundary_affinity(boundary.to(dtype), radius).pow_(beta).flatten(2)
    start = maps.to(dtype)
    x = (start * (1 - boundary.to(dtype)) if multiply_edge else start).flatten(2)
    return _walk(x, weight, _shifts(radius, boundary.shape[2:]), steps).reshape(maps.shape)


def _shifts(radius: float, shape: torch.Size) -> list[tuple[int, int]]:
    """Channel of the affinity and distance in the flattened image, of every offset that fits into the image."""
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return [
        (p, sum(d * stride for d, stride in zip(offset, strides, strict=True)))
        for p, (offset, _) in enumerate(pair_paths(radius, len(shape)))
        if all(abs(d) < n for d, n in zip(offset, shape, strict=True))
    ]


def _walk(x: Tensor, weight: Tensor, shifts: list[tuple[int, int]], steps: int) -> Tensor:
    """``steps`` steps of ``x (B, K, N)`` with ``weight (B, P, N)``.

    In the flattened image an offset is one shift. Where it would run over the edge of a row the weight is 0.
    """
    n = x.shape[-1]
    total = x.new_ones(len(x), 1, n)
    for p, shift in shifts:
        total[..., : n - shift] += weight[:, p : p + 1, : n - shift]
        total[..., shift:] += weight[:, p : p + 1, : n - shift]
    lowest, highest = x.amin(dim=-1, keepdim=True), x.amax(dim=-1, keepdim=True)
    change, gap = torch.empty_like(x), torch.empty_like(x)
    for _ in range(steps):
        change.zero_()
        # x_j += sum_i a_ij (x_i - x_j) / s_j: the same step, but rounding does not add up over hundreds of them
        for p, shift in shifts:
            w, here, there = weight[:, p : p + 1, : n - shift], slice(None, n - shift), slice(shift, None)
            d = torch.sub(x[..., there], x[..., here], out=gap[..., here])
            change[..., here].addcmul_(w, d)
            change[..., there].addcmul_(w, d, value=-1)
        x = x + change.div_(total)
    return x.clamp(lowest, highest)
