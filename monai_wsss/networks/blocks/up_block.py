"""One step up in a U-Net."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from monai.networks.nets.basic_unet import TwoConv
from torch import Tensor, nn


class UpBlock(nn.Module):
    """Transposed convolution with stride 2, crop to the skip, concatenate, two convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels from below.
        out_channels: channels of the skip connection and of the output.
        kernel_size: size of the transposed convolution, 2 or 3; the size is doubled with both.

    Raises:
        ValueError: if ``kernel_size`` is neither 2 nor 3.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 2) -> None:
        super().__init__()
        if kernel_size not in (2, 3):
            raise ValueError(f"up_kernel must be 2 or 3, got {kernel_size}.")
        odd = kernel_size - 2
        self.up = Conv[Conv.CONVTRANS, spatial_dims](
            in_channels, out_channels, kernel_size=kernel_size, stride=2, padding=odd, output_padding=odd
        )
        self.convs = TwoConv(
            spatial_dims, 2 * out_channels, out_channels, act=("relu", {"inplace": True}), norm="batch", bias=True
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Features of the size of ``skip (B, out_channels, *S)``; ``x (B, in_channels, *S / 2)`` is rounded up."""
        x = self.up(x)
        for dim in range(2, skip.dim()):
            x = x.narrow(dim, 0, skip.size(dim))
        return self.convs(torch.cat([skip, x], dim=1))
