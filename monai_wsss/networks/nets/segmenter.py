"""Segmenters by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai.networks.nets import BasicUNet, ResNet, SENet
from torch import nn

from monai_wsss.networks.backbone_weights import load_backbone
from monai_wsss.networks.nets.deeplab import DeepLabV3, DeepLabV3Plus
from monai_wsss.networks.nets.encoder_unet import EncoderUNet
from monai_wsss.networks.nets.mixed_unet import MixedUNet

_ENCODERS = {  # MONAI's names of the encoders
    "unet_resnet18": "resnet18_projected",
    "unet_resnet50": "resnet50",
    "unet_se_resnext50": "se_resnext50",
}
_DEEPLABS: dict[str, tuple[type[DeepLabV3], int]] = {
    "deeplab_v3": (DeepLabV3, 50),
    "deeplab_v3_resnet18": (DeepLabV3, 18),
    "deeplab_v3_plus": (DeepLabV3Plus, 50),
    "deeplab_v3_plus_resnet18": (DeepLabV3Plus, 18),
}
SEGMENTERS = ("mixed_unet", "unet", *_ENCODERS, *_DEEPLABS)


def segmenter(
    name: str,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = (64, 128, 256, 512),
    up_kernel: int = 3,
    pool_kernel: int = 3,
    output_stride: int = 16,
) -> nn.Module:
    """A segmenter: images ``(B, in_channels, *S)`` of any size to logits ``(B, out_channels, *S)``.

    - `mixed_unet`: Mixed-UNet.
    - `unet`: MONAI's BasicUNet with one level more, as in the original U-Net.
    - `unet_resnet18`, `unet_resnet50`, `unet_se_resnext50`: MONAI's FlexibleUNet with that encoder.
    - `deeplab_v3`, `deeplab_v3_plus`: with ResNet50, or with ResNet18 where the name ends in `_resnet18`.

    Args:
        name: one of the above.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: 1 (sigmoid head) or number of classes + 1 (softmax head).
        channels: features of the four levels of `mixed_unet` and `unet`; the latter's fifth has twice the last.
        up_kernel: kernel of Mixed-UNet's up-convolution, 2 or 3.
        pool_kernel: kernel of Mixed-UNet's max pooling, 2 or 3.
        output_stride: image pixels per feature pixel of DeepLab, 16 or 8.

    Raises:
        ValueError: another name.
    """
    if name == "mixed_unet":
        return MixedUNet(spatial_dims, in_channels, out_channels, tuple(channels), up_kernel, pool_kernel)
    if name == "unet":
        features = (*channels, 2 * channels[-1], channels[0])
        return BasicUNet(spatial_dims, in_channels, out_channels, features, act="relu", norm="batch", upsample="deconv")
    if name in _ENCODERS:
        return EncoderUNet(in_channels, out_channels, _ENCODERS[name], spatial_dims=spatial_dims)
    if name in _DEEPLABS:
        deeplab, depth = _DEEPLABS[name]
        return deeplab(spatial_dims, in_channels, out_channels, depth, output_stride)
    raise ValueError(f"segmenter must be one of {', '.join(SEGMENTERS)}, got {name}.")


def with_backbone(network: nn.Module, path: str | Path | None = None) -> nn.Module:
    """Start a segmenter's encoder from weights in a file.

    Args:
        network: a segmenter whose encoder is a ResNet or an SE-ResNeXt; changed in place.
        path: a file that :func:`load_backbone` knows; None changes nothing.

    Returns:
        The network.

    Raises:
        ValueError: if the network has no such encoder.
        InputError: if the file is missing, unreadable or of another network.
    """
    if path is None:
        return network
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, ResNet | SENet):
        raise ValueError(
            f"segmenter_backbone_weights: {type(network).__name__} has no ResNet or SE-ResNeXt encoder that a file fits"
        )
    load_backbone(encoder, path)
    return network
