"""What every classifier with readable class maps has in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_wsss.networks.blocks.drop_block import DropBlock
from monai_wsss.ops.attention_pooling import attention_pooling
from monai_wsss.ops.class_map import class_maps

POOLINGS = ("average", "attention", "attention_features")


@dataclass(frozen=True)
class ClassifierHead:
    """Convolutions on a classifier's backbone, and DropBlock within it.

    Attributes:
        convs: 3x3 convolutions with ReLU; the X-ray paper has 3.
        channels: of each of them.
        drop_prob: share of features that DropBlock drops in training, in [0, 1).
        drop_size: edge of its blocks, in feature pixels.

    Raises:
        ValueError: a negative number of convolutions.
    """

    convs: int = 0
    channels: int = 512
    drop_prob: float = 0.0
    drop_size: int = 7

    def __post_init__(self) -> None:
        if self.convs < 0:
            raise ValueError(f"convs of the head must be 0 or more, got {self.convs}.")


PLAIN = ClassifierHead()


class PooledClassifier(nn.Module, ABC):
    """Backbone, optional head convolutions, global pooling, one linear layer.

    ``logits = W . mean(F(x)) + b``, so that ``W . F(x)`` is the class map and its spatial mean plus ``b`` the logit.
    With :meth:`pool_by` the mean becomes one in which strong responses weigh more; the class map stays ``W . F(x)``.

    A subclass builds its backbone, calls :meth:`_add_head` and gives :meth:`levels`. The last features pass through
    the identity ``last``, so that a hook finds them by name whatever the network.

    Source: Zhou et al., Learning deep features for discriminative localization, 2016; the head convolutions:
    Viniavskyi et al., Weakly-supervised segmentation for disease localization in chest X-ray images, 2020, section 3.
    """

    level_channels: tuple[int, int, int, int, int]
    pooling: str
    attention: float

    def _add_head(self, spatial_dims: int, num_classes: int, head: ClassifierHead) -> None:
        """Put DropBlock, the head's convolutions, ``last`` and ``fc`` on a backbone."""
        self.drop = DropBlock(spatial_dims, head.drop_prob, head.drop_size)
        self.head = nn.Sequential()
        width = self.level_channels[-1]
        for _ in range(head.convs):
            conv = Conv[Conv.CONV, spatial_dims](width, head.channels, kernel_size=3, padding=1)
            init_conv(conv)
            self.head.extend([conv, nn.ReLU(inplace=True)])
            width = head.channels
        self.last = nn.Identity()
        self.fc: nn.Linear = nn.Linear(width, num_classes)
        nn.init.zeros_(self.fc.bias)
        self.pool_by("average")

    def pool_by(self, pooling: str, attention: float = 0.001) -> None:
        """Choose the pooling.

        Args:
            pooling: `average`; `attention`, of each class map; or `attention_features`, of each feature by itself and
                before the linear layer, with weights that take no gradient, as BES's published code has it.
            attention: k of the attention, see :func:`monai_wsss.ops.attention_pooling.attention_pooling`.

        Raises:
            ValueError: another pooling.
        """
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling}.")
        if not 0 <= attention < float("inf"):
            raise ValueError(f"attention must be >= 0, got {attention}.")
        self.pooling, self.attention = pooling, attention

    @abstractmethod
    def levels(self, x: Tensor) -> list[Tensor]:
        """Five feature maps ``(B, level_channels[i], *S_i)`` of the backbone, fine to coarse."""

    def features(self, x: Tensor) -> Tensor:
        """Last feature map.

        Args:
            x: images ``(B, C, *S)``.

        Returns:
            Non-negative features ``(B, F, *S')`` with ``S' = ceil(S / output_stride)``.
        """
        return self.last(self.head(self.levels(x)[-1]))

    def classify(self, features: Tensor) -> Tensor:
        """Logits ``(B, K)`` of last features ``(B, F, *S')``."""
        if self.pooling != "average":
            return self._attend(features)
        return self.fc(torch.flatten(features, 2).mean(dim=-1))

    @torch.jit.unused
    def _attend(self, features: Tensor) -> Tensor:
        if self.pooling == "attention":
            return attention_pooling(class_maps(features, self.fc.weight), self.attention) + self.fc.bias
        return self.fc(attention_pooling(features, self.attention, learns_attention=False))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, K)`` of images ``(B, C, *S)``."""
        return self.classify(self.features(x))

    @property
    def class_weight(self) -> Tensor:
        """Weights ``(K, F)`` of the last layer: each class's share of every feature."""
        return self.fc.weight


def init_conv(conv: nn.Module) -> None:
    """He's initialisation, by which the scale of activations stays the same through layers without a norm."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # type: ignore[arg-type]
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
