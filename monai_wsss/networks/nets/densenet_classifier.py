"""DenseNet classifier whose class maps can be read off."""

from __future__ import annotations

from monai.networks.layers.factories import Pool
from monai.networks.nets import DenseNet121
from torch import nn

from monai_wsss.networks.nets.pooled_classifier import PLAIN, ClassifierHead
from monai_wsss.networks.nets.resnet_classifier import replace_stride
from monai_wsss.networks.nets.trunk_classifier import TrunkClassifier

# Dilation of the third and the fourth block that replaces the poolings before them, by output stride (1: it stays).
_DILATIONS = {32: (1, 1), 16: (1, 2), 8: (2, 4)}
# Layers of the trunk up to and with the stem's ReLU, each dense block, and the ReLU after the last norm.
_BLOCK_ENDS = (3, 5, 7, 9, 13)


class DenseNetClassifier(TrunkClassifier):
    """DenseNet121 with global average pooling and one linear layer, as class activation maps need it.

    ``logits = W . mean(F(x)) + b``, so that ``W . F(x)`` is the class map and its spatial mean plus ``b`` the logit.

    At output stride 16 or 8 the last one or two transitions do not pool and the 3x3 convolutions after them get
    dilation. The poolings of transitions round up, which matters to sizes that 32 does not divide. The levels are the
    stem (stride 2) and the outputs of the four dense blocks (4, 8, 8, 8 at output stride 8), the last after its norm
    and ReLU.

    ``trunk`` is MONAI's ``features``; :func:`load_backbone` knows torchvision's names for them, old and new.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input image.
        num_classes: number of classes K, one logit each.
        output_stride: input pixels per feature pixel: 32, 16 or 8.
        width: factor on the stem's channels and on the growth rate, each at least 1; 1 is the published network, less
            is for tests and small runs.
        head: convolutions on the backbone and DropBlock within it, see :class:`ClassifierHead`.

    Raises:
        ValueError: if ``output_stride`` is none of the above.

    Source: Huang et al., Densely connected convolutional networks, 2017, table 1; dilation: Yu et al., Dilated
    residual networks, 2017.
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
        stem, growth = (max(1, int(width * channels)) for channels in (64, 32))
        self.trunk = DenseNet121(spatial_dims, in_channels, num_classes, stem, growth).features
        self.trunk.append(nn.ReLU(inplace=True))  # MONAI's stands among the layers that are left away
        self.block_ends = _BLOCK_ENDS
        first = stem + 6 * growth
        second = first // 2 + 12 * growth
        third = second // 2 + 24 * growth
        self.level_channels = (stem, first, second, third, third // 2 + 16 * growth)
        average = Pool[Pool.AVG, spatial_dims]
        for number, rate in enumerate((1, *_DILATIONS[output_stride]), start=1):
            pool = average(kernel_size=2, stride=2, ceil_mode=True) if rate == 1 else nn.Identity()
            self.trunk.get_submodule(f"transition{number}").pool = pool
            replace_stride(self.trunk.get_submodule(f"denseblock{number + 1}"), before=rate, after=rate)
        self._add_head(spatial_dims, num_classes, head)
