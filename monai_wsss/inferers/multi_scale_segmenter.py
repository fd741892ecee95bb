"""A segmenter's logits over several input scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.utils import convert_to_tensor
from torch import Tensor
from torch.nn import functional as F

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class MultiScaleSegmenter:
    """Mean of a segmenter's logits of the image at several scales.

    ``z = 1/n sum_s resize(network(resize(x, s)))``

    DSRG's published code takes the sum. That has the same arg-max, but probabilities n times as sure of themselves.

    Args:
        network: maps images ``(B, C, *S)`` of any size to logits ``(B, out, *S')``; in evaluation mode.
        scales: factors on the image's size, each > 0.
        flips: also take the logits of the mirrored image, mirrored back, at every scale.
        flip_axis: spatial axis that is mirrored, as in MONAI's ``Flip``: -1 is the last.
        mirror_classes: p, where class k of a mirrored image is class p[k] of the image, as the function of this name
            in ``monai_wsss.data`` gives it; () if no class has a side. ``flips`` needs it.

    Raises:
        ValueError: if ``scales`` is empty or holds a value <= 0, p is no permutation, or ``flips`` lacks it.

    Source: Huang et al., DSRG, CVPR 2018, section 4.1; scales 0.75, 1, 1.25 of the published code.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        scales: Sequence[float] = (0.75, 1.0, 1.25),
        flips: bool = False,
        flip_axis: int = 0,
        mirror_classes: Sequence[int] | None = None,
    ) -> None:
        if not scales or not all(0 < scale < float("inf") for scale in scales):
            raise ValueError(f"scales must be one or more factors > 0, got {scales}.")
        if flips and mirror_classes is None:
            raise ValueError("flips must be false: a class may name a side, and its other side is unknown.")
        order = list(mirror_classes or ())
        if sorted(order) != list(range(len(order))):
            raise ValueError(f"mirror_classes must be a permutation from 0, got {mirror_classes}.")
        self.network = network
        self.scales = tuple(scales)
        self.flips = flips
        self.flip_axis = flip_axis
        self.order = order

    @torch.no_grad()
    def __call__(self, inputs: Tensor, *args: object, **kwargs: object) -> Tensor:
        """Logits ``(B, out, *S)`` of images ``(B, C, *S)``, in float32 even of a network in half precision.

        Args:
            inputs: images.
            args: passed on to the network.
            kwargs: passed on to the network.

        Raises:
            TypeError: if the network gives anything but one tensor.
            ValueError: if ``flips`` meets another number of channels than ``mirror_classes`` has classes, background
                included or not.
        """
        images = convert_to_tensor(inputs)
        size = images.shape[2:]
        axis = range(2, images.ndim)[self.flip_axis]
        total = images.new_zeros((), dtype=torch.float32)
        for scale in self.scales:
            view = _resize(images, [max(1, round(n * scale)) for n in size])
            logits = self._logits(view, *args, **kwargs)
            if self.flips:
                mirrored = self._logits(view.flip(axis), *args, **kwargs).flip(axis)
                logits = (logits + self._swap(mirrored)) / 2
            total = total + _resize(logits, size)
        return total / len(self.scales)

    def _logits(self, view: Tensor, *args: object, **kwargs: object) -> Tensor:
        logits = self.network(view, *args, **kwargs)
        if not isinstance(logits, Tensor):
            raise TypeError(f"the network must give one tensor of logits, got {type(logits).__name__}.")
        return logits.float()

    def _swap(self, logits: Tensor) -> Tensor:
        """Logits of a mirrored image, each at its own class's channel again."""
        if not self.order:
            return logits
        background = logits.shape[1] - len(self.order)
        if background not in (0, 1):
            raise ValueError(f"mirror_classes has {len(self.order)} classes, the network {logits.shape[1]} channels.")
        return logits[:, [*range(background), *(background + k for k in self.order)]]


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if x.shape[2:] == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode=_MODES[len(size)], align_corners=False)
