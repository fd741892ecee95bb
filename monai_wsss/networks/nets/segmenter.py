"""Segmenters by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai.networks.nets import ResNet, SENet
from torch import nn

from monai_wsss.networks.backbone_weights import load_backbone
from monai_wsss.networks.nets.deeplab import DeepLabV3, DeepLabV3Plus
from monai_wsss.networks.nets.deeplab_v2 import ASPP_RATES, LARGE_FOV_RATES, DeepLabV2
from monai_wsss.networks.nets.encoder_unet import EncoderUNet
from monai_wsss.networks.nets.fcn import FCN
from monai_wsss.networks.nets.mixed_unet import MixedUNet
from monai_wsss.networks.nets.unet import UNet
from monai_wsss.networks.nets.vgg_classifier import VGGClassifier

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
_DEEPLABS_V2: dict[str, tuple[str, tuple[int, ...]]] = {
    "deeplab_v2_vgg16": ("vgg16", ASPP_RATES),
    "deeplab_v2_vgg16_large_fov": ("vgg16", LARGE_FOV_RATES),
    "deeplab_v2_resnet101": ("resnet101", ASPP_RATES),
    "deeplab_v2_resnet18": ("resnet18", ASPP_RATES),
}
SEGMENTERS = ("mixed_unet", "unet", "fcn", *_ENCODERS, *_DEEPLABS, *_DEEPLABS_V2)


def segmenter(
    name: str,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = (64, 128, 256, 512),
    up_kernel: int = 3,
    pool_kernel: int = 3,
    output_stride: int = 16,
    width: float = 1.0,
) -> nn.Module:
    """A segmenter: images ``(B, in_channels, *S)`` of any size to logits ``(B, out_channels, *S)``.

    - `mixed_unet`: Mixed-UNet.
    - `unet`: U-Net.
    - `fcn`: FCN-8s with a VGG16.
    - `unet_resnet18`, `unet_resnet50`, `unet_se_resnext50`: MONAI's FlexibleUNet with that encoder.
    - `deeplab_v3`, `deeplab_v3_plus`: with ResNet50, or with ResNet18 where the name ends in `_resnet18`.
    - `deeplab_v2_vgg16`, `deeplab_v2_resnet101`, `deeplab_v2_resnet18`: DeepLab-v2 with ASPP; in training mode its
      logits are those of its own grid, an eighth of the image's. `deeplab_v2_vgg16_large_fov` has one branch.

    Args:
        name: one of the above.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: 1 (sigmoid head) or number of classes + 1 (softmax head).
        channels: features of the four levels of `mixed_unet` and `unet`; the latter's fifth has twice the last.
        up_kernel: kernel of Mixed-UNet's up-convolution, 2 or 3.
        pool_kernel: kernel of Mixed-UNet's max pooling, 2 or 3.
        output_stride: image pixels per feature pixel of `deeplab_v3` and `deeplab_v3_plus`, 16 or 8.
        width: factor on the channels of `fcn` and of the DeepLabs; less than 1 is for tests and small runs.

    Raises:
        ValueError: another name.
    """
    if name == "mixed_unet":
        return MixedUNet(spatial_dims, in_channels, out_channels, tuple(channels), up_kernel, pool_kernel)
    if name == "unet":
        return UNet(spatial_dims, in_channels, out_channels, (*channels, 2 * channels[-1]))
    if name == "fcn":
        return FCN(spatial_dims, in_channels, out_channels, width)
    if name in _ENCODERS:
        return EncoderUNet(in_channels, out_channels, _ENCODERS[name], spatial_dims=spatial_dims)
    if name in _DEEPLABS:
        deeplab, depth = _DEEPLABS[name]
        return deeplab(spatial_dims, in_channels, out_channels, depth, output_stride, width=width)
    if name in _DEEPLABS_V2:
        backbone, rates = _DEEPLABS_V2[name]
        return DeepLabV2(spatial_dims, in_channels, out_channels, backbone, rates, width=width)
    raise ValueError(f"segmenter must be one of {', '.join(SEGMENTERS)}, got {name}.")


def with_backbone(network: nn.Module, path: str | Path | None = None) -> nn.Module:
    """Start a segmenter's encoder from weights in a file.

    Args:
        network: a segmenter whose encoder is a ResNet, an SE-ResNeXt or a VGG16; changed in place.
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
    if not isinstance(encoder, ResNet | SENet | VGGClassifier):
        raise ValueError(
            f"segmenter_backbone_weights: {type(network).__name__} has no ResNet, SE-ResNeXt or VGG16 encoder that a "
            "file fits"
        )
    load_backbone(encoder, path)
    return network
