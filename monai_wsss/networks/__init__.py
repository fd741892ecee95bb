"""Networks and their weights."""

from monai_wsss.networks.backbone_weights import load_backbone
from monai_wsss.networks.nets import (
    BENet,
    BoundaryNetwork,
    IRNet,
    MixedUNet,
    PooledClassifier,
    ResNetClassifier,
    VGGClassifier,
    boundary_network,
    classifier,
    segmenter,
    with_backbone,
)

__all__ = [
    "BENet",
    "BoundaryNetwork",
    "IRNet",
    "MixedUNet",
    "PooledClassifier",
    "ResNetClassifier",
    "VGGClassifier",
    "boundary_network",
    "classifier",
    "load_backbone",
    "segmenter",
    "with_backbone",
]
