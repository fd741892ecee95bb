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

    Raises:
        ValueError: if ``scales`` is empty or holds a value <= 0.

    Source: Liu et al., Mixed-UNet, 2022, Eq. 3 (scales 0.5, 1, 1.5, 2; no flips).
    """

    def __init__(
        self, scales: Sequence[float] = (0.5, 1.0, 1.5, 2.0), flips: bool = False, flip_axis: int = -1
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must be one or more factors > 0, got {scales}.")
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
        """
        images = convert_to_tensor(inputs)
        size = tuple(images.shape[2:])
        axis = range(2, images.ndim)[self.flip_axis]
        views = []
        for scale in self.scales:
            view = _resize(images, tuple(max(1, round(n * scale)) for n in size))
            maps = _maps(network, view, *args, **kwargs)
            if self.flips:
                maps = (maps + _maps(network, view.flip(axis), *args, **kwargs).flip(axis)) / 2
            views.append(_resize(maps, size))
        return torch.stack(views).mean(dim=0)


def _maps(network: Any, images: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return class_maps(network.features(images, *args, **kwargs), network.class_weight)


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode=_MODES[len(size)], align_corners=False)
