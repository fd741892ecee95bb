"""Classifiers whose backbone is one chain of layers."""

from __future__ import annotations

from torch import Tensor, nn

from monai_wsss.networks.nets.pooled_classifier import PooledClassifier


class TrunkClassifier(PooledClassifier):
    """Classifier whose backbone is the chain ``trunk``, with the names that torchvision gives its ``features``.

    A subclass fills ``trunk`` and says in ``block_ends`` after how many layers each of the five levels ends. DropBlock
    stands after the fourth and the fifth.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential()
        self.block_ends: tuple[int, ...] = ()

    def levels(self, x: Tensor) -> list[Tensor]:
        """Outputs ``(B, level_channels[i], *S_i)`` of the blocks, fine to coarse, without the head convolutions."""
        levels: list[Tensor] = []
        for number, layer in enumerate(self.trunk, start=1):
            x = layer(x)
            if number in self.block_ends:
                x = self.drop(x) if len(levels) >= 3 else x
                levels.append(x)
        return levels
