"""VGG classifier whose class maps can be read off."""

from __future__ import annotations

from monai.networks.layers.factories import Conv, Norm, Pool
from torch import nn

from monai_wsss.networks.nets.pooled_classifier import PLAIN, ClassifierHead, init_conv
from monai_wsss.networks.nets.trunk_classifier import TrunkClassifier

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_OUTPUT_STRIDES = (8, 16, 32)


class VGGClassifier(TrunkClassifier):
    """VGG16 with global average pooling and one linear layer, as class activation maps need it.

    ``logits = W . mean(F(x)) + b``, so that ``W . F(x)`` is the class map and its spatial mean plus ``b`` the logit.

    At output stride 32 the backbone is the published one. At 16 the pooling after the fifth block is left out. At 8
    the fourth pooling becomes 3x3 with stride 1 and the fifth block's convolutions get dilation 2. Poolings round up,
    which matters to sizes that 32 does not divide.

    DropBlock stands after the fourth and the fifth block, the counterparts of ResNet's ``layer3`` and ``layer4`` and
    the place that DropBlock's paper recommends; the published X-ray code has it after the first convolution. The
    levels are the outputs of the five blocks with their poolings: strides 2, 4, 8, 8, 8 at output stride 8.

    The layers of ``trunk`` are numbered as torchvision's ``features`` are; ``head`` holds the head convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input image.
        num_classes: number of classes K, one logit each.
        batch_norm: batch norm after every convolution of the backbone.
        output_stride: input pixels per feature pixel: 8, 16 or 32.
        width: factor on the backbone's channels; 1 is the published network, less is for tests and small runs.
        head: convolutions on the backbone and DropBlock within it, see :class:`ClassifierHead`.

    Raises:
        ValueError: if ``output_stride`` is none of the above.

    Source: Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2015; output
    stride, head and DropBlock: Viniavskyi et al., Weakly-supervised segmentation for disease localization in chest
    X-ray images, 2020, and its published code.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        num_classes: int = 1,
        batch_norm: bool = True,
        output_stride: int = 8,
        width: float = 1.0,
        head: ClassifierHead = PLAIN,
    ) -> None:
        super().__init__()
        if output_stride not in _OUTPUT_STRIDES:
            raise ValueError(f"output_stride must be one of {_OUTPUT_STRIDES}, got {output_stride}.")
        pool_type = Pool[Pool.MAX, spatial_dims]
        halve = {"kernel_size": 2, "stride": 2, "ceil_mode": True}
        keep = {"kernel_size": 3, "stride": 1, "padding": 1}
        pools = [halve, halve, halve, keep if output_stride == 8 else halve, halve if output_stride == 32 else None]

        ends: list[int] = []
        before = in_channels
        for number, (block, pool) in enumerate(zip(_BLOCKS, pools, strict=True), start=1):
            rate = 2 if number == 5 and output_stride == 8 else 1
            for full_width in block:
                channels = int(width * full_width)
                conv = Conv[Conv.CONV, spatial_dims](before, channels, kernel_size=3, padding=rate, dilation=rate)
                init_conv(conv)
                self.trunk.append(conv)
                if batch_norm:
                    self.trunk.append(Norm[Norm.BATCH, spatial_dims](channels))
                self.trunk.append(nn.ReLU(inplace=True))
                before = channels
            if pool is not None:
                self.trunk.append(pool_type(**pool))
            ends.append(len(self.trunk))
        self.block_ends = tuple(ends)
        one, two, three, four, five = (int(width * block[-1]) for block in _BLOCKS)
        self.level_channels = (one, two, three, four, five)
        self._add_head(spatial_dims, num_classes, head)
