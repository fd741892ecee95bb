"""Whole networks."""

from monai_wsss.networks.nets.alexnet_classifier import AlexNetClassifier
from monai_wsss.networks.nets.bag_classifier import BagClassifier
from monai_wsss.networks.nets.benet import BENet, BoundaryNetwork
from monai_wsss.networks.nets.boundary_network import boundary_network
from monai_wsss.networks.nets.classifier import classifier
from monai_wsss.networks.nets.densenet_classifier import DenseNetClassifier
from monai_wsss.networks.nets.fcn import FCN
from monai_wsss.networks.nets.fully_connected_classifier import FullyConnectedClassifier
from monai_wsss.networks.nets.googlenet_classifier import GoogLeNetClassifier
from monai_wsss.networks.nets.irnet import IRNet
from monai_wsss.networks.nets.mixed_unet import MixedUNet
from monai_wsss.networks.nets.pooled_classifier import ClassifierHead, PooledClassifier
from monai_wsss.networks.nets.resnet_classifier import ResNetClassifier
from monai_wsss.networks.nets.segmenter import segmenter, with_backbone
from monai_wsss.networks.nets.tied_deconv import ImageScores, TiedDeconvNet
from monai_wsss.networks.nets.unet import UNet
from monai_wsss.networks.nets.vgg_classifier import VGGClassifier

__all__ = [
    "FCN",
    "AlexNetClassifier",
    "BENet",
    "BagClassifier",
    "BoundaryNetwork",
    "ClassifierHead",
    "DenseNetClassifier",
    "FullyConnectedClassifier",
    "GoogLeNetClassifier",
    "IRNet",
    "ImageScores",
    "MixedUNet",
    "PooledClassifier",
    "ResNetClassifier",
    "TiedDeconvNet",
    "UNet",
    "VGGClassifier",
    "boundary_network",
    "classifier",
    "segmenter",
    "with_backbone",
]
