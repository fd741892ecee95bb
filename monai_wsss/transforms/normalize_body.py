"""Robust intensity normalisation inside the body."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_wsss.errors import InputError
from monai_wsss.ops import body_mask


class NormalizeBodyd(MapTransform):
    """Clip a volume to percentiles of its body and standardise it: `(clip(x, lo, hi) - mean) / std`.

    lo, hi, mean and std are those of the voxels inside `ops.body_mask` (of the clipped values), so that neither air nor
    metal sets the scale; the air is mapped alike. The body's in-plane bounding box goes to `meta["body_box"]`
    (`[[first, last], [first, last]]`, pixels).

    A projection is another matter: lungs on a chest film are as dark as the air beside the body, the mask leaves them
    out, and clipping to the rest would blacken them. There the whole image counts as the body.

    The colours of an image share lo, hi, mean and std, so that their balance stays; their mean shows where the body is.

    Args:
        keys: float32 MetaTensors `(C, H, W, D)`.
        clip: lower and upper percentile, 0 to 100.
        inside_body: False takes the whole image for the body, as projections need it.
        allow_missing_keys: do not complain about absent keys.

    Raises:
        InputError: if all voxels of a volume have one value.
    """

    def __init__(
        self,
        keys: KeysCollection,
        clip: tuple[float, float] = (0.5, 99.5),
        inside_body: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 <= clip[0] < clip[1] <= 100:
            raise ValueError(f"clip must be two percentiles, 0 <= low < high <= 100, got {clip}")
        self.clip = (float(clip[0]), float(clip[1]))
        self.inside_body = inside_body

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the volumes normalised."""
        items = dict(data)
        for key in self.key_iterator(items):
            image = items[key]
            array = image.as_tensor()
            if array.min() == array.max():
                name = image.meta.get("filename_or_obj", key)
                raise InputError(f"{name}: all voxels have the value {array.min():g}; remove it or convert it again")
            grey = array.mean(dim=0, keepdim=True)
            mask = body_mask(grey[None])[0] if self.inside_body else torch.ones_like(grey, dtype=torch.bool)
            body = array[mask.expand_as(array)] if mask.any() else array.flatten()
            low, high = np.percentile(body.cpu().numpy(), self.clip)
            body = body.clamp(low, high)
            std, mean = torch.std_mean(body, correction=0)
            scale = std if low < high else torch.ones_like(std)
            items[key] = (image.clamp(low, high) - mean) / scale
            items[key].meta["body_box"] = _in_plane_box(mask)
        return items


def _in_plane_box(mask: torch.Tensor) -> list[list[int]]:
    """Return first and last index of the mask along each in-plane axis; the whole plane if the mask is empty."""
    box = []
    for axis, others in ((1, (0, 2, 3)), (2, (0, 1, 3))):
        hits = torch.nonzero(mask.any(dim=others)).flatten()
        box.append([int(hits[0]), int(hits[-1])] if len(hits) else [0, mask.shape[axis] - 1])
    return box
