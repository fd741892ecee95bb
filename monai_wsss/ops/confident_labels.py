"""One label map from two: what both agree on, and ignore elsewhere."""

import torch
from torch import Tensor

_IGNORE = 255


def confident_labels(foreground: Tensor, background: Tensor) -> Tensor:
    """Labels that are trusted, from a map that is strict about lesions and one that is strict about background.

    ``L = F where F > 0; 0 where F = B = 0; 255 elsewhere``

    Where both name a class, the foreground map's holds.

    Args:
        foreground: labels F from a high threshold, ``(B, 1, *S)``, uint8: 0 background, k + 1 class k, 255 ignore.
        background: labels B from a low threshold, the same.

    Returns:
        Labels ``(B, 1, *S)``, uint8.

    Raises:
        ValueError: if the shapes differ or are others.

    Source: Ahn et al., IRNet, CVPR 2019, Section 5.1 (thresholds 0.30 and 0.05 in the published code).
    """
    if foreground.ndim < 3 or foreground.shape[1] != 1 or foreground.shape != background.shape:
        raise ValueError(
            f"foreground and background must be (B, 1, *S), got {tuple(foreground.shape)}, {tuple(background.shape)}."
        )
    return torch.where((foreground == 0) & (background > 0), _IGNORE, foreground).to(torch.uint8)
