"""Random mirroring that knows left from right."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import RandFlipd
from monai.utils import TraceKeys, ensure_tuple

from monai_wsss.data.laterality import mirror_classes

logger = logging.getLogger(__name__)


class RandMirrord(RandFlipd):
    """MONAI's `RandFlipd` along one axis; where it mirrors, left and right classes change places, see `mirror_classes`.

    The class vector is permuted, and label k + 1 of a label map becomes p[k] + 1 (0 and 255 stay). Images are never
    mirrored if a class with a side has no partner. The random numbers are `RandFlipd`'s.

    A mirror image along either in-plane axis turns left into right: the second is the first one turned by 180 degrees,
    and a turn changes no handedness. A picture of a patient who lies askew still shows which side is which by the
    anatomy, so rotations leave the classes as they are.

    Args:
        keys: images and label maps to mirror, `(C, *S)`.
        labels: class names.
        classes_key: key of the class vector `(K,)`; an item without it has none.
        label_keys: those of `keys` that hold label maps.
        prob: probability of mirroring.
        spatial_axis: the one axis to mirror along.
        allow_missing_keys: do not complain about absent keys.

    Raises:
        ValueError: for several axes: two flips are a turn.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: Sequence[str],
        classes_key: str = "classes",
        label_keys: KeysCollection = (),
        prob: float = 0.1,
        spatial_axis: int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        if not isinstance(spatial_axis, int):
            raise ValueError(f"spatial_axis must be one axis, got {spatial_axis}")
        self.permutation = _permutation(tuple(labels))
        prob = 0.0 if self.permutation is None else prob
        super().__init__(keys, prob, spatial_axis, allow_missing_keys)
        self.classes_key, self.label_keys = classes_key, ensure_tuple(label_keys)

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Return `data`, mirrored or as it was."""
        items = super().__call__(data, lazy)
        return self._swap(items) if self._do_transform else items

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` as it was."""
        last = [self.get_most_recent_transform(data[key]) for key in self.key_iterator(dict(data))]
        items = super().inverse(data)
        return self._swap(items) if last and last[0][TraceKeys.DO_TRANSFORM] else items

    def _swap(self, items: dict[Hashable, Any]) -> dict[Hashable, Any]:
        order = list(self.permutation or ())
        if order == sorted(order):
            return items
        if self.classes_key in items:
            classes = items[self.classes_key]
            items[self.classes_key] = (classes if isinstance(classes, torch.Tensor) else np.asarray(classes))[order]
        for key in self.label_keys:
            if key in items or not self.allow_missing_keys:
                items[key] = _relabel(items[key], order)
        return items


def _relabel(labels: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    out = labels.clone()
    for old, new in enumerate(order):
        if old != new:
            out[labels == old + 1] = new + 1
    return out


@lru_cache
def _permutation(labels: tuple[str, ...]) -> tuple[int, ...] | None:
    found = mirror_classes(labels)
    if found is None:  # once a process, not once a transform
        logger.info("images are not mirrored: a class names a side, and none of the classes is its other side")
    return found
