"""A backbone for the boundary networks, small and with all that must be frozen."""

from itertools import pairwise

from monai.networks.layers.factories import Conv, Norm
from torch import nn

RESNET_STEPS, VGG_STEPS = (4, 1, 2, 2, 1), (2, 2, 2, 1, 1)


class Backbone(nn.Module):
    """Five levels of few channels, with all that must be frozen: batch statistics and dropout."""

    def __init__(self, steps=RESNET_STEPS, channels=(4, 6, 8, 10, 12), spatial_dims=2):
        super().__init__()
        self.level_channels = tuple(channels)
        self.stages = nn.ModuleList(
            nn.Sequential(
                Conv[Conv.CONV, spatial_dims](before, after, kernel_size=3, padding=1, stride=step),
                Norm[Norm.BATCH, spatial_dims](after),
                nn.ReLU(),
                nn.Dropout(0.5),
            )
            for (before, after), step in zip(pairwise((1, *channels)), steps, strict=True)
        )

    def levels(self, x):
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
