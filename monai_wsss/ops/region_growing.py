"""Seeded region growing: seeds take the confident unlabelled pixels that touch them."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from monai_wsss.ops.pair_paths import pair_paths, pair_view

_IGNORE = 255
_ISOTROPIC = 1.01  # largest ratio of two spacings that count as equal

GrowingRule = Literal["paper", "reference_code"]


def grow_seeds(
    seeds: Tensor,
    probability: Tensor,
    foreground: float = 0.85,
    background: float = 0.99,
    rule: GrowingRule = "paper",
    grow_foreground: bool = True,
    grow_background: bool = True,
    spacing: Sequence[float] | None = None,
) -> Tensor:
    """Grow the seeds of each class over the connected pixels that the network is sure of.

    ``paper``: a pixel passes for class c if ``H_c >= theta_c`` and ``c = argmax_c' H_c'`` over all labels. The result
    is ``S_c`` and every connected component of ``S_c | (passing & no seed of any class)`` that holds a pixel of S_c.
    Seeds conduct where they do not pass, and never change.

    ``reference_code``: a pixel passes if ``H_c > theta_c`` and c is the arg-max among background and the classes that
    have a seed in the image. A label map is laid out from the seeds (of several at one pixel, the highest label) and
    overwritten where a pixel passes, at seeds too. To each class is added every connected component of its label in
    this map that holds a seed of the class, less the pixels that are seeds of exactly one class, another one. So a
    region may run through another class's seeds, and a pixel that is a seed of several classes may get one more.

    Neighbours are the 8 around a pixel; in 3D those of its plane, or all 26 where the spacing is isotropic. An image
    without a seed of a class grows none of it.

    Args:
        seeds: S, ``(B, L, *S)`` bool, 2D or 3D, background first; a pixel may be a seed of several classes or of none.
        probability: H, ``(B, L, *S)`` in [0, 1]; a pixel with NaN does not pass.
        foreground: theta of the classes, in [0, 1].
        background: theta of background, in [0, 1].
        rule: which rule decides.
        grow_foreground: False leaves the classes at their seeds, as an infinite theta.
        grow_background: False leaves background at its seeds.
        spacing: mm a pixel along each axis, in 3D; None, as a spacing that differs by more than 1 %, connects pixels
            within the planes of the last two axes alone.

    Returns:
        Grown seeds ``(B, L, *S)``, bool; they contain the seeds. No gradient.

    Raises:
        ValueError: if the shapes do not fit, or an argument is out of range.

    Source: Huang et al., DSRG, CVPR 2018, Eq. 3 and Section 3.3 (0.85, 0.99); switches: Section 4.4.
    """
    if seeds.dtype != torch.bool or seeds.ndim not in (4, 5) or seeds.shape != probability.shape:
        raise ValueError(
            "seeds must be bool and, like probability, (B, L, *S), 2D or 3D, got "
            f"{seeds.dtype}, {tuple(seeds.shape)} and {tuple(probability.shape)}."
        )
    if not (0 <= foreground <= 1 and 0 <= background <= 1):
        raise ValueError(f"foreground and background must be in [0, 1], got {foreground} and {background}.")
    if rule not in ("paper", "reference_code"):
        raise ValueError(f'rule must be "paper" or "reference_code", got {rule!r}.')
    if seeds.numel() == 0:
        return seeds.clone()
    scores = probability.detach().to(torch.promote_types(probability.dtype, torch.float32))
    thresholds = scores.new_full((seeds.shape[1],), foreground if grow_foreground else math.inf)
    thresholds[0] = background if grow_background else math.inf
    if spacing is not None and (len(spacing) != seeds.ndim - 2 or not all(0 < s < math.inf for s in spacing)):
        raise ValueError(f"spacing must be {seeds.ndim - 2} lengths > 0, got {spacing}.")
    in_plane = spacing is None or max(spacing) > _ISOTROPIC * min(spacing)
    grow = _grow_paper if rule == "paper" else _grow_reference_code
    return grow(seeds, scores, thresholds, in_plane)


def one_hot_seeds(labels: Tensor, num_labels: int) -> Tensor:
    """Seeds of a label map, one channel a label.

    Args:
        labels: labels 0..L-1, or 255 for no seed, ``(B, 1, *S)``, uint8 or any integer type.
        num_labels: L, background included, 1..255.

    Returns:
        Seeds ``(B, L, *S)``, bool.

    Raises:
        ValueError: if the shape does not fit, or a label is out of range.
    """
    if labels.ndim < 3 or labels.shape[1] != 1:
        raise ValueError(f"labels must be (B, 1, *S), got {tuple(labels.shape)}.")
    if not 1 <= num_labels <= _IGNORE:
        raise ValueError(f"num_labels must be 1..{_IGNORE}, got {num_labels}.")
    if bool(((labels < 0) | (labels >= num_labels) & (labels != _IGNORE)).any()):
        raise ValueError(f"labels must be 0..{num_labels - 1} or {_IGNORE}, got {torch.unique(labels).tolist()}.")
    channels = torch.arange(num_labels, device=labels.device).reshape(-1, *[1] * (labels.ndim - 2))
    return labels == channels


def _grow_paper(seeds: Tensor, scores: Tensor, thresholds: Tensor, in_plane: bool) -> Tensor:
    top, winner = scores.max(dim=1, keepdim=True)
    passing = (top >= thresholds[winner]) & ~seeds.any(dim=1, keepdim=True)
    return _components_with_seeds(seeds | passing & (winner == _channels(seeds)), seeds, in_plane)


def _grow_reference_code(seeds: Tensor, scores: Tensor, thresholds: Tensor, in_plane: bool) -> Tensor:
    present = seeds.flatten(2).any(dim=2)
    present[:, 0] = True
    absent = ~present.reshape(*present.shape, *[1] * (seeds.ndim - 2))
    top, winner = scores.masked_fill(absent, -math.inf).max(dim=1, keepdim=True)
    label = _channels(seeds).where(seeds, -1).amax(dim=1, keepdim=True)  # -1: no label
    label = winner.where(top > thresholds[winner], label)
    touched = _components_with_seeds(label == _channels(seeds), seeds, in_plane)
    # a pixel with one label as seed has another one, or this one already; no class changes what the next one finds,
    # because the map has one label at each pixel
    return seeds | touched & (seeds.sum(dim=1, keepdim=True) != 1)


def _channels(seeds: Tensor) -> Tensor:
    """The labels as ``(L, 1, ..)``, to compare with a map of labels."""
    return torch.arange(seeds.shape[1], device=seeds.device).reshape(-1, *[1] * (seeds.ndim - 2))


def _components_with_seeds(region: Tensor, seeds: Tensor, in_plane: bool) -> Tensor:
    """Connected components of the region, each image and channel for itself, that hold a seed.

    Label propagation on the graph of the region's pixels: the roots of two neighbours are joined under the larger one,
    then each chain of roots is shortened to a quarter. Each round waits once for the device; a spiral of 881 pixels
    takes 6 of them, where dilation takes 841.

    Source: Liu and Tarjan, Simple concurrent labeling algorithms for connected components, SOSA 2019.
    """
    node = region.flatten().cumsum(0).reshape(region.shape) - 1  # number of each pixel of the region
    edges = []
    for offset, _ in pair_paths(2.0, region.ndim - 2):  # each pair of neighbours once: |offset|^2 is 3 at most
        if in_plane and region.ndim == 5 and offset[0]:
            continue
        ends = (0,) * len(offset), offset
        both = pair_view(region, offset, ends[0]) & pair_view(region, offset, ends[1])
        edges.append(torch.stack([pair_view(node, offset, end)[both] for end in ends]))
    first, second = torch.cat(edges, dim=1)
    seeded = seeds[region]
    root = torch.arange(len(seeded), device=region.device)
    while not torch.equal(a := root[first], b := root[second]):
        root.scatter_reduce_(0, torch.minimum(a, b), torch.maximum(a, b), "amax")
        root = root[root]
        root = root[root]
    reached = torch.zeros_like(seeded)
    reached[root[seeded]] = True
    result = torch.zeros_like(region)
    result[region] = reached[root]
    return result
