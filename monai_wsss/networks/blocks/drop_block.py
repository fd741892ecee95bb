"""Dropout of whole regions of a feature map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DropBlock(nn.Module):
    """Zeroes square (cubic) blocks of features in training; the identity in evaluation.

    ``gamma = p * prod_i n_i / (b_i * (n_i - b_i + 1))`` is the rate of seeds, with ``n_i`` the size of the map and
    ``b_i`` that of the block along axis ``i``. Seeds are drawn where a block fits into the map, for every sample and
    position and for all channels together; what remains is divided by the kept share of the batch.

    The share that is dropped is a little under ``p``, since blocks may overlap. A block larger than the map is cut to
    it: then each sample is dropped whole at rate ``p``. The published code of Viniavskyi et al. uses ``p / b^2``
    anywhere in the map, without the correction for the border.

    Args:
        spatial_dims: 2 or 3.
        drop_prob: share p of features to drop, in [0, 1).
        block_size: edge b of a block, in feature pixels.

    Raises:
        ValueError: if an argument is outside its range.

    Source: Ghiasi et al., DropBlock: a regularization method for convolutional networks, 2018, algorithm 1 and
    equation 1.
    """

    def __init__(self, spatial_dims: int, drop_prob: float = 0.2, block_size: int = 7) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
        if not 0 <= drop_prob < 1:
            raise ValueError(f"drop_prob must lie in [0, 1), got {drop_prob}.")
        if block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {block_size}.")
        self.spatial_dims = spatial_dims
        self.drop_prob = float(drop_prob)
        self.block_size = block_size

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, C, *S)``, some blocks of them zero."""
        if not self.training or self.drop_prob == 0.0:
            return x
        rate = self.drop_prob
        block: list[int] = []
        seeds_shape = [x.shape[0], 1]
        for size in x.shape[2:]:
            edge = min(self.block_size, size)
            rate *= size / (edge * (size - edge + 1))
            block.append(edge)
            seeds_shape.append(size - edge + 1)
        pad: list[int] = []
        for edge in block[::-1]:  # F.pad counts from the last axis
            pad += [edge - 1, edge - 1]

        seeds = (torch.rand(seeds_shape, device=x.device) < rate).float()
        seeds = F.pad(seeds, pad)  # a seed is the first corner of its block
        if self.spatial_dims == 2:
            dropped = F.max_pool2d(seeds, block, stride=1)
        else:
            dropped = F.max_pool3d(seeds, block, stride=1)
        keep = 1.0 - dropped
        scale = keep.mean().clamp(min=1.0 / keep.numel())  # all dropped: 0 / (1 / N) = 0
        return x * (keep / scale).to(x.dtype)

    def extra_repr(self) -> str:
        """Arguments, for ``print(network)``."""
        return f"spatial_dims={self.spatial_dims}, drop_prob={self.drop_prob}, block_size={self.block_size}"
