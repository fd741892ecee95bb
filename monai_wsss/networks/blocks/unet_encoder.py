"""The contracting half of a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from monai.networks.layers.factories import Pool
from monai.networks.nets.basic_unet import TwoConv
from torch import Tensor, nn


class UNetEncoder(nn.Module):
    """Two convolutions (3x3, batch norm, ReLU) a level, max pooling with stride 2 in between.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        channels: channels of each level, fine to coarse.
        pool_kernel: size of the pooling window, 2 or 3; sizes are halved and rounded up with both.

    Raises:
        ValueError: if ``pool_kernel`` is neither 2 nor 3.
    """

    def __init__(self, spatial_dims: int, in_channels: int, channels: Sequence[int], pool_kernel: int = 2) -> None:
        super().__init__()
        if pool_kernel not in (2, 3):
            raise ValueError(f"pool_kernel must be 2 or 3, got {pool_kernel}.")
        # Rounding up (by ceil_mode or by the padding) leaves the decoder a crop to do, never values to invent.
        self.pool = Pool[Pool.MAX, spatial_dims](
            kernel_size=pool_kernel, stride=2, padding=(pool_kernel - 1) // 2, ceil_mode=pool_kernel == 2
        )
        sizes = [in_channels, *channels]
        self.levels = nn.ModuleList(
            TwoConv(spatial_dims, before, after, act=("relu", {"inplace": True}), norm="batch", bias=True)
            for before, after in pairwise(sizes)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of each level, fine to coarse, of ``x (B, C, *S)``."""
        features: list[Tensor] = []
        for i, level in enumerate(self.levels):
            x = level(x if i == 0 else self.pool(x))
            features.append(x)
        return features
