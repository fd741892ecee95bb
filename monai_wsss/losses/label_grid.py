"""Labels on the grid of a network's output."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def labels_on_grid(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Labels ``(B, C, *size)`` of labels ``(B, C, *S)``: each cell has the label of the pixel in its middle.

    ``y_i = x_floor((i + 1/2) S / size)``, torch's ``nearest-exact``; labels that are on the grid are returned as they
    are.

    Args:
        labels: any dtype that float32 or itself holds exactly, 2D or 3D.
        size: the grid, as many axes as ``*S``.

    Raises:
        ValueError: if the axes do not fit.
    """
    if labels.ndim != len(size) + 2:
        raise ValueError(f"labels must be (B, C, *S) with {len(size)} axes S, got {tuple(labels.shape)}.")
    if labels.shape[2:] == tuple(size):
        return labels
    return F.interpolate(labels.float(), size=tuple(size), mode="nearest-exact").to(labels.dtype)
