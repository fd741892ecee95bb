"""U-Net."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_wsss.networks.blocks import UNetDecoder, UNetEncoder


class UNet(nn.Module):
    """U-Net with batch norm: two convolutions a level, 2x2 max pooling, 2x2 transposed convolutions.

    Inputs of any size are taken: odd sizes are rounded up in pooling and cropped back in the decoder. MONAI's BasicUNet
    does not halve the channels in its last step up, which makes 69,696 parameters more than are published.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input image.
        out_channels: 1 (sigmoid head) or background + classes (softmax head).
        channels: channels of each level, fine to coarse.

    Source: Ronneberger et al., U-Net, 2015, figure 1, padded; Mixed-UNet's paper prints 31,043,521 parameters (table
    IV; three channels in, one out).
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
    ) -> None:
        super().__init__()
        self.encoder = UNetEncoder(spatial_dims, in_channels, channels)
        self.decoder = UNetDecoder(spatial_dims, channels)
        self.head = Conv[Conv.CONV, spatial_dims](channels[0], out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *S)`` of images ``(B, C, *S)``."""
        return self.head(self.decoder(self.encoder(x)))
