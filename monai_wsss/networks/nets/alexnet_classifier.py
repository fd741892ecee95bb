"""AlexNet classifier whose class maps can be read off."""

from __future__ import annotations

from monai.networks.layers.factories import Conv, Pool
from torch import nn

from monai_wsss.networks.nets.pooled_classifier import PLAIN, ClassifierHead, init_conv
from monai_wsss.networks.nets.trunk_classifier import TrunkClassifier

_CONVS = ((64, 11), (192, 5), (384, 3), (256, 3), (256, 3))  # channels and kernel size
_OUTPUT_STRIDES = (8, 16, 32)


class AlexNetClassifier(TrunkClassifier):
    """AlexNet with global average pooling and one linear layer in place of its three, as class activation maps need it.

    ``logits = W . mean(F(x)) + b``, so that ``W . F(x)`` is the class map and its spatial mean plus ``b`` the logit.

    At output stride 16 the last pooling is left out. At 8 the second has stride 1 as well and the convolutions after
    it get dilation 2; every 2nd feature equals the feature at 16. The levels are the outputs of the five convolutions:
    strides 4, 8, 8, 8, 8 at output stride 8; the first two before their poolings, the last after its own.

    The layers of ``trunk`` are numbered as torchvision's ``features`` are. First convolution and poolings have more
    padding than torchvision's, so that sizes S become ``ceil(S / output_stride)`` and maps lie on their image.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input image.
        num_classes: number of classes K, one logit each.
        output_stride: input pixels per feature pixel: 8, 16 or 32.
        width: factor on the backbone's channels; 1 is the published network, less is for tests and small runs.
        head: convolutions on the backbone and DropBlock within it, see :class:`ClassifierHead`.

    Raises:
        ValueError: if ``output_stride`` is none of the above.

    Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014, whose channels
    torchvision has; average pooling: Zhou et al., Learning deep features for discriminative localization, 2016.
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
        if output_stride not in _OUTPUT_STRIDES:
            raise ValueError(f"output_stride must be one of {_OUTPUT_STRIDES}, got {output_stride}.")
        pool = Pool[Pool.MAX, spatial_dims]
        second_stride, rate = (1, 2) if output_stride == 8 else (2, 1)
        one, two, three, four, five = (int(width * channels) for channels, _ in _CONVS)
        self.level_channels = (one, two, three, four, five)

        ends: list[int] = []
        before = in_channels
        for number, (channels, (_, size)) in enumerate(zip(self.level_channels, _CONVS, strict=True), start=1):
            conv = Conv[Conv.CONV, spatial_dims](
                before,
                channels,
                kernel_size=size,
                stride=4 if number == 1 else 1,
                padding=size // 2 * (rate if number > 2 else 1),
                dilation=rate if number > 2 else 1,
            )
            init_conv(conv)
            self.trunk.extend([conv, nn.ReLU(inplace=True)])
            ends.append(len(self.trunk))
            if number <= 2:
                self.trunk.append(pool(kernel_size=3, stride=second_stride if number == 2 else 2, padding=1))
            before = channels
        if output_stride == 32:
            self.trunk.append(pool(kernel_size=3, stride=2, padding=1))
        self.block_ends = (*ends[:4], len(self.trunk))
        self._add_head(spatial_dims, num_classes, head)
