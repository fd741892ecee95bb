"""ResNet classifier whose class maps can be read off."""

from __future__ import annotations

import torch
from monai.networks.nets.resnet import ResNet, get_inplanes
from torch import Tensor, nn

_LAYERS: dict[int, tuple[str, list[int]]] = {
    18: ("basic", [2, 2, 2, 2]),
    34: ("basic", [3, 4, 6, 3]),
    50: ("bottleneck", [3, 4, 6, 3]),
    101: ("bottleneck", [3, 4, 23, 3]),
}
# Dilation of layer3 and layer4 that replaces their stride, by output stride (1: the stride stays).
_DILATIONS = {32: (1, 1), 16: (1, 2), 8: (2, 4)}


class ResNetClassifier(ResNet):
    """ResNet with global average pooling and one linear layer, as class activation maps need it.

    ``logits = W . mean(F(x)) + b``, so that ``W . F(x)`` is the class map and its spatial mean plus ``b`` the logit.

    An output stride of 16 or 8 turns the stride of the last one or two stages into dilation. The weights keep their
    names and shapes, and every 2nd or 4th feature equals the feature at output stride 32. Parameter names are
    torchvision's (``conv1``, ``bn1``, ``layer1`` .. ``layer4``, ``fc``).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input image.
        num_classes: number of classes K, one logit each.
        depth: 18, 34, 50 or 101.
        output_stride: input pixels per feature pixel: 32, 16 or 8.

    Raises:
        ValueError: if ``depth`` or ``output_stride`` is none of the above.

    Source: He et al., Deep residual learning for image recognition, 2016; dilation: Yu et al., Dilated residual
    networks, 2017.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        num_classes: int = 1,
        depth: int = 50,
        output_stride: int = 32,
    ) -> None:
        if depth not in _LAYERS:
            raise ValueError(f"depth must be one of {sorted(_LAYERS)}, got {depth}.")
        if output_stride not in _DILATIONS:
            raise ValueError(f"output_stride must be one of {sorted(_DILATIONS)}, got {output_stride}.")
        block, layers = _LAYERS[depth]
        super().__init__(
            block=block,
            layers=layers,
            block_inplanes=get_inplanes(),
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_stride=2,  # MONAI's default of 1 is five times slower and not the published network
            feed_forward=False,
            bias_downsample=False,  # as torchvision, whose weights are to fit
        )
        self.fc: nn.Linear = nn.Linear(self.in_planes, num_classes)
        nn.init.zeros_(self.fc.bias)
        rate3, rate4 = _DILATIONS[output_stride]
        if rate3 > 1:
            _replace_stride(self.layer3, before=1, after=rate3)
        if rate4 > 1:
            _replace_stride(self.layer4, before=rate3, after=rate4)

    def features(self, x: Tensor) -> Tensor:
        """Last feature map.

        Args:
            x: images ``(B, C, *S)``.

        Returns:
            Non-negative features ``(B, F, *S')`` with ``S' = ceil(S / output_stride)``.
        """
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, K)`` of images ``(B, C, *S)``."""
        return self.fc(torch.flatten(self.features(x), 2).mean(dim=-1))

    @property
    def class_weight(self) -> Tensor:
        """Weights ``(K, F)`` of the last layer: each class's share of every feature."""
        return self.fc.weight


def _replace_stride(stage: nn.Sequential, before: int, after: int) -> None:
    """Turn the stride of a stage into dilation: ``before`` is the dilation of its input grid, ``after`` of its own."""
    for conv in stage.modules():
        if not isinstance(conv, (nn.Conv2d, nn.Conv3d)):
            continue
        # The strided convolution still reads the input grid; what follows it lives on the grid it would have made.
        rate = before if conv.stride[0] > 1 else after
        conv.stride = tuple(1 for _ in conv.stride)
        if conv.kernel_size[0] > 1:
            conv.dilation = tuple(rate for _ in conv.kernel_size)
            conv.padding = tuple(rate * (size // 2) for size in conv.kernel_size)
