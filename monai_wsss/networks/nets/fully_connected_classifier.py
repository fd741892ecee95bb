"""The classifier from which the tied deconvolution network takes its convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn

from monai_wsss.networks.nets.conv_encoder import ConvEncoder


class FullyConnectedClassifier(nn.Module):
    """Convolutions, two fully connected layers with ReLU, and one logit for each class.

    Args:
        name: of the convolutions, see :class:`ConvEncoder`.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: number of classes K.
        input_size: pixels of the images along each axis, one number or one for each axis; fully connected layers take
            no other.
        hidden: units of either fully connected layer.
        width: factor on the convolutions' channels.
        dropout: share of units left out in training after either layer; the paper names none.

    Raises:
        ValueError: if an argument is out of range.

    Source: Kim and Hwang, Deconvolutional feature stacking, 2016, 4.2.
    """

    def __init__(
        self,
        name: str = "tuberculosis",
        spatial_dims: int = 2,
        in_channels: int = 1,
        num_classes: int = 1,
        input_size: int | Sequence[int] = 320,
        hidden: int = 2048,
        width: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be 1 or more, got {hidden}.")
        self.encoder = ConvEncoder(name, spatial_dims, in_channels, width)
        self.input_size = list(ensure_tuple_rep(input_size, spatial_dims))
        if min(self.input_size) < self.encoder.stride:
            raise ValueError(f"input_size must be {self.encoder.stride} pixels or more, got {self.input_size}.")
        features = self.encoder.out_channels * prod(edge // self.encoder.stride for edge in self.input_size)
        self.hidden = nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.fc = nn.Linear(hidden, num_classes)
        for layer in self.hidden:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, K)`` of images ``(B, C, *input_size)``.

        Raises:
            ValueError: if the images have another size.
        """
        size = list(x.shape[2:])
        if size != self.input_size:
            raise ValueError(f"the classifier was built for images of {self.input_size} pixels, got {size}.")
        features, _ = self.encoder(x)
        return self.fc(self.hidden(torch.flatten(features, 1)))
