"""Inception module."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv, Norm, Pad, Pool
from torch import Tensor, nn


class ConvNormReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU, by torchvision's names ``conv`` and ``bn``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd, in pixels.
        stride: 1, or 2, which halves sizes and rounds up.
        rate: dilation, in pixels.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, rate: int = 1
    ) -> None:
        super().__init__()
        self.conv = Conv[Conv.CONV, spatial_dims](
            in_channels,
            out_channels,
            kernel_size=kernel_size,
            stride=stride,
            padding=rate * (kernel_size // 2),
            dilation=rate,
            bias=False,
        )
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        self.bn = Norm[Norm.BATCH, spatial_dims](out_channels, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Non-negative features ``(B, out_channels, *S)`` of ``x (B, in_channels, *S)``."""
        return self.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches side by side, concatenated: 1x1; 1x1, 3x3; 1x1, 3x3; 3x3 max pooling, 1x1.

    torchvision's third branch has 3x3 where the paper has 5x5, and its published weights with it.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        channels: channels of the six convolutions, in the order above.
        rate: dilation of all 3x3 windows, in pixels.

    Source: Szegedy et al., Going deeper with convolutions, 2015, figure 2b; batch norm: Ioffe and Szegedy, 2015.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, channels: tuple[int, int, int, int, int, int], rate: int = 1
    ) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = channels
        self.branch1 = ConvNormReLU(spatial_dims, in_channels, one, 1)
        self.branch2 = nn.Sequential(
            ConvNormReLU(spatial_dims, in_channels, reduce3, 1),
            ConvNormReLU(spatial_dims, reduce3, three, 3, rate=rate),
        )
        self.branch3 = nn.Sequential(
            ConvNormReLU(spatial_dims, in_channels, reduce5, 1),
            ConvNormReLU(spatial_dims, reduce5, five, 3, rate=rate),
        )
        self.branch4 = nn.Sequential(
            # The pooling's own padding may not exceed half its kernel; features are not negative, so zeros do no harm
            nn.Sequential(
                Pad[Pad.CONSTANTPAD, spatial_dims](rate, 0.0),
                Pool[Pool.MAX, spatial_dims](kernel_size=3, stride=1, dilation=rate),
            ),
            ConvNormReLU(spatial_dims, in_channels, pooled, 1),
        )
        self.out_channels = one + three + five + pooled

    def forward(self, x: Tensor) -> Tensor:
        """Non-negative features ``(B, out_channels, *S)`` of non-negative ``x (B, in_channels, *S)``."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)
