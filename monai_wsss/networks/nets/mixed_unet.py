"""Mixed-UNet: one encoder, two decoders, one fused output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_wsss.networks.blocks import UNetDecoder, UNetEncoder


class MixedUNet(nn.Module):
    """U-Net with a shared encoder and two decoders of the same form that share no weights.

    ``logits = conv1x1(concat(decoder1(E(x)), decoder2(E(x))))``

    Inputs of any size are taken: odd sizes are rounded up in pooling and cropped back in the decoders.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input image.
        out_channels: 1 (sigmoid head) or background + classes (softmax head).
        channels: channels of each level, fine to coarse.
        up_kernel: size of the transposed convolutions, 2 or 3 (the paper's text).
        pool_kernel: size of the max pooling, 2 or 3 (the paper's text), always with stride 2.

    Raises:
        ValueError: if ``channels`` has fewer than two levels or a kernel is neither 2 nor 3.

    Source: Liu et al., Mixed-UNet: refined class activation mapping for weakly-supervised semantic segmentation with
    multi-scale inference, 2022, section III. The printed parameter count (10,303,105) fits no natural configuration;
    with three input channels and one output this one has 10,716,737 (2x2) or 12,437,057 (3x3).
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = (64, 128, 256, 512),
        up_kernel: int = 2,
        pool_kernel: int = 2,
    ) -> None:
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f"channels must name at least two levels, got {tuple(channels)}.")
        self.encoder = UNetEncoder(spatial_dims, in_channels, channels, pool_kernel)
        self.decoder1 = UNetDecoder(spatial_dims, channels, up_kernel)
        self.decoder2 = UNetDecoder(spatial_dims, channels, up_kernel)
        self.head = Conv[Conv.CONV, spatial_dims](2 * channels[0], out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *S)`` of images ``(B, C, *S)``."""
        levels = self.encoder(x)
        return self.head(torch.cat([self.decoder1(levels), self.decoder2(levels)], dim=1))
