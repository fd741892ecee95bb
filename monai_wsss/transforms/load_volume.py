"""Load a checked NIfTI volume."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import SpaceKeys

from monai_wsss.data.nifti import read_nifti


class LoadVolumed(MapTransform):
    """Replace the path of a NIfTI file by its volume, a float32 MetaTensor `(1, H, W, D)`; a 2D image has D = 1.

    It stands in for `LoadImaged` and `EnsureChannelFirstd`: files that would fail later, or worse, would not fail, are
    refused with one line, and nothing of the header but geometry and file name is carried along.

    Raises:
        InputError: see `read_nifti`.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the volumes loaded."""
        items = dict(data)
        for key in self.key_iterator(items):
            array, affine = read_nifti(items[key])
            meta = {
                "filename_or_obj": str(items[key]),
                "original_affine": torch.from_numpy(affine.copy()),
                "spatial_shape": array.shape,
                "space": SpaceKeys.RAS,
                "original_channel_dim": "no_channel",
            }
            items[key] = MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine), meta=meta)
        return items
