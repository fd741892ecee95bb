"""Segmenters by name."""

from collections.abc import Sequence

from monai.networks.nets import BasicUNet
from torch import nn

from monai_wsss.networks.nets.mixed_unet import MixedUNet


def segmenter(
    name: str,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = (64, 128, 256, 512),
    up_kernel: int = 3,
    pool_kernel: int = 3,
) -> nn.Module:
    """Mixed-UNet, or MONAI's U-Net with one level more, as in the original U-Net.

    Args:
        name: `mixed_unet` or `unet`.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: 1 (sigmoid head) or number of classes + 1 (softmax head).
        channels: features of the four levels; the U-Net's fifth has twice the last.
        up_kernel: kernel of Mixed-UNet's up-convolution, 2 or 3.
        pool_kernel: kernel of Mixed-UNet's max pooling, 2 or 3.

    Raises:
        ValueError: another name.
    """
    if name == "mixed_unet":
        return MixedUNet(spatial_dims, in_channels, out_channels, tuple(channels), up_kernel, pool_kernel)
    if name == "unet":
        features = (*channels, 2 * channels[-1], channels[0])
        return BasicUNet(spatial_dims, in_channels, out_channels, features, act="relu", norm="batch", upsample="deconv")
    raise ValueError(f"segmenter must be mixed_unet or unet, got {name}.")
