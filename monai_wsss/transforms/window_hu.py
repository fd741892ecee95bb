"""Windows of CT in Hounsfield units as channels, inside the head."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, generate_spatial_bounding_box

from monai_wsss.errors import InputError
from monai_wsss.ops.head_mask import AIR, head_mask

LOWEST = -2.0
"""What is outside the head, and what is darker than a window, exactly: resampling leaves it as it is."""


class WindowHUd(MapTransform):
    """Show CT in windows, one a channel: `4 clip((x - (L - W / 2)) / W, 0, 1) - 2` for level L and width W.

    Outside the head, see `ops.head_mask`, every channel has the window's lowest value, -2: table and headrest go. The
    head's in-plane bounding box goes to `meta["body_box"]` (`[[first, last], [first, last]]`, pixels).

    Hounsfield units are absolute, so the scale is the same for every volume: one that is taken from the volume itself,
    as `NormalizeBodyd` does, would change with the size of the bleeding. [-2, 2] is the window in units of a standard
    deviation of a quarter window, about what a body that is standardised spans, and about what ImageNet's mean and
    standard deviation make of [0, 1]. So augmentations and pre-trained weights meet the numbers that they expect.

    Stands before the resampling: bone of 1500 HU, averaged with what lies beside it and then windowed, would leave a
    bright rim like a subdural haemorrhage.

    Args:
        keys: float32 MetaTensors `(1, H, W, D)`, Hounsfield units.
        windows: level and width of each window, HU.
        inside_head: False takes the whole image for the head.
        allow_missing_keys: do not complain about absent keys.

    Raises:
        InputError: on call, where nothing is as dark as air, so that the values are no Hounsfield units, or all is.
        ValueError: no window, or one that is no level and positive width.
    """

    def __init__(
        self,
        keys: KeysCollection,
        windows: Sequence[Sequence[float]] = ((40, 80), (80, 200), (600, 2800)),
        inside_head: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(windows) == 0 or any(len(window) != 2 or not window[1] > 0 for window in windows):
            raise ValueError(f"windows must be [level, width > 0] each, HU, got {windows}")
        self.windows = [[float(level), float(width)] for level, width in windows]
        self.inside_head = inside_head

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the volumes `(number of windows, H, W, D)`."""
        items = dict(data)
        for key in self.key_iterator(items):
            image = items[key]
            head = self._head(image, image.meta.get("filename_or_obj", key))
            low, width = (
                torch.tensor(values, dtype=image.dtype, device=image.device).reshape(-1, 1, 1, 1)
                for values in zip(*((level - width / 2, width) for level, width in self.windows), strict=True)
            )
            share = ((image.as_tensor() - low) / width).clamp(0, 1) * head
            items[key] = MetaTensor(4 * share + LOWEST).copy_meta_from(image)
            first, end = generate_spatial_bounding_box(head, allow_smaller=True)
            items[key].meta["body_box"] = [[int(a), int(b) - 1] for a, b in zip(first[:2], end[:2], strict=True)]
        return items

    def _head(self, image: MetaTensor, name: Any) -> torch.Tensor:
        values = image.as_tensor()
        if not bool((values < AIR).any()):
            raise InputError(
                f"{name}: no Hounsfield units (nothing below {AIR:g}, so no air); give CT that was not converted, or "
                "for pictures and rescaled images use the overlay pictures (windows: null)"
            )
        if not self.inside_head:
            return torch.ones_like(values, dtype=torch.bool)
        head = head_mask(values[None], torch.linalg.norm(image.affine[:3, :2], dim=0).tolist())[0]
        if not bool(head.any()):
            raise InputError(f"{name}: nothing but air (no voxel above {AIR:g} HU); remove it or convert it again")
        return head
