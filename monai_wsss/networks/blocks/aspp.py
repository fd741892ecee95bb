"""Atrous spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn import functional as F


class ASPP(nn.Module):
    """A 1x1 convolution, 3x3 convolutions at several rates and the image's mean, side by side, then merged.

    ``y = conv1x1([conv1x1(x), conv3x3_r1(x), .., conv3x3_rn(x), conv1x1(mean x)])``, batch norm and ReLU after each.

    MONAI's SimpleASPP has no image pooling and no norm or ReLU within its branches.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the features.
        out_channels: channels of each branch and of the output.
        rates: dilations of the 3x3 convolutions, in feature pixels; 6, 12, 18 at output stride 16, twice that at 8.

    Source: Chen et al., Rethinking atrous convolution for semantic image segmentation, 2017, section 3.3.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int = 256, rates: Sequence[int] = (6, 12, 18)
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            conv_norm_relu(spatial_dims, in_channels, out_channels, size, rate)
            for size, rate in [(1, 1), *((3, rate) for rate in rates)]
        )
        self.pooling = ImagePooling(spatial_dims, in_channels, out_channels)
        self.merge = conv_norm_relu(spatial_dims, (len(rates) + 2) * out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, out_channels, *S)`` of features ``(B, in_channels, *S)``."""
        branches = [branch(x) for branch in self.branches]
        branches.append(self.pooling(x))
        return self.merge(torch.cat(branches, dim=1))


class ImagePooling(nn.Module):
    """The image's mean feature through a 1x1 convolution, batch norm and ReLU, at every pixel.

    The norm sees one value per image. From a batch of one no statistics can be had, so the running ones are used.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the features.
        out_channels: channels of the output.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv[Conv.CONV, spatial_dims](in_channels, out_channels, kernel_size=1, bias=False)
        self.norm = Norm[Norm.BATCH, spatial_dims](out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, out_channels, *S)``, constant over ``*S``, of features ``(B, in_channels, *S)``."""
        size = x.shape[2:]
        mean = x.flatten(2).mean(dim=2).reshape([x.size(0), x.size(1)] + [1] * len(size))
        pooled = self.conv(mean)
        if self.training and x.size(0) == 1:  # one value a channel has no variance
            norm = self.norm
            pooled = F.batch_norm(pooled, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        else:
            pooled = self.norm(pooled)
        return F.relu(pooled).expand([-1, -1] + list(size))  # noqa: RUF005, TorchScript does not unpack


def conv_norm_relu(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int, rate: int = 1
) -> Convolution:
    """Convolution that keeps the size, batch norm, ReLU.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd, in pixels.
        rate: dilation, in pixels.
    """
    return Convolution(
        spatial_dims,
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        dilation=rate,
        act=("relu", {"inplace": True}),
        norm="batch",
        bias=False,
    )
