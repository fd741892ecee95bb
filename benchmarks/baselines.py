"""The trivial rows that stand in every table of accuracy: functions of arrays, no training."""

import math

import torch
from monai.transforms import KeepLargestConnectedComponent
from scipy import ndimage
from torch import Tensor


def all_background(volume: Tensor) -> Tensor:
    """An empty mask: all false, the shape of the volume (D, H, W)."""
    return torch.zeros_like(volume, dtype=torch.bool)


def brightest_blob(volume: Tensor, body: Tensor, percentile: float = 95.0, margin: float = 0.1) -> Tensor:
    """The largest bright component of every slice, in the body without its rim.

    ``largest component of {x inside the body: volume(x) > percentile of the slice's inside}``. The rim goes because
    the scalp's fat is the brightest thing in the head: its width is a share of the diameter of the disc that has the
    slice's body area. Every slice with a body gets a blob, so that the row claims a lesion in negatives too.

    The defaults are the best of 24 settings (percentiles and standard deviations, per slice and per volume, three
    margins) for the slices' Dice on the training masks of lgg_mri. The row thus knows more than a method under
    protocol W0 may: it is a hurdle set high on purpose, and a table says so.

    Args:
        volume: intensities, (D, H, W), any scale.
        body: mask of the body, bool (D, H, W).
        percentile: of the intensities inside, 0..100.
        margin: width of the rim, as a share of the body's diameter.

    Returns:
        bool, (D, H, W), on the device of the volume.

    Raises:
        ValueError: shapes differ or the volume does not have three axes.
    """
    if volume.ndim != 3 or volume.shape != body.shape:
        raise ValueError(f"volume {tuple(volume.shape)} and body {tuple(body.shape)} must have one shape (D, H, W)")
    largest = KeepLargestConnectedComponent(applied_labels=1, connectivity=2)
    mask = all_background(volume)
    for index in range(len(volume)):
        inside = _without_rim(body[index], margin)
        if inside.any():
            threshold = torch.quantile(volume[index][inside].float(), percentile / 100)
            bright = inside & (volume[index] > threshold)
            mask[index] = largest(bright[None].byte())[0] > 0
    return mask


def position_prior(pseudo_masks: Tensor, ignore: int = 255) -> Tensor:
    """One mask for every slice: where the training set's pseudo masks mostly lie.

    The pixels most often labelled, as many as a pseudo mask has on average. Pseudo masks come from image-level labels,
    so that no true mask is used (protocol W0); with true masks in their place it is the oracle of its kind.

    Args:
        pseudo_masks: label maps of the training set's positive slices on one grid, integer (N, H, W).
        ignore: label that counts as background.

    Returns:
        bool, (H, W); empty if no slice has a label.
    """
    labelled = (pseudo_masks > 0) & (pseudo_masks != ignore)
    labelled = labelled[labelled.flatten(1).any(1)]
    prior = torch.zeros(pseudo_masks.shape[1:], dtype=torch.bool, device=pseudo_masks.device)
    if len(labelled):
        size = round(float(labelled.sum()) / len(labelled))
        often = labelled.sum(0).flatten()
        prior.view(-1)[often.argsort(descending=True, stable=True)[:size]] = True
    return prior


def _without_rim(body: Tensor, margin: float) -> Tensor:
    """The pixels of a slice's body (H, W) further than ``margin`` body diameters from what is outside it."""
    width = margin * 2 * math.sqrt(float(body.sum()) / math.pi)
    framed = ndimage.distance_transform_edt(torch.nn.functional.pad(body.bool(), (1, 1, 1, 1)).cpu().numpy())
    return torch.as_tensor(framed[1:-1, 1:-1] > width, device=body.device)
