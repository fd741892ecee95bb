"""Put slices on the network's grid: a pixel size in mm or a fit to the matrix, aspect kept."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.networks.layers import GaussianFilter
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample
from monai.utils import TraceKeys
from scipy.ndimage import gaussian_filter


class ResampleToGridd(MapTransform, InvertibleTransform):
    """Resample `(C, H, W, D)` in plane to square pixels on a `(*size, D)` grid with the same centre.

    One linear resampling does what spacing, padding and cropping do apart: where the grid is larger it holds the
    volume's minimum, where it is smaller it cuts, and `meta["body_cropped_mm"]` says by how much it cuts
    `meta["body_box"]`. Slices stay as they are. Shrinking by a factor f blurs first, with sigma = (f - 1) / 2 source
    pixels (as `skimage.transform.resize`). The inverse has the source's exact shape and affine, and zeros beyond the
    grid.

    Without a pixel size (None) each image is fitted: its square pixels are the smallest, `max_i(n_i s_i / size_i)` for
    n pixels of s mm, with which the grid holds all of it. So nothing is cut, and nothing lies beyond the grid.

    (MONAI's `Spacingd` starts from the first voxel's centre, so it drops every second pixel when it halves a volume.)

    Args:
        keys: float32 MetaTensors `(C, H, W, D)`.
        pixel_spacing: side of a pixel, mm; None fits the image, whose pixel sizes then count by their ratio alone.
        size: matrix in plane, pixels.
        allow_missing_keys: do not complain about absent keys.
    """

    def __init__(
        self, keys: KeysCollection, pixel_spacing: float | None, size: Sequence[int], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if pixel_spacing is not None and not pixel_spacing > 0:
            raise ValueError(f"pixel_spacing must be positive (mm), or none to fit the image, got {pixel_spacing}")
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size must be two positive numbers of pixels, got {size}")
        self.pixel_spacing = None if pixel_spacing is None else float(pixel_spacing)
        self.size = (int(size[0]), int(size[1]))
        self.resample = SpatialResample(mode="bilinear", padding_mode="zeros", align_corners=False, dtype=np.float32)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the volumes resampled."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._to_grid(items[key])
        return items

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the volumes on their source's grid."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self.resample.inverse(items[key])
        return items

    def _to_grid(self, image: MetaTensor) -> MetaTensor:
        affine = image.affine.to(torch.float64)
        shape, size = np.array(image.shape[1:3]), np.array(self.size)
        spacing = torch.linalg.norm(affine[:3, :2], dim=0).cpu().numpy()
        fit, pixel_spacing = self.pixel_spacing is None, self.pixel_spacing or float((shape * spacing / size).max())
        factor = pixel_spacing / spacing
        near = np.isclose(factor, 1, rtol=1e-3) & ((shape <= size) | (not fit))
        factor[near] = 1.0  # a header's rounding is no reason to interpolate
        start = (shape - 1) / 2 - factor * (size - 1) / 2
        start = np.where(factor == 1, np.floor(start), start)  # whole pixels: padding must not blur

        to_source = torch.eye(4, dtype=torch.float64)
        to_source[[0, 1], [0, 1]] = torch.from_numpy(factor)
        to_source[:2, 3] = torch.from_numpy(start)
        floor = image.min()
        smooth = _blur(image, np.maximum(0, (factor - 1) / 2), to_the_edge=fit) - floor
        out = self.resample(smooth, affine @ to_source, (*self.size, image.shape[3])) + floor
        assert isinstance(out, MetaTensor)
        if fit:  # the way back leaves the grid by half a pixel at most, and finds its edge there
            out.applied_operations[-1][TraceKeys.EXTRA_INFO]["padding_mode"] = "border"
        out.meta["body_cropped_mm"] = self._cropped_mm(image, factor, start, pixel_spacing)
        return out

    def _cropped_mm(self, image: MetaTensor, factor: np.ndarray, start: np.ndarray, pixel_spacing: float) -> float:
        """Return how far the body reaches past the grid, mm; less than a pixel counts as 0."""
        box = np.array(image.meta.get("body_box", [[0, n - 1] for n in image.shape[1:3]]))
        on_grid = (box - start[:, None]) / factor[:, None]
        beyond = max((-on_grid[:, 0]).max(), (on_grid[:, 1] - (np.array(self.size) - 1)).max())
        return float(beyond * pixel_spacing) if beyond >= 1 else 0.0


def _blur(image: MetaTensor, sigma: np.ndarray, to_the_edge: bool) -> MetaTensor:
    """Blur in plane; a body that fills a film has no dark rim, so there the edge's value goes on beyond it."""
    if not sigma.any():
        return image
    if to_the_edge:  # SciPy: torch needs 18 s for a film of 3000 x 2500 pixels
        smooth = torch.from_numpy(gaussian_filter(image.cpu().numpy(), (0, *sigma, 0), mode="nearest")).to(image.device)
    else:
        blur = GaussianFilter(spatial_dims=3, sigma=[float(sigma[0]), float(sigma[1]), 1e-3], truncated=4.0)
        smooth = blur(image.as_tensor()[None])[0]
    return MetaTensor(smooth).copy_meta_from(image)
