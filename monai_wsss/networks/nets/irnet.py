"""IRNet: class boundaries and displacements from the five levels of a frozen classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn
from torch.nn import functional as F

_STRIDE = 4  # input pixels per output pixel


class IRNet(nn.Module):
    """Boundary branch and displacement branch on a frozen backbone, 1x1 convolutions throughout.

    Boundary: every level to ``boundary_channels``, all on the grid of stride 4, together to one logit. Displacement:
    levels to c/4, c/2, c, c, c; levels 3-5 merged on level 3's grid; with levels 1 and 2, on the grid of stride 4, to
    one component an axis. Group norm and ReLU follow every convolution but the last.

    The backbone takes no gradient and keeps its evaluation statistics in training too; its weights are part of the
    ``state_dict``. Any image size: levels are resized to the output's grid, which is the published code's upsampling
    where the sides are multiples of the coarsest stride.

    Args:
        backbone: has ``levels(x)``, five feature maps from fine to coarse, and ``level_channels``, five numbers; frozen
            in place.
        boundary_channels: channels of each level in the boundary branch, a multiple of 4.
        displacement_channels: c, a multiple of 32.
        spatial_dims: 2 or 3, the backbone's.

    Raises:
        ValueError: if a number of channels does not fit, or the backbone has not five levels.

    Source: Ahn et al., Weakly supervised learning of instance segmentation with inter-pixel relations, CVPR 2019,
    Sec. 4.1; group norm and widths as in the published code.
    """

    mean_shift: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        boundary_channels: int = 32,
        displacement_channels: int = 256,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        channels: Sequence[int] = tuple(backbone.level_channels)  # type: ignore[arg-type]
        if len(channels) != 5:
            raise ValueError(f"the backbone must have five levels, got channels {channels}.")
        if boundary_channels < 1 or boundary_channels % 4:
            raise ValueError(f"boundary_channels must be a multiple of 4, got {boundary_channels}.")
        if displacement_channels < 1 or displacement_channels % 32:
            raise ValueError(f"displacement_channels must be a multiple of 32, got {displacement_channels}.")

        def block(before: int, after: int, groups: int) -> nn.Module:
            norm = ("group", {"num_groups": groups})
            return Convolution(spatial_dims, before, after, kernel_size=1, norm=norm, act=None, bias=False)

        def last(before: int, after: int, bias: bool) -> nn.Module:
            return Convolution(spatial_dims, before, after, kernel_size=1, conv_only=True, bias=bias)

        c = displacement_channels
        widths, groups = (c // 4, c // 2, c, c, c), (8, 16, 16, 16, 16)
        self.backbone = backbone.requires_grad_(False).eval()
        self.boundary_levels = nn.ModuleList(block(n, boundary_channels, 4) for n in channels)
        self.boundary_head = last(5 * boundary_channels, 1, bias=True)
        self.displacement_levels = nn.ModuleList(map(block, channels, widths, groups))
        self.displacement_merge = block(3 * c, c, 16)
        self.displacement_join = block(c // 4 + c // 2 + c, c, 16)
        self.displacement_head = last(c, spatial_dims, bias=False)
        self.register_buffer("mean_shift", torch.zeros(spatial_dims))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Boundary logits ``(B, 1, *h)`` and displacement ``(B, dims, *h)``, ``h = ceil(S / 4)``, of ``x (B, C, *S)``.

        The displacement counts pixels of the output's grid, rows first; in evaluation ``mean_shift`` is taken off.
        """
        levels, size = self._levels(x), _grid(x)
        displacement = self._displacement(levels, size)
        if not self.training:
            shift = self.mean_shift.reshape(1, -1, *[1] * (x.ndim - 2))
            displacement = displacement - shift
        return self._boundary(levels, size), displacement

    @torch.no_grad()
    def boundary(self, x: Tensor, flips: bool = True, flip_axis: int = -1) -> Tensor:
        """Probability of a boundary; the displacement branch is not computed.

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
        logits = self._boundary(self._levels(x), _grid(x)).float()
        if flips:
            axis = range(2, x.ndim)[flip_axis]
            mirrored = self._boundary(self._levels(x.flip(axis)), _grid(x)).float()
            logits = (logits + mirrored.flip(axis)) / 2
        return logits.sigmoid()

    def set_mean_shift(self, mean: Tensor) -> None:
        """Set the mean displacement ``(dims,)``, which means nothing and is taken off in evaluation.

        Raises:
            ValueError: if ``mean`` does not fit or is not finite.
        """
        if mean.shape != self.mean_shift.shape or not bool(torch.isfinite(mean).all()):
            raise ValueError(f"mean must be {len(self.mean_shift)} finite numbers, got {mean.tolist()}.")
        self.mean_shift.copy_(mean.detach())

    def trainable_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of the branches, under ``boundary`` and ``displacement``; the published rates are 0.1 and 1.0."""
        groups: dict[str, list[nn.Parameter]] = {"boundary": [], "displacement": []}
        for name, parameter in self.named_parameters():
            if not name.startswith("backbone."):
                groups[name.split("_")[0]].append(parameter)
        return groups

    def train(self, mode: bool = True) -> IRNet:
        """Switch the branches; the backbone stays in evaluation."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def _levels(self, x: Tensor) -> list[Tensor]:
        return list(self.backbone.levels(x))  # type: ignore[operator]

    def _boundary(self, levels: list[Tensor], size: list[int]) -> Tensor:
        return self.boundary_head(_join(self.boundary_levels, levels, size))

    def _displacement(self, levels: list[Tensor], size: list[int]) -> Tensor:
        middle = _join(self.displacement_levels[2:], levels[2:], list(levels[2].shape[2:]))
        merged = F.relu(_resize(self.displacement_merge(middle), size))
        fine = _join(self.displacement_levels[:2], levels[:2], size)
        return self.displacement_head(F.relu(self.displacement_join(torch.cat([fine, merged], dim=1))))


def _grid(x: Tensor) -> list[int]:
    return [-(-side // _STRIDE) for side in x.shape[2:]]


def _join(blocks: nn.ModuleList, levels: Sequence[Tensor], size: list[int]) -> Tensor:
    """Every level through its block, on one grid; ReLU after the resizing, as published."""
    parts = [F.relu(_resize(block(x), size)) for block, x in zip(blocks, levels, strict=True)]
    return torch.cat(parts, dim=1)


def _resize(x: Tensor, size: list[int]) -> Tensor:
    if list(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear" if x.ndim == 4 else "trilinear", align_corners=False)
