"""Mask of the body: everything but the air around it."""

import numpy as np
import torch
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label
from torch import Tensor

_BRIGHTEST = 99.5  # percentile; brighter values would squeeze the rest into one bin of the histogram


def body_mask(image: Tensor) -> Tensor:
    """Largest bright component, its holes filled.

    ``largest(fill(x > Otsu(x)))``; air inside the body, as in sinuses or ventricles that look dark, is body too.

    The mask does not change if the image is scaled by a positive factor or shifted, so raw and z-scored images agree.
    Runs on the CPU.

    Args:
        image: brighter than air inside the body, ``(B, 1, *S)``, 2D ``(H, W)`` or 3D ``(H, W, D)``; in 3D a hole is
            one of a slice along the last axis, and a component one of the volume.

    Returns:
        Mask ``(B, 1, *S)``, bool, on the device of ``image``; all False for a constant image.

    Raises:
        ValueError: if the shape is another, or a value is not finite.

    Source: Otsu, IEEE Trans. Syst. Man Cybern. 1979.
    """
    if image.ndim not in (4, 5) or image.shape[1] != 1:
        raise ValueError(f"image must be (B, 1, H, W) or (B, 1, H, W, D), got {tuple(image.shape)}.")
    if not bool(torch.isfinite(image).all()):
        raise ValueError("image must be finite, got NaN or infinity.")
    mask = np.zeros(tuple(image.shape), dtype=bool)
    for index, volume in enumerate(image[:, 0].detach().float().cpu().numpy()):
        mask[index, 0] = _body(volume)
    return torch.from_numpy(mask).to(image.device)


def _body(volume: np.ndarray) -> np.ndarray:
    above = volume[volume > volume.min()] if volume.size else volume
    if above.size == 0:
        return np.zeros(volume.shape, dtype=bool)
    clipped = np.minimum(volume, np.percentile(above, _BRIGHTEST))
    bright = volume > threshold_otsu(clipped.ravel())  # flat, because 3 or 4 slices would pass for colours
    # filled first: skull and brain, apart in a thresholded slice, become one component
    in_plane = ndimage.generate_binary_structure(2, 1)
    structure = in_plane if volume.ndim == 2 else in_plane[..., None]
    components = label(ndimage.binary_fill_holes(bright, structure=structure))
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()
