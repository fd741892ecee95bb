"""Networks and their weights."""

from monai_wsss.networks.backbone_weights import load_backbone
from monai_wsss.networks.nets import (
    IRNet,
    MixedUNet,
    PooledClassifier,
    ResNetClassifier,
    VGGClassifier,
    classifier,
    segmenter,
    with_backbone,
)

__all__ = [
    "IRNet",
    "MixedUNet",
    "PooledClassifier",
    "ResNetClassifier",
    "VGGClassifier",
    "classifier",
    "load_backbone",
    "segmenter",
    "with_backbone",
]
