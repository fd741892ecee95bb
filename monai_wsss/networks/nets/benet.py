"""BENet: class boundaries from the five levels of a frozen classifier; IRNet's boundary branch is the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn
from torch.nn import functional as F

_STRIDE = 4  # input pixels per output pixel


class BoundaryNetwork(nn.Module):
    """Frozen backbone and boundary branch; a subclass gives ``forward``.

    Boundary: every level through a 1x1 convolution to ``boundary_channels`` with group norm, all on the grid of stride
    4, ReLU, together to one logit by another 1x1 convolution.

    The backbone takes no gradient and keeps its evaluation statistics in training too; its weights are part of the
    ``state_dict``. Any image size: levels are resized to the output's grid, which is the published code's upsampling
    where the sides are multiples of the coarsest stride.

    Args:
        backbone: has ``levels(x)``, five feature maps from fine to coarse, and ``level_channels``, five numbers; frozen
            in place.
        boundary_channels: channels of each level in the boundary branch, a multiple of 4.
        spatial_dims: 2 or 3, the backbone's.

    Raises:
        ValueError: if ``boundary_channels`` does not fit, or the backbone has not five levels.
    """

    def __init__(self, backbone: nn.Module, boundary_channels: int = 32, spatial_dims: int = 2) -> None:
        super().__init__()
        channels: Sequence[int] = tuple(backbone.level_channels)  # type: ignore[arg-type]
        if len(channels) != 5:
            raise ValueError(f"the backbone must have five levels, got channels {channels}.")
        if boundary_channels < 1 or boundary_channels % 4:
            raise ValueError(f"boundary_channels must be a multiple of 4, got {boundary_channels}.")
        self.backbone = backbone.requires_grad_(False).eval()
        self.boundary_levels = nn.ModuleList(norm_conv(spatial_dims, n, boundary_channels, 4) for n in channels)
        self.boundary_head = last_conv(spatial_dims, 5 * boundary_channels, 1, bias=True)

    @torch.no_grad()
    def boundary(self, x: Tensor, flips: bool = True, flip_axis: int = -1) -> Tensor:
        """Probability of a boundary; no other branch is computed.

        ``sigmoid((z(x) + flip(z(flip(x)))) / 2)`` with logits z

        Args:
            x: images ``(B, C, *S)``.
            flips: average the logits of the image and of its mirror image.
            flip_axis: spatial axis of the mirror, 0 the first, -1 the last.

        Returns:
            Probabilities ``(B, 1, *ceil(S / 4))``, float32.
        """
        if flips:  # whole cells, edge pixels repeated: otherwise the mirror image's cells would be others
            spare = [side for length in reversed(x.shape[2:]) for side in (0, -length % _STRIDE)]
            x = F.pad(x, spare, mode="replicate") if any(spare) else x
        logits = self.boundary_logits(self.levels(x), grid_size(x)).float()
        if flips:
            axis = range(2, x.ndim)[flip_axis]
            mirrored = self.boundary_logits(self.levels(x.flip(axis)), grid_size(x)).float()
            logits = (logits + mirrored.flip(axis)) / 2
        return logits.sigmoid()

    def trainable_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of each branch, under its name: ``boundary`` and what the subclass adds."""
        groups: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if not name.startswith("backbone."):
                groups.setdefault(name.split("_")[0], []).append(parameter)
        return groups

    def train(self, mode: bool = True) -> BoundaryNetwork:
        """Switch the branches; the backbone stays in evaluation."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def levels(self, x: Tensor) -> list[Tensor]:
        """The backbone's five feature maps, without gradient."""
        return list(self.backbone.levels(x))  # type: ignore[operator]

    def boundary_logits(self, levels: list[Tensor], size: list[int]) -> Tensor:
        """Boundary logits ``(B, 1, *size)`` of the backbone's feature maps."""
        return self.boundary_head(join(self.boundary_levels, levels, size))


class BENet(BoundaryNetwork):
    """Boundary branch on a frozen backbone, and nothing else; see :class:`BoundaryNetwork` for arguments and errors.

    The published code sends gradients through the backbone, though no optimiser uses them; here there are none.

    Source: Chen et al., Weakly supervised semantic segmentation with boundary exploration, ECCV 2020, Secs. 3.1 and
    4.1; group norm and 32 channels as in the published code, which are IRNet's.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Boundary logits ``(B, 1, *ceil(S / 4))`` of ``x (B, C, *S)``."""
        return self.boundary_logits(self.levels(x), grid_size(x))


def grid_size(x: Tensor) -> list[int]:
    """Size of the stride-4 grid of images ``(B, C, *S)``: ``ceil(S / 4)``."""
    return [-(-side // _STRIDE) for side in x.shape[2:]]


def norm_conv(spatial_dims: int, before: int, after: int, groups: int) -> nn.Module:
    """1x1 convolution without bias, group norm; ReLU follows outside, after the resizing."""
    norm = ("group", {"num_groups": groups})
    return Convolution(spatial_dims, before, after, kernel_size=1, norm=norm, act=None, bias=False)


def last_conv(spatial_dims: int, before: int, after: int, bias: bool) -> nn.Module:
    """1x1 convolution that ends a branch."""
    return Convolution(spatial_dims, before, after, kernel_size=1, conv_only=True, bias=bias)


def join(blocks: nn.ModuleList, levels: Sequence[Tensor], size: list[int]) -> Tensor:
    """Every level through its block, on one grid; ReLU after the resizing, as published."""
    parts = [F.relu(resize(block(x), size)) for block, x in zip(blocks, levels, strict=True)]
    return torch.cat(parts, dim=1)


def resize(x: Tensor, size: list[int]) -> Tensor:
    """Linear interpolation to ``size``; nothing if it has that size."""
    if list(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear" if x.ndim == 4 else "trilinear", align_corners=False)
