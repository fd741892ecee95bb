"""GoogLeNet classifier whose class maps can be read off."""

from __future__ import annotations

from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from monai_wsss.networks.blocks.inception import ConvNormReLU, Inception
from monai_wsss.networks.nets.pooled_classifier import PLAIN, ClassifierHead, PooledClassifier

# Table 1 of the paper, stages 3, 4 and 5: 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 after the pooling.
_INCEPTIONS = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
# Dilation of stages 4 and 5 that replaces the poolings before them, by output stride (1: the pooling stays).
_DILATIONS = {32: (1, 1), 16: (1, 2), 8: (2, 4)}


class GoogLeNetClassifier(PooledClassifier):
    """GoogLeNet with batch norm and without auxiliary classifiers, as class activation maps need it.

    ``logits = W . mean(F(x)) + b``, so that ``W . F(x)`` is the class map and its spatial mean plus ``b`` the logit.

    At output stride 16 the last pooling, of 2x2, is left out and the modules after it get dilation 2. At 8 the third
    pooling has stride 1 as well and the dilations are 2 and 4; every 2nd feature equals the feature at 16. The levels
    are the outputs of the first convolution, of the third, and of the modules 3b, 4e and 5b, each before its pooling:
    strides 2, 4, 8, 8, 8 at output stride 8.

    Parameter names are torchvision's (``conv1`` .. ``conv3``, ``inception3a`` .. ``inception5b``, ``fc``). The first
    three poolings pad where torchvision's round up, so that sizes S become ``ceil(S / output_stride)`` and maps lie on
    their image.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input image.
        num_classes: number of classes K, one logit each.
        output_stride: input pixels per feature pixel: 32, 16 or 8.
        width: factor on the backbone's channels, each at least 1; 1 is the published network, less is for tests and
            small runs.
        head: convolutions on the backbone and DropBlock within it, see :class:`ClassifierHead`.

    Raises:
        ValueError: if ``output_stride`` is none of the above.

    Source: Szegedy et al., Going deeper with convolutions, 2015, table 1; dilation: Yu et al., Dilated residual
    networks, 2017.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        num_classes: int = 1,
        output_stride: int = 8,
        width: float = 1.0,
        head: ClassifierHead = PLAIN,
    ) -> None:
        super().__init__()
        if output_stride not in _DILATIONS:
            raise ValueError(f"output_stride must be one of {sorted(_DILATIONS)}, got {output_stride}.")
        stem, third = int(width * 64), int(width * 192)
        self.conv1 = ConvNormReLU(spatial_dims, in_channels, stem, 7, stride=2)
        self.conv2 = ConvNormReLU(spatial_dims, stem, stem, 1)
        self.conv3 = ConvNormReLU(spatial_dims, stem, third, 3)

        rate4, rate5 = _DILATIONS[output_stride]
        modules: list[Inception] = []
        before = third
        for rate, stage in zip((1, rate4, rate5), _INCEPTIONS, strict=True):
            for published in stage:
                one, reduce3, three, reduce5, five, pooled = (max(1, int(width * channels)) for channels in published)
                modules.append(Inception(spatial_dims, before, (one, reduce3, three, reduce5, five, pooled), rate))
                before = modules[-1].out_channels
        self.inception3a, self.inception3b = modules[:2]
        self.inception4a, self.inception4b, self.inception4c, self.inception4d, self.inception4e = modules[2:7]
        self.inception5a, self.inception5b = modules[7:]
        self.level_channels = (stem, third, modules[1].out_channels, modules[6].out_channels, before)

        pool = Pool[Pool.MAX, spatial_dims]
        self.pool1, self.pool2, self.pool3 = (
            pool(kernel_size=3, stride=stride, padding=1) for stride in (2, 2, 2 if rate4 == 1 else 1)
        )
        self.pool4 = pool(kernel_size=2, stride=2, ceil_mode=True) if rate5 == 1 else nn.Identity()
        self._add_head(spatial_dims, num_classes, head)

    def levels(self, x: Tensor) -> list[Tensor]:
        """Five feature maps ``(B, level_channels[i], *S_i)``, fine to coarse, without the head convolutions."""
        first = self.conv1(x)
        second = self.conv3(self.conv2(self.pool1(first)))
        third = self.inception3b(self.inception3a(self.pool2(second)))
        x = self.inception4b(self.inception4a(self.pool3(third)))
        fourth = self.drop(self.inception4e(self.inception4d(self.inception4c(x))))
        return [first, second, third, fourth, self.drop(self.inception5b(self.inception5a(self.pool4(fourth))))]
