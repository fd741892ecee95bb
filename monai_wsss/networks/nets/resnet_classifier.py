"""ResNet classifier whose class maps can be read off."""

from __future__ import annotations

from monai.networks.nets.resnet import ResNet, get_inplanes
from torch import Tensor, nn

from monai_wsss.networks.nets.pooled_classifier import PLAIN, ClassifierHead, PooledClassifier

_LAYERS: dict[int, tuple[str, list[int]]] = {
    18: ("basic", [2, 2, 2, 2]),
    34: ("basic", [3, 4, 6, 3]),
    50: ("bottleneck", [3, 4, 6, 3]),
    101: ("bottleneck", [3, 4, 23, 3]),
}
# Dilation of layer3 and layer4 that replaces their stride, by output stride (1: the stride stays).
_DILATIONS = {32: (1, 1), 16: (1, 2), 8: (2, 4)}


class ResNetClassifier(PooledClassifier, ResNet):  # type: ignore[misc]  # MONAI's fc may be None
    """ResNet with global average pooling and one linear layer, as class activation maps need it.

    ``logits = W . mean(F(x)) + b``, so that ``W . F(x)`` is the class map and its spatial mean plus ``b`` the logit.

    DropBlock stands after ``layer3`` and ``layer4``. The levels are the stem after its max pooling (stride 4) and the
    outputs of ``layer1`` (4), ``layer2`` (8), ``layer3`` and ``layer4``.

    An output stride of 16 or 8 turns the stride of the last one or two stages into dilation. The weights keep their
    names and shapes, and every 2nd or 4th feature equals the feature at output stride 32. Parameter names are
    torchvision's (``conv1``, ``bn1``, ``layer1`` .. ``layer4``, ``fc``),
    with ``head`` for the head convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input image.
        num_classes: number of classes K, one logit each.
        depth: 18, 34, 50 or 101.
        output_stride: input pixels per feature pixel: 32, 16 or 8.
        width: factor on the backbone's channels; 1 is the published network, less is for tests and small runs.
        head: convolutions on the backbone and DropBlock within it, see :class:`ClassifierHead`.

    Raises:
        ValueError: if ``depth`` or ``output_stride`` is none of the above.

    Source: He et al., Deep residual learning for image recognition, 2016; dilation: Yu et al., Dilated residual
    networks, 2017; head and DropBlock: Viniavskyi et al., Weakly-supervised segmentation for disease localization in
    chest X-ray images, 2020, and its published code.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        num_classes: int = 1,
        depth: int = 50,
        output_stride: int = 32,
        width: float = 1.0,
        head: ClassifierHead = PLAIN,
    ) -> None:
        if depth not in _LAYERS:
            raise ValueError(f"depth must be one of {sorted(_LAYERS)}, got {depth}.")
        if output_stride not in _DILATIONS:
            raise ValueError(f"output_stride must be one of {sorted(_DILATIONS)}, got {output_stride}.")
        block, layers = _LAYERS[depth]
        planes = [int(width * channels) for channels in get_inplanes()]
        super().__init__(
            block=block,
            layers=layers,
            block_inplanes=planes,
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_stride=2,  # MONAI's default of 1 is five times slower and not the published network
            feed_forward=False,
            bias_downsample=False,  # as torchvision, whose weights are to fit
        )
        first, second, third, fourth = (channels * (self.in_planes // planes[3]) for channels in planes)
        self.level_channels = (planes[0], first, second, third, fourth)
        self._add_head(spatial_dims, num_classes, head)
        rate3, rate4 = _DILATIONS[output_stride]
        if rate3 > 1:
            replace_stride(self.layer3, before=1, after=rate3)
        if rate4 > 1:
            replace_stride(self.layer4, before=rate3, after=rate4)

    def levels(self, x: Tensor) -> list[Tensor]:
        """Stem and four stages ``(B, level_channels[i], *S_i)``, fine to coarse, without the head convolutions."""
        stem = self.maxpool(self.act(self.bn1(self.conv1(x))))
        first = self.layer1(stem)
        second = self.layer2(first)
        third = self.drop(self.layer3(second))
        return [stem, first, second, third, self.drop(self.layer4(third))]


def replace_stride(stage: nn.Module, before: int, after: int) -> None:
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
