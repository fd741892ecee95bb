"""Whole networks."""

from monai_wsss.networks.nets.mixed_unet import MixedUNet
from monai_wsss.networks.nets.resnet_classifier import ResNetClassifier
from monai_wsss.networks.nets.segmenter import segmenter

__all__ = ["MixedUNet", "ResNetClassifier", "segmenter"]
