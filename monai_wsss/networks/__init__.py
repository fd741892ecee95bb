"""Networks and their weights."""

from monai_wsss.networks.backbone_weights import load_backbone
from monai_wsss.networks.nets import (
    BENet,
    BoundaryNetwork,
    FullyConnectedClassifier,
    ImageScores,
    IRNet,
    MixedUNet,
    PooledClassifier,
    ResNetClassifier,
    TiedDeconvNet,
    VGGClassifier,
    boundary_network,
    classifier,
    segmenter,
    with_backbone,
)

__all__ = [
    "BENet",
    "BoundaryNetwork",
    "FullyConnectedClassifier",
    "IRNet",
    "ImageScores",
    "MixedUNet",
    "PooledClassifier",
    "ResNetClassifier",
    "TiedDeconvNet",
    "VGGClassifier",
    "boundary_network",
    "classifier",
    "load_backbone",
    "segmenter",
    "with_backbone",
]
