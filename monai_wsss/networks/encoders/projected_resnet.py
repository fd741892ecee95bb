"""ResNet18 as torchvision has it, for MONAI's FlexibleUNet."""

from __future__ import annotations

from typing import Any

from monai.networks.nets.resnet import ResNet, ResNetEncoder, get_inplanes

_LAYERS = {"resnet18_projected": [2, 2, 2, 2], "resnet34_projected": [3, 4, 6, 3]}


class ProjectedResNetEncoder(ResNetEncoder):
    """ResNet of basic blocks whose shortcuts are 1x1 convolutions where the shape changes.

    MONAI registers ``resnet18`` and ``resnet34`` with shortcuts without parameters, padded with zeros: ImageNet's
    weights do not fit, no gradient flows through them, and TorchScript refuses them. Its ``resnet50`` is torchvision's.

    Args:
        model_name: `resnet18_projected` or `resnet34_projected`.
        pretrained: only False; see :func:`monai_wsss.networks.nets.segmenter.with_backbone`.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.

    Raises:
        ValueError: another ``model_name``, or ``pretrained``.

    Source: He et al., Deep residual learning for image recognition, 2016, section 3.3, option B.
    """

    def __init__(self, model_name: str, pretrained: bool = False, spatial_dims: int = 2, in_channels: int = 1) -> None:
        if model_name not in _LAYERS:
            raise ValueError(f"model_name must be one of {sorted(_LAYERS)}, got {model_name}.")
        if pretrained:
            raise ValueError("pretrained must be False, weights are read from a file (with_backbone).")
        # ResNetEncoder's own constructor knows only MONAI's names.
        ResNet.__init__(
            self,
            block="basic",
            layers=_LAYERS[model_name],
            block_inplanes=get_inplanes(),
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )

    @classmethod
    def get_encoder_parameters(cls) -> list[dict[str, Any]]:
        """Arguments of each encoder; FlexibleUNet overwrites all but the name."""
        return [{"model_name": n, "pretrained": False, "spatial_dims": 2, "in_channels": 1} for n in _LAYERS]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Channels of the levels, fine to coarse, of each encoder."""
        return [(64, 64, 128, 256, 512)] * len(_LAYERS)

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Number of levels of each encoder."""
        return [5] * len(_LAYERS)

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Names in FlexibleUNet."""
        return list(_LAYERS)
