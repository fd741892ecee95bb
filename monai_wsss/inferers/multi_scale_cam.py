"""Class maps of several input scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch import Tensor
from torch.nn import functional as F

from monai_wsss.inferers.class_map_method import METHODS, network_class_maps

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class MultiScaleCAMInferer(Inferer):
    """Mean of the class maps of the image at several scales.

    ``M = 1/n sum_s resize(CAM(resize(x, s)))``, raw: neither normalised nor gated.

    Every scale counts the same. The gradient methods end in a ReLU, which each scale's map passes before the mean;
    Grad-CAM and LayerCAM come times the number of positions, and no Grad-CAM++ weighs a scale by ``exp(logit)``.
    They need no gradients enabled: the inferer runs in ``torch.no_grad`` and in ``torch.inference_mode``.

    Args:
        scales: factors on the image's size, each > 0.
        flips: also take the maps of the mirrored image, mirrored back, at every scale.
        flip_axis: spatial axis that is mirrored, as in MONAI's ``Flip``: -1 is the last.
        mirror_classes: p, where class k of a mirrored image is class p[k] of the image, as the function of this name
            in ``monai_wsss.data`` gives it; () if no class has a side. ``flips`` needs it.
        method: "cam", "grad_cam", "grad_cam_pp" (the paper's Grad-CAM++), "grad_cam_pp_code" (the published code's) or
            "layer_cam".
        target: dotted name of the layer whose features the gradient methods weigh: "last" in the classifiers here,
            "layer4" in MONAI's ResNet, "features" in its DenseNet. "cam" does without.

    Raises:
        ValueError: if ``scales`` is empty or holds a value <= 0, p is no permutation, ``flips`` lacks it, or there is
            no such method.

    Source: Liu et al., Mixed-UNet, 2022, Eq. 3 (scales 0.5, 1, 1.5, 2; no flips); Grad-CAM++ for chest X-ray:
    Viniavskyi et al., 2020. The formulae are in ``monai_wsss.ops.gradient_map``.
    """

    def __init__(
        self,
        scales: Sequence[float] = (0.5, 1.0, 1.5, 2.0),
        flips: bool = False,
        flip_axis: int = -1,
        mirror_classes: Sequence[int] | None = None,  # MONAI's parser leaves out an argument that comes out as None
        method: str = "cam",
        target: str = "last",
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must be one or more factors > 0, got {scales}.")
        if flips and mirror_classes is None:
            raise ValueError("flips must be false: a class may name a side, and its other side is unknown.")
        self.order = list(mirror_classes or ())
        if sorted(self.order) != list(range(len(self.order))):
            raise ValueError(f"mirror_classes must be a permutation from 0, got {mirror_classes}.")
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
        self.scales = tuple(scales)
        self.flips = flips
        self.flip_axis = flip_axis
        self.method = method
        self.target = target

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Class maps ``(B, K, *S)``, in float32 even of a network in half precision, on the device of the images.

        Args:
            inputs: images ``(B, C, *S)``.
            network: for "cam" it has ``features(x, *args, **kwargs) -> (B, F, *S')`` and ``class_weight (K, F)``; for
                the gradient methods any module in evaluation mode that gives logits ``(B, K)``; its weights may be
                frozen, and their ``grad`` stays as it is.
            args: passed on to the network.
            kwargs: passed on to the network.

        Raises:
            ValueError: if ``flips`` meets another number of classes than ``mirror_classes`` has, or the network does
                not suit the method.
        """
        images = convert_to_tensor(inputs)
        size = tuple(images.shape[2:])
        axis = range(2, images.ndim)[self.flip_axis]
        views = []
        for scale in self.scales:
            view = _resize(images, tuple(max(1, round(n * scale)) for n in size))
            maps = self._maps(network, view, *args, **kwargs)
            if self.flips:
                maps = (maps + self._swap(self._maps(network, view.flip(axis), *args, **kwargs).flip(axis))) / 2
            views.append(_resize(maps, size))
        return torch.stack(views).mean(dim=0)

    def _maps(self, network: Any, images: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return network_class_maps(self.method, self.target, network, images, *args, **kwargs)

    def _swap(self, maps: Tensor) -> Tensor:
        """Maps of a mirrored image, each at its own class's place again."""
        if self.order and len(self.order) != maps.shape[1]:
            raise ValueError(f"mirror_classes has {len(self.order)} classes, the network {maps.shape[1]}.")
        return maps[:, self.order] if self.order else maps


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode=_MODES[len(size)], align_corners=False)
