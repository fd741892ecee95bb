"""DeepLab-v2."""

from __future__ import annotations

from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.networks.encoders.atrous_resnet import AtrousResNet
from monai_wsss.networks.encoders.atrous_vgg import AtrousVGG
from monai_wsss.networks.nets.pooled_classifier import init_conv

ASPP_RATES = (6, 12, 18, 24)
LARGE_FOV_RATES = (12,)

_HIDDEN = 1024  # channels of VGG's fc6 and fc7


class DeepLabV2(nn.Module):
    """Trunk at output stride 8, a branch for each rate, the sum of their logits.

    ``logits = sum_r last_r(branch_r(F(x)))``, for

    - VGG16: a branch is 3x3 at rate r, ReLU, dropout, 1x1, ReLU, dropout, each convolution to 1024 channels; its last
      layer is 1x1.
    - ResNet: there is no branch, the last layers are 3x3 at rate r.

    In training mode the logits are those of the network's grid, ``ceil(S / 8)``, where the published losses are taken;
    in evaluation mode they are interpolated to the image's size. Images of any size are taken. The trunk is
    ``encoder``, by torchvision's key names; the layers that the papers train at 10 times the learning rate are
    ``last``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: 1 (sigmoid head) or number of classes + 1 (softmax head).
        backbone: ``vgg16``, ``resnet18``, ``resnet34``, ``resnet50`` or ``resnet101``.
        rates: dilations in cells: 6, 12, 18, 24 is ASPP, 12 alone is LargeFOV.
        dropout: probability of the branches' dropout.
        width: factor on the channels; 1 is the published network, less is for tests and small runs.

    Raises:
        ValueError: another backbone.

    Source: Chen et al., DeepLab, TPAMI 2018, sections 3 and 4; pooling and branches as Huang et al., DSRG, CVPR 2018,
    have them. ResNet's batch norm, frozen there, learns here.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        backbone: str = "vgg16",
        rates: tuple[int, ...] = ASPP_RATES,
        dropout: float = 0.5,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.interpolation = "bilinear" if spatial_dims == 2 else "trilinear"
        conv = Conv[Conv.CONV, spatial_dims]
        self.encoder: AtrousVGG | AtrousResNet
        self.branches = nn.ModuleList()
        self.last = nn.ModuleList()
        if backbone == "vgg16":
            self.encoder = AtrousVGG(spatial_dims, in_channels, width)
            features, hidden = self.encoder.level_channels[-1], int(width * _HIDDEN)
            for rate in rates:
                wide, point = conv(features, hidden, 3, padding=rate, dilation=rate), conv(hidden, hidden, 1)
                init_conv(wide)
                init_conv(point)
                drops = nn.Dropout(dropout), nn.Dropout(dropout)
                self.branches.append(
                    nn.Sequential(wide, nn.ReLU(inplace=True), drops[0], point, nn.ReLU(inplace=True), drops[1])
                )
                self.last.append(conv(hidden, out_channels, 1))
        elif backbone.startswith("resnet") and backbone.removeprefix("resnet").isdecimal():
            self.encoder = AtrousResNet(spatial_dims, in_channels, int(backbone.removeprefix("resnet")), 8, width)
            features = self.encoder.level_channels[-1]
            for rate in rates:
                self.branches.append(nn.Identity())
                self.last.append(conv(features, out_channels, 3, padding=rate, dilation=rate))
        else:
            raise ValueError(f"backbone must be vgg16 or a ResNet, got {backbone}.")
        for layer in self.last:
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *S)`` of images ``(B, C, *S)``; in training mode ``*S`` is ``*ceil(S / 8)``."""
        features = self.encoder(x)[-1]
        parts: list[Tensor] = []
        for branch, last in zip(self.branches, self.last):  # noqa: B905, TorchScript knows no strict
            parts.append(last(branch(features)))
        logits = parts[0]
        for part in parts[1:]:
            logits = logits + part
        if self.training:
            return logits
        return F.interpolate(logits, size=x.shape[2:], mode=self.interpolation, align_corners=False)
