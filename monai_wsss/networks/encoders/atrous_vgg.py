"""VGG16 trunk of DeepLab at output stride 8."""

from __future__ import annotations

from monai.networks.layers.factories import Pad, Pool

from monai_wsss.networks.encoders.vgg_encoder import VGGEncoder


class AtrousVGG(VGGEncoder):
    """:class:`VGGEncoder` with DeepLab's poolings.

    All poolings are 3x3 with padding 1: the first three have stride 2, the fourth and the fifth stride 1, and a mean
    of 3x3 follows. The fifth block's convolutions have dilation 2. Sizes S become ``ceil(S / 8)``. There is no batch
    norm.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        width: factor on the channels; 1 is the published network, less is for tests and small runs.

    Source: Chen et al., DeepLab, TPAMI 2018, and the published networks of it; they round sizes up after a pooling,
    which gives even sizes one cell more.
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, width: float = 1.0) -> None:
        super().__init__(spatial_dims, in_channels, output_stride=8, width=width)
        maximum = Pool[Pool.MAX, spatial_dims]
        for end in self.block_ends[:3]:
            self.trunk[end - 1] = maximum(kernel_size=3, stride=2, padding=1)
        self.trunk.append(maximum(kernel_size=3, stride=1, padding=1))
        # Zeros count in the mean, as in Caffe; torch's own padding refuses volumes with an axis below 3
        self.trunk.append(Pad[Pad.CONSTANTPAD, spatial_dims](1, 0.0))
        self.trunk.append(Pool[Pool.AVG, spatial_dims](kernel_size=3, stride=1))
        self.block_ends = (*self.block_ends[:4], len(self.trunk))
