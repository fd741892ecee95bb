"""Turn the slices of a volume upright without touching their order."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Orientation
from monai.transforms.spatial.functional import orientation
from monai.utils import TraceKeys

_IN_PLANE = "LPI"  # patient axes in this order and sense: axial (L, P), coronal (L, I), sagittal (P, I)
_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


class OrientInPlane(Orientation):
    """Flip and swap the first two axes of `(C, H, W, D)` to the patient's left, posterior, inferior, in this order.

    Axial slices become (L, P), coronal (L, I), sagittal (P, I), oblique ones what they are closest to. The third axis
    keeps its place and sense, so that slice i stays slice i. The inverse restores the affine bit by bit.
    """

    def __init__(self) -> None:
        super().__init__(axcodes=_IN_PLANE, labels=_LABELS)

    def __call__(self, data_array: torch.Tensor, lazy: bool | None = None) -> torch.Tensor:
        """Return the volume with its slices turned."""
        if not isinstance(data_array, MetaTensor):
            raise TypeError(f"expected a MetaTensor with an affine, got {type(data_array).__name__}")
        affine = data_array.affine.cpu().numpy()
        source = nib.io_orientation(affine)
        through = "".join(nib.orientations.ornt2axcodes(source[2:], labels=(_LABELS[int(source[2, 0])],) * 3))
        codes = [code for pair, code in zip(_LABELS, _IN_PLANE, strict=True) if through not in pair] + [through]
        change = nib.orientations.ornt_transform(source, nib.orientations.axcodes2ornt(codes, labels=_LABELS))
        return orientation(data_array, affine, change, lazy=False, transform_info=self.get_transform_info())

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Return the volume as it was."""
        assert isinstance(data, MetaTensor)
        original = data.applied_operations[-1][TraceKeys.EXTRA_INFO]["original_affine"]
        restored = super().inverse(data)
        assert isinstance(restored, MetaTensor)
        restored.affine = torch.as_tensor(np.asarray(original), dtype=torch.float64)
        return restored


class OrientInPlaned(MapTransform, InvertibleTransform):
    """Dictionary-based `OrientInPlane`."""

    def __init__(self, keys: Any, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.orient = OrientInPlane()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the volumes turned."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self.orient(items[key])
        return items

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the volumes turned back."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self.orient.inverse(items[key])
        return items
