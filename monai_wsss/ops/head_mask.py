"""Mask of the head on CT, without table and headrest."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label
from torch import Tensor

AIR = -200.0  # HU; darker is air, foam or padding, brighter is fat and all other tissue
_COARSE = 1.0  # mm; finer than a disc of 4 mm needs
_REST = 4.0  # mm; table and headrest are shells thinner than twice this


def head_mask(image: Tensor, spacing: Sequence[float] = (1.0, 1.0), air: float = AIR, rest: float = _REST) -> Tensor:
    """Largest component of what is no air, thin shells aside, its holes filled.

    ``T = x > air;  C = largest(open(T, rest));  fill(largest(T & dilate(C, rest)))``

    Opening with a disc in each slice removes what is thinner than two radii: the shells of table and headrest, also
    where they touch the head, but for a stub, and the ears' tips. Components are those of the volume, so that a table
    alone in the slices above the head is none. Where nothing is thick enough, it is ``fill(largest(T))``. Air inside
    the head, as in sinuses and mastoids, is head. Runs on the CPU.

    Args:
        image: CT in Hounsfield units, ``(B, 1, *S)``, 2D ``(H, W)`` or 3D ``(H, W, D)``; slices along the last axis.
        spacing: mm a pixel along H and W.
        air: HU up to which a voxel is air.
        rest: radius of the disc, mm.

    Returns:
        Mask ``(B, 1, *S)``, bool, on the device of ``image``; all False where there is air alone.

    Raises:
        ValueError: the shape is another, a value is not finite, or a spacing or radius is not positive.
    """
    if image.ndim not in (4, 5) or image.shape[1] != 1:
        raise ValueError(f"image must be (B, 1, H, W) or (B, 1, H, W, D), got {tuple(image.shape)}.")
    if not bool(torch.isfinite(image).all()):
        raise ValueError("image must be finite, got NaN or infinity.")
    if len(spacing) != 2 or not all(s > 0 for s in (*spacing, rest)):
        raise ValueError(f"spacing (two values) and rest must be positive, mm, got {tuple(spacing)} and {rest}.")
    tissue = (image[:, 0].detach() > air).cpu().numpy()
    mask = [_head(volume, tuple(spacing), rest) for volume in tissue]
    return torch.from_numpy(np.stack(mask)[:, None] if mask else tissue[:, None]).to(image.device)


def _head(tissue: np.ndarray, spacing: Sequence[float], rest: float) -> np.ndarray:
    volume = tissue if tissue.ndim == 3 else tissue[..., None]
    steps = [max(1, int(_COARSE / s)) for s in spacing]  # distances on every second pixel or so: four times as fast
    coarse, pixel = volume[:: steps[0], :: steps[1]], [n * s for n, s in zip(steps, spacing, strict=True)]
    thick = _near(~_near(~coarse, rest, pixel), rest, pixel)
    core = _largest(volume)
    if thick.any():
        around = _near(_largest(thick), rest, pixel).repeat(steps[0], axis=0).repeat(steps[1], axis=1)
        core = _largest(volume & around[: volume.shape[0], : volume.shape[1]])
    in_plane = ndimage.generate_binary_structure(2, 1)[..., None]
    return ndimage.binary_fill_holes(core, structure=in_plane).reshape(tissue.shape)


def _largest(mask: np.ndarray) -> np.ndarray:
    components = label(mask)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return mask & (components == sizes.argmax())


def _near(mask: np.ndarray, distance: float, spacing: Sequence[float]) -> np.ndarray:
    """Pixels at most `distance` mm from the mask in their slice, the last axis; none where it is empty."""
    near = mask.copy()
    for index in np.flatnonzero(mask.any(axis=(0, 1))):
        near[..., index] = ndimage.distance_transform_edt(~mask[..., index], sampling=spacing) <= distance
    return near
