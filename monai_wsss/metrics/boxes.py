"""Localisation against boxes: the pointing game and the IoU of boxes.

A box is (low corner, high corner) on the spatial axes in their order, `(x0, y0, x1, y1)` in 2D and
`(x0, y0, z0, x1, y1, z1)` in 3D, MONAI's standard mode, in pixels: pixel i of an axis reaches from i to i + 1. Images
have different numbers of boxes; rows of NaN fill up.
"""

import torch
from monai.data.box_utils import box_iou
from monai.transforms.utils import get_largest_connected_component_mask
from torch import Tensor


def pointing_hits(maps: Tensor, boxes: Tensor, tolerance: float = 0.0) -> Tensor:
    """Pointing game: 1 if the map's maximum lies in a box, else 0.

    ``hit = |{p in P: min_n distance(p, box_n) <= tolerance}| / |P|``, where P are the centres of the pixels that share
    the maximum: of tied pixels one is drawn, and this is the expected hit. A flat map so gets the boxes' share of the
    image, and a map that marks two points half a hit for each.

    Args:
        maps: (B, C, *S) in two or three dimensions, finite, any type and scale.
        boxes: (B, C, N, 2 * dims), see the module; NaN where there is no box.
        tolerance: Euclidean distance from a box that still counts, pixels; 15 in the source.

    Returns:
        float64, (B, C) in [0, 1]; NaN where there is no box.

    Raises:
        ValueError: shapes do not fit, or a tolerance below 0.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016, section 4.2.
    """
    dims = _check(maps, boxes)
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0 pixels, got {tolerance}")
    if not bool(torch.isfinite(maps).all()):
        raise ValueError("maps must be finite, got NaN or infinity")
    tied = maps == maps.amax(tuple(range(2, maps.ndim)), keepdim=True)
    image, channel, *place = tied.nonzero(as_tuple=True)
    centre = torch.stack(place, 1)[:, None] + 0.5  # (P, 1, dims)
    low, high = boxes.double()[image, channel].split(dims, dim=-1)  # (P, N, dims)
    gap = torch.maximum(low - centre, centre - high).clamp(min=0)
    inside = (torch.linalg.vector_norm(gap, dim=-1) <= tolerance).any(-1)  # a distance of NaN is none
    hits = torch.zeros(maps.shape[:2], dtype=torch.float64, device=maps.device)
    hits.index_put_((image, channel), inside.double(), accumulate=True)
    known = ~boxes.isnan().any(-1).all(-1)
    return (hits / tied.flatten(2).sum(2)).where(known, torch.nan)


def component_boxes(maps: Tensor, threshold: float = 0.5) -> Tensor:
    """Bounding box of the largest connected component (8 neighbours, 26 in 3D) of ``map > threshold``.

    Components are found on the host where there is no cuCIM. Of components of one size any may be taken.

    Args:
        maps: (B, C, *S) in two or three dimensions: class maps, or for a label map ``labels == k`` of every class.
        threshold: on the map's scale; 0.5 for masks.

    Returns:
        float64, (B, C, 2 * dims), see the module; NaN where no pixel is above the threshold.
    """
    above = maps > threshold
    dims = above.ndim - 2
    found = torch.full((*above.shape[:2], 2 * dims), torch.nan, dtype=torch.float64, device=maps.device)
    for image, channel in above.flatten(2).any(2).nonzero().tolist():
        places = get_largest_connected_component_mask(above[image, channel]).nonzero()
        found[image, channel] = torch.cat([places.amin(0), places.amax(0) + 1]).double()
    return found


def best_box_iou(box: Tensor, boxes: Tensor) -> Tensor:
    """IoU of a found box with the true box that it fits best: ``max_n |box n box_n| / |box u box_n|``.

    Args:
        box: (B, C, 2 * dims), for example of ``component_boxes``; NaN where nothing was found.
        boxes: true boxes, (B, C, N, 2 * dims); NaN where there is no box.

    Returns:
        float64, (B, C) in [0, 1]: 0 where nothing was found, NaN where there is no true box.

    Raises:
        ValueError: shapes do not fit.
    """
    if boxes.ndim != 4 or box.shape != (*boxes.shape[:2], boxes.shape[3]):
        raise ValueError(f"box must be (B, C, 2 dims) and boxes (B, C, N, 2 dims), got {box.shape}, {boxes.shape}")
    best = torch.full(boxes.shape[:2], torch.nan, dtype=torch.float64, device=boxes.device)
    known = ~boxes.isnan().any(-1)
    for image, channel in known.any(-1).nonzero().tolist():
        found, true = box[image, channel], boxes[image, channel][known[image, channel]]
        lost = bool(found.isnan().any())
        best[image, channel] = 0.0 if lost else box_iou(found[None].double(), true.double()).max()
    return best


def _check(maps: Tensor, boxes: Tensor) -> int:
    dims = maps.ndim - 2
    if dims not in (2, 3) or boxes.ndim != 4 or boxes.shape[:2] != maps.shape[:2] or boxes.shape[3] != 2 * dims:
        raise ValueError(
            f"maps must be (B, C, *S) and boxes (B, C, N, {2 * max(dims, 2)}), "
            f"got {tuple(maps.shape)} and {tuple(boxes.shape)}"
        )
    return dims
