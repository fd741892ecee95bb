"""The convolutions of the tied deconvolution network, whose poolings remember where each maximum stood."""

from __future__ import annotations

from typing import cast

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn

from monai_wsss.networks.nets.pooled_classifier import init_conv

# Blocks of (filters, kernel size): Table 1 and Table 2 of the paper.
_BLOCKS = {
    "tuberculosis": (((96, 11),), ((256, 5),), ((384, 3),), ((384, 3),), ((256, 3),)),
    "vgg16": (((64, 3),) * 2, ((128, 3),) * 2, ((256, 3),) * 3, ((512, 3),) * 3, ((512, 3),) * 3),
}


class ConvEncoder(nn.Module):
    """Five blocks of convolutions with ReLU, each followed by a 2x2 max pooling that hands out its switches.

    The convolutions of ``trunk`` have the numbers that torchvision's ``features`` give them, ReLUs and poolings
    counted.

    Args:
        name: `tuberculosis` (Table 1, five convolutions) or `vgg16` (Table 2, thirteen).
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: factor on the channels; 1 is the published network, 0.25 a quarter-width one.

    Raises:
        ValueError: another name, or a width that leaves no channel.

    Attributes:
        spans: first and one past the last convolution of each block.

    Source: Kim and Hwang, Deconvolutional feature stacking, 2016, Tables 1 and 2, Eq. 1.
    """

    def __init__(
        self, name: str = "tuberculosis", spatial_dims: int = 2, in_channels: int = 1, width: float = 1.0
    ) -> None:
        super().__init__()
        if name not in _BLOCKS:
            raise ValueError(f"name must be one of {', '.join(_BLOCKS)}, got {name}.")
        if int(width * min(filters for block in _BLOCKS[name] for filters, _ in block)) < 1:
            raise ValueError(f"width must leave at least one channel, got {width}.")
        self.name = name
        self.trunk = nn.ModuleDict()
        spans: list[tuple[int, int]] = []
        channels, number = in_channels, 0
        for block in _BLOCKS[name]:
            first = len(self.trunk)
            for filters, kernel in block:
                conv = Conv[Conv.CONV, spatial_dims](channels, int(width * filters), kernel, padding=kernel // 2)
                init_conv(conv)
                self.trunk[str(number)] = conv
                channels, number = int(width * filters), number + 2  # with its ReLU
            spans.append((first, len(self.trunk)))
            number += 1  # the pooling
        self.spans = spans
        self.out_channels = channels
        self.stride = 2 ** len(spans)
        self._ends = [end - 1 for _, end in spans]
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2, stride=2, return_indices=True)

    @torch.jit.unused
    def convolutions(self) -> list[nn.Conv2d | nn.Conv3d]:
        """All convolutions in order."""
        return [cast("nn.Conv2d | nn.Conv3d", conv) for conv in self.trunk.values()]

    def weights(self) -> list[Tensor]:
        """Weights of all convolutions in order: the parameters themselves."""
        weights: list[Tensor] = []
        for conv in self.trunk.values():
            weights.append(conv.weight)  # type: ignore[arg-type]
        return weights

    def forward(self, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, list[int]]]]:
        """Features after the last pooling, and each block's switches.

        Args:
            x: images ``(B, C, *S)``, at least 32 pixels along each axis; what a pooling cannot halve loses its last
                row.

        Returns:
            Features ``(B, F, *S / 32)``; for each block the places of the maxima, as indices into the flattened map
            before the pooling, and that map's size.

        Raises:
            ValueError: if the images are too small.
        """
        if min(x.shape[2:]) < self.stride:
            raise ValueError(f"images must have at least {self.stride} pixels along each axis, got {x.shape[2:]}.")
        switches: list[tuple[Tensor, list[int]]] = []
        for number, conv in enumerate(self.trunk.values()):
            x = torch.relu_(conv(x))
            if number in self._ends:
                size: list[int] = list(x.shape[2:])
                x, indices = self.pool(x)
                switches.append((indices, size))
        return x, switches
