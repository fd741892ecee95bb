"""Pairs of nearby pixels, and the cells on the way from one to the other."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import torch
from torch import Tensor

Step = tuple[int, ...]


def pair_offsets(radius: float, spatial_dims: int = 2) -> Tensor:
    """Offsets from a pixel to its partners, each pair of pixels once.

    ``{d : 0 < |d|^2 < radius^2, the first non-zero coordinate of d is positive}``, in lexicographic order

    Args:
        radius: pixels, > 0; up to 1 there is no pair.
        spatial_dims: 2 or 3.

    Returns:
        Offsets ``(P, spatial_dims)``, int64, in the order of the axes (rows first).

    Raises:
        ValueError: if an argument is out of range.

    Source: Ahn et al., IRNet, CVPR 2019, Sec. 4.2 (radius 10; 5 for the walk).
    """
    offsets = [offset for offset, _ in pair_paths(radius, spatial_dims)]
    return torch.tensor(offsets, dtype=torch.long).reshape(-1, spatial_dims)


def path_cells(offset: Tensor) -> Tensor:
    """Cells of the thick line from the origin to an offset, both ends included.

    ``{c in the bounding box of 0 and d : |c|^2 - (c . d)^2 / |d|^2 < 1}``, in lexicographic order

    Args:
        offset: d, whole pixels, ``(dims,)``.

    Returns:
        Cells ``(n, dims)``, int64, relative to the origin.
    """
    return torch.tensor(_cells(tuple(int(v) for v in offset)), dtype=torch.long)


@cache
def pair_paths(radius: float, spatial_dims: int = 2) -> tuple[tuple[Step, tuple[Step, ...]], ...]:
    """Every offset of :func:`pair_offsets` with its :func:`path_cells`, as plain numbers for loops.

    Raises:
        ValueError: if an argument is out of range.
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"radius must be > 0 and finite, got {radius}.")
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
    reach, origin = math.ceil(radius) - 1, (0,) * spatial_dims
    offsets = product(range(-reach, reach + 1), repeat=spatial_dims)
    return tuple((d, _cells(d)) for d in offsets if d > origin and sum(v * v for v in d) < radius**2)


def pair_view(x: Tensor, offset: Step, cell: Step) -> Tensor:
    """Values at ``cell`` of every pair whose two pixels lie in the image, a view.

    Args:
        x: ``(B, C, *S)``.
        offset: from the first pixel of a pair to the second.
        cell: from the first pixel: zeros is the first one, ``offset`` the second; within their bounding box.

    Returns:
        ``(B, C, *(S - |offset|))``; empty if the image is smaller than the offset.
    """
    for axis, (d, c) in enumerate(zip(offset, cell, strict=True), start=2):
        length = max(x.shape[axis] - abs(d), 0)
        x = x.narrow(axis, max(-d, 0) + c if length else 0, length)
    return x


def _cells(offset: Step) -> tuple[Step, ...]:
    square = sum(v * v for v in offset)
    box = product(*(range(min(v, 0), max(v, 0) + 1) for v in offset))
    # whole numbers, so that a cell at a distance of exactly 1 is out on every machine
    return tuple(
        c
        for c in box
        if square * sum(v * v for v in c) - sum(v * w for v, w in zip(c, offset, strict=True)) ** 2 < max(square, 1)
    )
