"""The trivial rows that stand in every table of accuracy: functions of arrays, no training."""

import math

import torch
from monai.transforms import KeepLargestConnectedComponent
from scipy import ndimage
from torch import Tensor

BLOB_OF_CLASSES = "The brightest blob is left out: brightness does not tell one class from another."
"""What a table of several classes says in its place."""


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


def position_prior(pseudo_masks: Tensor, num_classes: int = 1) -> Tensor:
    """One label map for every slice: where the training set's pseudo masks mostly lie.

    Of each class the pixels most often labelled so, as many as a pseudo mask with the class has on average; where
    classes meet, the one that lies there more often. Pseudo masks come from image-level labels, so that no true mask is
    used (protocol W0); with true masks in their place it is the oracle of its kind. Like the brightest blob it claims
    a lesion in every slice, one of each class.

    Args:
        pseudo_masks: label maps of the training set's slices on one grid, integer (N, H, W): k + 1 class k, all else
            background; those without a label of a class say nothing of it.
        num_classes: K.

    Returns:
        0 background, k + 1 class k, uint8 (H, W); background alone if no slice has a label.
    """
    prior = torch.zeros(pseudo_masks.shape[1:], dtype=torch.uint8, device=pseudo_masks.device)
    most = torch.zeros(prior.shape, device=prior.device)
    for label in range(1, num_classes + 1):
        labelled = pseudo_masks == label
        labelled = labelled[labelled.flatten(1).any(1)]
        if len(labelled):
            share = labelled.sum(0) / len(labelled)
            size = round(float(labelled.sum()) / len(labelled))
            own = torch.zeros_like(share)
            often = share.flatten().argsort(descending=True, stable=True)[:size]
            own.view(-1)[often] = share.view(-1)[often]
            prior[own > most] = label
            most = torch.maximum(most, own)
    return prior


def _without_rim(body: Tensor, margin: float) -> Tensor:
    """The pixels of a slice's body (H, W) further than ``margin`` body diameters from what is outside it."""
    width = margin * 2 * math.sqrt(float(body.sum()) / math.pi)
    framed = ndimage.distance_transform_edt(torch.nn.functional.pad(body.bool(), (1, 1, 1, 1)).cpu().numpy())
    return torch.as_tensor(framed[1:-1, 1:-1] > width, device=body.device)
