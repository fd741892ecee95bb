"""IRNet: class boundaries and displacements from the five levels of a frozen classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.networks.nets.benet import BoundaryNetwork, grid_size, join, last_conv, norm_conv, resize


class IRNet(BoundaryNetwork):
    """Boundary branch and displacement branch on a frozen backbone, 1x1 convolutions throughout.

    Boundary and backbone: see :class:`~monai_wsss.networks.nets.benet.BoundaryNetwork`. Displacement: levels to c/4,
    c/2, c, c, c; levels 3-5 merged on level 3's grid; with levels 1 and 2, on the grid of stride 4, to one component an
    axis. Group norm and ReLU follow every convolution but the last.

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
        super().__init__(backbone, boundary_channels, spatial_dims)
        c, dims = displacement_channels, spatial_dims
        if c < 1 or c % 32:
            raise ValueError(f"displacement_channels must be a multiple of 32, got {c}.")
        channels: tuple[int, ...] = tuple(backbone.level_channels)  # type: ignore[arg-type]
        plan = zip(channels, (c // 4, c // 2, c, c, c), (8, 16, 16, 16, 16), strict=True)
        self.displacement_levels = nn.ModuleList(norm_conv(dims, *widths) for widths in plan)
        self.displacement_merge = norm_conv(dims, 3 * c, c, 16)
        self.displacement_join = norm_conv(dims, c // 4 + c // 2 + c, c, 16)
        self.displacement_head = last_conv(dims, c, dims, bias=False)
        self.register_buffer("mean_shift", torch.zeros(dims))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Boundary logits ``(B, 1, *h)`` and displacement ``(B, dims, *h)``, ``h = ceil(S / 4)``, of ``x (B, C, *S)``.

        The displacement counts pixels of the output's grid, rows first; in evaluation ``mean_shift`` is taken off.
        """
        levels, size = self.levels(x), grid_size(x)
        displacement = self._displacement(levels, size)
        if not self.training:
            shift = self.mean_shift.reshape(1, -1, *[1] * (x.ndim - 2))
            displacement = displacement - shift
        return self.boundary_logits(levels, size), displacement

    def set_mean_shift(self, mean: Tensor) -> None:
        """Set the mean displacement ``(dims,)``, which means nothing and is taken off in evaluation.

        Raises:
            ValueError: if ``mean`` does not fit or is not finite.
        """
        if mean.shape != self.mean_shift.shape or not bool(torch.isfinite(mean).all()):
            raise ValueError(f"mean must be {len(self.mean_shift)} finite numbers, got {mean.tolist()}.")
        self.mean_shift.copy_(mean.detach())

    def _displacement(self, levels: list[Tensor], size: list[int]) -> Tensor:
        middle = join(self.displacement_levels[2:], levels[2:], list(levels[2].shape[2:]))
        merged = F.relu(resize(self.displacement_merge(middle), size))
        fine = join(self.displacement_levels[:2], levels[:2], size)
        return self.displacement_head(F.relu(self.displacement_join(torch.cat([fine, merged], dim=1))))
