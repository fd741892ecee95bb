"""Fully convolutional network."""

from __future__ import annotations

from itertools import pairwise

from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_wsss.networks.encoders.vgg_encoder import VGGEncoder

_CHANNELS = (512, 256, 128, 64, 32)


class FCN(nn.Module):
    """VGG16's convolutions, then five 3x3 transposed convolutions with batch norm and ReLU, each of stride 2, and 1x1.

    ``x_5 = E_5(I), x_i = relu(norm(up(x_{i+1}))) + E_i(I) for i = 4, 3, .., logits = conv1x1(x_0)``

    where ``E_i`` are the encoder's levels and the sum is taken for i = 4 and 3, as in FCN-8s. Sizes are rounded up on
    the way down and cropped on the way up, so that images of any size are taken. The trunk is ``encoder``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: 1 (sigmoid head) or number of classes + 1 (softmax head).
        width: factor on all channels; 1 is the published network, less is for tests and small runs.

    Source: Long et al., Fully convolutional networks for semantic segmentation, 2015, section 4.2, with learnt
    features in place of its scores on the way up: so the parameters are the 18,643,713 that Mixed-UNet's paper prints
    (table IV; three channels in, one out). That paper does not say which levels are summed, which takes no parameters.
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 2, width: float = 1.0) -> None:
        super().__init__()
        self.encoder = VGGEncoder(spatial_dims, in_channels, output_stride=32, width=width)
        channels = [self.encoder.level_channels[-1], *(int(width * full) for full in _CHANNELS)]
        self.ups = nn.ModuleList(
            Convolution(
                spatial_dims,
                before,
                after,
                strides=2,
                kernel_size=3,
                act=("relu", {"inplace": True}),
                norm="batch",
                is_transposed=True,
            )
            for before, after in pairwise(channels)
        )
        self.head = Conv[Conv.CONV, spatial_dims](channels[-1], out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *S)`` of images ``(B, C, *S)``."""
        levels = self.encoder(x)
        levels.insert(0, x)
        features = levels[-1]
        for i, up in enumerate(self.ups):
            features = up(features)
            level = levels[4 - i]
            for dim in range(2, level.dim()):
                features = features.narrow(dim, 0, level.size(dim))
            if i < 2:
                features = features + level
        return self.head(features)
