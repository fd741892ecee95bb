"""DeepLabV3 and DeepLabV3+."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.networks.blocks.aspp import ASPP, conv_norm_relu
from monai_wsss.networks.encoders.atrous_resnet import AtrousResNet

# Rates of the pyramid by output stride, so that they span the same pixels of the image.
_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}


class DeepLabV3(nn.Module):
    """ResNet at output stride 16 or 8, atrous spatial pyramid pooling, 3x3 and 1x1 convolution, interpolated.

    Images of any size are taken. The trunk is ``encoder``, by torchvision's key names.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: 1 (sigmoid head) or number of classes + 1 (softmax head).
        depth: of the ResNet: 18, 34, 50 or 101.
        output_stride: image pixels per feature pixel, 16 or 8.
        channels: channels of the pyramid, before ``width``.
        width: factor on all channels; 1 is the published network, less is for tests and small runs.

    Raises:
        ValueError: if ``output_stride`` or ``depth`` is none of the above.

    Source: Chen et al., Rethinking atrous convolution for semantic image segmentation, 2017, section 3.3, without the
    multi-grid; the 3x3 convolution, which the paper does not have, is that of the public implementations in torchvision
    and segmentation-models-pytorch, and of Mixed-UNet's comparison (its table IV: 39,633,729 parameters).
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        depth: int = 50,
        output_stride: int = 16,
        channels: int = 256,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if output_stride not in _RATES:
            raise ValueError(f"output_stride must be 16 or 8, got {output_stride}.")
        self.interpolation = "bilinear" if spatial_dims == 2 else "trilinear"
        self.encoder = AtrousResNet(spatial_dims, in_channels, depth, output_stride, width)
        channels = int(width * channels)
        self.aspp = ASPP(spatial_dims, self.encoder.level_channels[-1], channels, _RATES[output_stride])
        self.refine: nn.Module = conv_norm_relu(spatial_dims, channels, channels, 3)
        self.head = Conv[Conv.CONV, spatial_dims](channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *S)`` of images ``(B, C, *S)``."""
        logits = self.head(self.refine(self.aspp(self.encoder(x)[-1])))
        return F.interpolate(logits, size=x.shape[2:], mode=self.interpolation, align_corners=False)


class DeepLabV3Plus(DeepLabV3):
    """DeepLabV3 with a decoder: the pyramid's features are refined at stride 4 beside 48 channels of ``layer1``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: 1 (sigmoid head) or number of classes + 1 (softmax head).
        depth: of the ResNet: 18, 34, 50 or 101.
        output_stride: image pixels per feature pixel, 16 or 8.
        channels: channels of the pyramid and of the decoder, before ``width``.
        low_level_channels: channels that ``layer1`` is projected to, before ``width``.
        width: factor on all channels; 1 is the published network, less is for tests and small runs.

    Raises:
        ValueError: if ``output_stride`` or ``depth`` is none of the above.

    Source: Chen et al., Encoder-decoder with atrous separable convolution, 2018, sections 3.1 and 4.1; with ResNet's
    plain convolutions in place of Xception's separable ones.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        depth: int = 50,
        output_stride: int = 16,
        channels: int = 256,
        low_level_channels: int = 48,
        width: float = 1.0,
    ) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, depth, output_stride, channels, width)
        channels, low_level_channels = int(width * channels), int(width * low_level_channels)
        self.project = conv_norm_relu(spatial_dims, self.encoder.level_channels[1], low_level_channels, 1)
        self.refine = nn.Sequential(
            conv_norm_relu(spatial_dims, channels + low_level_channels, channels, 3),
            conv_norm_relu(spatial_dims, channels, channels, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *S)`` of images ``(B, C, *S)``."""
        levels = self.encoder(x)
        low = self.project(levels[1])
        high = F.interpolate(self.aspp(levels[-1]), size=low.shape[2:], mode=self.interpolation, align_corners=False)
        logits = self.head(self.refine(torch.cat([high, low], dim=1)))
        return F.interpolate(logits, size=x.shape[2:], mode=self.interpolation, align_corners=False)
