"""SE-ResNeXt50 for MONAI's FlexibleUNet."""

from __future__ import annotations

from typing import Any

from monai.networks.blocks import BaseEncoder
from monai.networks.nets import SEResNext50
from torch import Tensor


class SEResNeXtEncoder(SEResNext50, BaseEncoder):
    """SE-ResNeXt50 (32 groups, base width 4, squeeze by 16) without its classifier: five levels, each half the last.

    Sizes have to be multiples of 32.

    Args:
        pretrained: only False.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.

    Raises:
        ValueError: if ``pretrained``.

    Source: Hu et al., Squeeze-and-excitation networks, 2018, table 1.
    """

    def __init__(self, pretrained: bool = False, spatial_dims: int = 2, in_channels: int = 1) -> None:
        if pretrained:
            raise ValueError("pretrained must be False, weights are never fetched.")
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        # Weights without a gradient would stop distributed training.
        del self.adaptive_avg_pool, self.last_linear

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        """Features of the five levels, fine to coarse, of images ``(B, C, *S)``."""
        stem = self.layer0.relu1(self.layer0.bn1(self.layer0.conv1(x)))  # type: ignore[operator]
        level1 = self.layer1(self.layer0.pool(stem))  # type: ignore[operator]
        level2 = self.layer2(level1)
        level3 = self.layer3(level2)
        return [stem, level1, level2, level3, self.layer4(level3)]

    @classmethod
    def get_encoder_parameters(cls) -> list[dict[str, Any]]:
        """Arguments, which FlexibleUNet overwrites."""
        return [{"pretrained": False, "spatial_dims": 2, "in_channels": 1}]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Channels of the levels, fine to coarse."""
        return [(64, 256, 512, 1024, 2048)]

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Number of levels."""
        return [5]

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Name in FlexibleUNet."""
        return ["se_resnext50"]
