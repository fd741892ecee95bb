"""Noise filter of label maps: small regions with low confidence."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

_IGNORE = 255


def drop_small_regions(
    labels: Tensor, confidence: Tensor, min_size: float, min_confidence: float, fill: int = 0
) -> Tensor:
    """Replace the regions of a class that are small and nowhere confident.

    ``L(r) <- fill where |r| < min_size and max_{i in r} C_k(i) < min_confidence``, for each connected region r of
    class k (8 neighbours in 2D, 26 in 3D)

    The region's strongest pixel decides, not its mean: a region that a CRF let grow into weak pixels is not less
    certain for it. Runs on the CPU.

    Args:
        labels: 0 background, k + 1 class k, 255 ignore, ``(B, 1, *S)``, uint8.
        confidence: C, for example class maps in [0, 1], ``(B, K, *S)``.
        min_size: pixels; 0 drops nothing.
        min_confidence: in the units of C; 0 drops nothing that is in [0, 1].
        fill: the label that takes the place, 0 or 255.

    Returns:
        Labels ``(B, 1, *S)``, uint8, on the device of ``labels``.

    Raises:
        ValueError: if the shapes do not fit, or a label has no map.

    Source: Viniavskyi et al., 2020, Section 3.1, "noise filtering (small regions with low confidence)"; the paper
    gives no numbers.
    """
    fits = labels.ndim >= 3 and labels.shape[1] == 1 and labels.ndim == confidence.ndim
    if not fits or labels.shape[0] != confidence.shape[0] or labels.shape[2:] != confidence.shape[2:]:
        raise ValueError(
            "labels must be (B, 1, *S) and confidence (B, K, *S), got "
            f"{tuple(labels.shape)} and {tuple(confidence.shape)}."
        )
    found = [label for label in torch.unique(labels).tolist() if label not in (0, _IGNORE)]
    if found and found[-1] > confidence.shape[1]:
        raise ValueError(f"labels must be 0..{confidence.shape[1]} or {_IGNORE}, got {found[-1]}.")
    if min_size <= 0:
        return labels.clone()
    kept = labels.cpu().numpy().copy()
    neighbours = ndimage.generate_binary_structure(labels.ndim - 1, labels.ndim - 1)
    neighbours[[0, -1]] = False  # images of a batch are no neighbours
    for label in found:
        regions, count = ndimage.label(kept[:, 0] == label, structure=neighbours)
        sizes = np.bincount(regions.ravel(), minlength=count + 1)
        strength = confidence[:, label - 1].detach().float().cpu().numpy()
        peaks = ndimage.maximum(strength, regions, index=np.arange(count + 1))
        drop = (sizes < min_size) & (np.asarray(peaks) < min_confidence)
        drop[0] = False
        kept[:, 0][drop[regions]] = fill
    return torch.from_numpy(kept).to(labels.device)
