"""A localiser small enough to follow by hand: what stages ask of a network, and nothing more."""

import torch
from torch import nn
from torch.nn import functional as F


class TinyLocaliser(nn.Module):
    """Maps of half the image's size: background first, then the classes."""

    def __init__(self, num_classes=1, stages=0):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.deconvs = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(stages))
        self.map_conv = nn.Conv2d(4, num_classes + 1, 1)
        self.register_buffer("threshold", torch.zeros(num_classes))
        self.trains = None

    def maps(self, x):
        found = self.encoder(x)
        for layer in self.deconvs:
            found = found + layer(found)
        return self.map_conv(found)

    def lesion_maps(self, x):
        return F.softplus(self.maps(x))[:, 1:]  # a ReLU may die in a training this short

    def image_logits(self, maps):
        return (F.softplus(maps[:, 1:]) - F.softplus(maps[:, :1])).mean((2, 3))

    def forward(self, x):
        if self.training:
            return self.maps(x)
        return F.interpolate(self.lesion_maps(x), size=x.shape[2:]) - self.threshold[:, None, None]

    def start_from(self, state):
        own = self.state_dict()
        if missing := [key for key in own if key.startswith("encoder.") and key not in state]:
            raise ValueError(f"{missing[0]} is missing")
        self.load_state_dict({key: state[key] for key in own if key in state and key != "threshold"}, strict=False)

    def train_only(self, trains):
        self.trains = trains


class ImageAsMap(TinyLocaliser):
    """Its maps are the image; class k's are k times the image, k = 1, 2, .."""

    def __init__(self, num_classes=1):
        super().__init__(num_classes)
        self.num_classes = num_classes

    def lesion_maps(self, x):
        return self.maps(x)[:, 1:]

    def maps(self, x):
        return torch.cat([k * x for k in range(self.num_classes + 1)], 1)
