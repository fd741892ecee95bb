"""ResNet trunk at output stride 16 or 8."""

from __future__ import annotations

from torch import Tensor

from monai_wsss.networks.nets.resnet_classifier import ResNetClassifier


class AtrousResNet(ResNetClassifier):
    """:class:`ResNetClassifier` without its last layer: the features of its levels, by torchvision's key names.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        depth: 18, 34, 50 or 101.
        output_stride: image pixels per pixel of the coarsest level, 16 or 8.
        width: factor on the channels; 1 is the published network, less is for tests and small runs.
    """

    __jit_unused_properties__ = ["class_weight"]  # noqa: RUF012, TorchScript asks for a plain list

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        depth: int = 50,
        output_stride: int = 16,
        width: float = 1.0,
    ) -> None:
        super().__init__(spatial_dims, in_channels, depth=depth, output_stride=output_stride, width=width)
        del self.fc  # weights without a gradient would stop distributed training

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        """Features of the levels, fine to coarse, of images ``(B, C, *S)``."""
        return self.levels(x)
