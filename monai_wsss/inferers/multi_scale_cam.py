"""Class maps of several input scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch import Tensor
from torch.nn import functional as F

from monai_wsss.ops import class_maps

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class MultiScaleCAMInferer(Inferer):
    """Mean of the class activation maps of the image at several scales.

    ``M = 1/n sum_s resize(CAM(resize(x, s)))``, raw: neither normalised nor gated.

    Args:
        scales: factors on the image's size, each > 0.
        flips: also take the maps of the mirrored image, mirrored back, at every scale.
        flip_axis: spatial axis that is mirrored, as in MONAI's ``Flip``: -1 is the last.
        mirror_classes: p, where class k of a mirrored image is class p[k] of the image, as the function of this name
            in ``monai_wsss.data`` gives it; () if no class has a side. ``flips`` needs it.

    Raises:
        ValueError: if ``scales`` is empty or holds a value <= 0, p is no permutation, or ``flips`` lacks it.

    Source: Liu et al., Mixed-UNet, 2022, Eq. 3 (scales 0.5, 1, 1.5, 2; no flips).
    """

    def __init__(
        self,
        scales: Sequence[float] = (0.5, 1.0, 1.5, 2.0),
        flips: bool = False,
        flip_axis: int = -1,
        mirror_classes: Sequence[int] | None = None,  # MONAI's parser leaves out an argument that comes out as None
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must be one or more factors > 0, got {scales}.")
        if flips and mirror_classes is None:
            raise ValueError("flips must be false: a class may name a side, and its other side is unknown.")
        self.order = list(mirror_classes or ())
        if sorted(self.order) != list(range(len(self.order))):
            raise ValueError(f"mirror_classes must be a permutation from 0, got {mirror_classes}.")
        self.scales = tuple(scales)
        self.flips = flips
        self.flip_axis = flip_axis

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Class maps ``(B, K, *S)``, in float32 even of a network in half precision, on the device of the images.

        Args:
            inputs: images ``(B, C, *S)``.
            network: has ``features(x, *args, **kwargs) -> (B, F, *S')`` and ``class_weight (K, F)``.
            args: passed on to ``network.features``.
            kwargs: passed on to ``network.features``.

        Raises:
            ValueError: if ``flips`` meets another number of classes than ``mirror_classes`` has.
        """
        images = convert_to_tensor(inputs)
        size = tuple(images.shape[2:])
        axis = range(2, images.ndim)[self.flip_axis]
        views = []
        for scale in self.scales:
            view = _resize(images, tuple(max(1, round(n * scale)) for n in size))
            maps = _maps(network, view, *args, **kwargs)
            if self.flips:
                maps = (maps + self._swap(_maps(network, view.flip(axis), *args, **kwargs).flip(axis))) / 2
            views.append(_resize(maps, size))
        return torch.stack(views).mean(dim=0)

    def _swap(self, maps: Tensor) -> Tensor:
        """Maps of a mirrored image, each at its own class's place again."""
        if self.order and len(self.order) != maps.shape[1]:
            raise ValueError(f"mirror_classes has {len(self.order)} classes, the network {maps.shape[1]}.")
        return maps[:, self.order] if self.order else maps


def _maps(network: Any, images: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return class_maps(network.features(images, *args, **kwargs), network.class_weight)


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode=_MODES[len(size)], align_corners=False)
