"""Classifiers by name."""

from collections.abc import Callable
from functools import partial

from monai_wsss.networks.nets.alexnet_classifier import AlexNetClassifier
from monai_wsss.networks.nets.densenet_classifier import DenseNetClassifier
from monai_wsss.networks.nets.googlenet_classifier import GoogLeNetClassifier
from monai_wsss.networks.nets.pooled_classifier import ClassifierHead, PooledClassifier
from monai_wsss.networks.nets.resnet_classifier import ResNetClassifier
from monai_wsss.networks.nets.vgg_classifier import VGGClassifier

_CLASSIFIERS: dict[str, Callable[..., PooledClassifier]] = {
    "resnet18": partial(ResNetClassifier, depth=18),
    "resnet34": partial(ResNetClassifier, depth=34),
    "resnet50": partial(ResNetClassifier, depth=50),
    "resnet101": partial(ResNetClassifier, depth=101),
    "vgg16": partial(VGGClassifier, batch_norm=False),
    "vgg16_bn": partial(VGGClassifier, batch_norm=True),
    "alexnet": AlexNetClassifier,
    "googlenet": GoogLeNetClassifier,
    "densenet121": DenseNetClassifier,
}


def classifier(
    name: str,
    spatial_dims: int = 2,
    in_channels: int = 1,
    num_classes: int = 1,
    output_stride: int = 8,
    head_convs: int = 0,
    head_channels: int = 512,
    drop_prob: float = 0.0,
    drop_size: int = 7,
    width: float = 1.0,
    pooling: str = "average",
    attention: float = 0.001,
) -> PooledClassifier:
    """A classifier with dilation, head convolutions and DropBlock, whose class maps can be read off.

    Args:
        name: `resnet18`, `resnet34`, `resnet50`, `resnet101`, `vgg16`, `vgg16_bn`, `alexnet`, `googlenet` or
            `densenet121`.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: number of classes K, one logit each.
        output_stride: input pixels per feature pixel: 8, 16 or 32.
        head_convs: 3x3 convolutions with ReLU on top of the backbone; the X-ray paper has 3.
        head_channels: channels of each of them, before ``width``.
        drop_prob: share of features that DropBlock drops in training, in [0, 1).
        drop_size: edge of its blocks, in feature pixels.
        width: factor on all channels, the head's too; 1 is the published network, 0.25 a quarter-width one.
        pooling: `average`, `attention` or `attention_features`, see :meth:`PooledClassifier.pool_by`.
        attention: k of the attention.

    Raises:
        ValueError: another name, or an argument outside its range.
    """
    if name not in _CLASSIFIERS:
        raise ValueError(f"classifier must be one of {', '.join(_CLASSIFIERS)}, got {name}.")
    if width * min(64, head_channels) < 1:
        raise ValueError(f"width must leave at least one of 64 and of {head_channels} channels, got {width}.")
    network = _CLASSIFIERS[name](
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        num_classes=num_classes,
        output_stride=output_stride,
        width=width,
        head=ClassifierHead(head_convs, int(width * head_channels), drop_prob, drop_size),
    )
    network.pool_by(pooling, attention)
    return network
