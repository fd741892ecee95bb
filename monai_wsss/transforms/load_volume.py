"""Load a checked volume of any kind."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import SpaceKeys

from monai_wsss.data.read_volume import read_volume


class LoadVolumed(MapTransform):
    """Replace a source by its volume, a float32 MetaTensor `(C, columns, rows, slices)`; a 2D image has one slice.

    It stands in for `LoadImaged` and `EnsureChannelFirstd`: files that would fail later, or worse, would not fail, are
    refused with one line, and nothing of the header but geometry and file name is carried along.

    Args:
        keys: NIfTI file, picture, DICOM file or folder, list of DICOM files, or a `Volume`.
        voi: apply the VOI LUT or window of a projection X-ray.
        resample: mend gaps, uneven spacing and tilt of a DICOM series.
        series: rule that chooses among the series of a DICOM folder.
        allow_missing_keys: do not complain about absent keys.
        channels: C: 1, where colours become luminance, or 3, where grey values stand three times.

    Raises:
        InputError: on call, see `read_volume`.
        ValueError: another number of channels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        voi: bool = False,
        resample: bool = False,
        series: str | None = None,
        allow_missing_keys: bool = False,
        channels: int = 1,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (red, green, blue), got {channels}")
        self.channels = channels
        self.voi, self.resample, self.series = voi, resample, series

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the volumes loaded."""
        items = dict(data)
        for key in self.key_iterator(items):
            volume = read_volume(items[key], self.voi, self.resample, self.series, self.channels == 3)
            meta = {
                "filename_or_obj": str(volume.files[0]),
                "original_affine": torch.from_numpy(volume.affine.copy()),
                "spatial_shape": volume.array.shape[:3],
                "space": SpaceKeys.RAS,
                "original_channel_dim": "no_channel",
                "spacing_known": volume.spacing_known,
            }
            affine = torch.from_numpy(volume.affine.copy())
            array = volume.array[None] if self.channels == 1 else np.moveaxis(volume.array, -1, 0)
            items[key] = MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), affine=affine, meta=meta)
        return items
