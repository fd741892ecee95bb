"""MONAI's FlexibleUNet for images of any size."""

from __future__ import annotations

from monai.networks.nets import FlexibleUNet
from torch import Tensor
from torch.nn import functional as F

# Importing the package registers its encoders.
from monai_wsss.networks import encoders  # noqa: F401


class EncoderUNet(FlexibleUNet):
    """FlexibleUNet that repeats the image's last pixels up to a multiple of 32 and crops the logits back.

    MONAI's version wants multiples of 32: its ``is_pad`` expects sizes to be rounded down, ResNets round them up.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *S)`` of images ``(B, C, *S)``."""
        x = inputs
        missing: list[int] = []
        for dim in range(x.dim() - 1, 1, -1):  # F.pad wants the last dimension first
            missing += [0, -x.size(dim) % 32]  # the encoders halve the size five times
        if sum(missing) > 0:
            x = F.pad(x, missing, mode="replicate")
        x = self.segmentation_head(self.decoder(self.encoder(x), self.skip_connect))
        for dim in range(2, inputs.dim()):
            x = x.narrow(dim, 0, inputs.size(dim))
        return x
