"""Networks and their weights."""

from monai_wsss.networks.backbone_weights import load_backbone
from monai_wsss.networks.nets import MixedUNet, ResNetClassifier, segmenter

__all__ = ["MixedUNet", "ResNetClassifier", "load_backbone", "segmenter"]
