"""VGG16 trunk for segmenters."""

from __future__ import annotations

from torch import Tensor

from monai_wsss.networks.nets.vgg_classifier import VGGClassifier


class VGGEncoder(VGGClassifier):
    """:class:`VGGClassifier` without batch norm and without its last layer: the features of its blocks.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        output_stride: image pixels per pixel of the coarsest level, 32, 16 or 8.
        width: factor on the channels; 1 is the published network, less is for tests and small runs.
    """

    __jit_unused_properties__ = ["class_weight"]  # noqa: RUF012, TorchScript asks for a plain list

    def __init__(
        self, spatial_dims: int = 2, in_channels: int = 1, output_stride: int = 32, width: float = 1.0
    ) -> None:
        super().__init__(spatial_dims, in_channels, batch_norm=False, output_stride=output_stride, width=width)
        del self.fc  # weights without a gradient would stop distributed training

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        """Features of the blocks, fine to coarse, of images ``(B, C, *S)``."""
        return self.levels(x)
