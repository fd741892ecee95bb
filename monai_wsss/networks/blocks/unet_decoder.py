"""The expanding half of a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from monai_wsss.networks.blocks.up_block import UpBlock


class UNetDecoder(nn.Module):
    """One :class:`UpBlock` a level, from the coarsest features back to the finest.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of each level of the encoder, fine to coarse.
        up_kernel: size of the transposed convolutions, 2 or 3.
    """

    def __init__(self, spatial_dims: int, channels: Sequence[int], up_kernel: int = 2) -> None:
        super().__init__()
        coarse_first = list(channels)[::-1]
        self.ups = nn.ModuleList(
            UpBlock(spatial_dims, before, after, up_kernel) for before, after in pairwise(coarse_first)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features ``(B, channels[0], *S)`` from the encoder's levels, fine to coarse."""
        x = features[-1]
        for i, up in enumerate(self.ups):
            x = up(x, features[-2 - i])
        return x
