"""Overlap measures from confusion matrices of label maps."""

import torch
from torch import Tensor

# Voxels looked at in one go: bounds the temporary int64 index to 128 MB whatever the volume.
_CHUNK = 2**24


def confusion(pred: Tensor, truth: Tensor, num_classes: int, ignore_index: int | None = None) -> Tensor:
    """Confusion matrix of each batch element: ``counts[b, i, j]`` voxels of true label i were given label j.

    Slices of a volume are a batch: ``confusion(pred.movedim(-1, 0), truth.movedim(-1, 0), C)`` gives one matrix a
    slice, and matrices add up, so that their sum is the volume's, the patient's or the data set's.

    Args:
        pred: predicted labels 0..C-1, (B, *spatial), with or without a channel of one, integer or bool.
        truth: true labels, same shape and device.
        num_classes: C, background included.
        ignore_index: true label of voxels that are not counted, whatever they were given; None counts all.

    Returns:
        int64, (B, C, C), on the device of the input.

    Raises:
        ValueError: shapes differ, a floating type, or a label outside 0..C-1.
    """
    if pred.shape != truth.shape or pred.ndim < 1:
        raise ValueError(f"pred {tuple(pred.shape)} and truth {tuple(truth.shape)} must have one shape (B, *spatial)")
    if pred.is_floating_point() or truth.is_floating_point():
        raise ValueError(f"labels must be integers, got {pred.dtype} and {truth.dtype}")
    batch = pred.shape[0]
    counts = torch.zeros((batch, num_classes, num_classes), dtype=torch.int64, device=pred.device)
    if pred.numel() == 0:
        return counts
    pred, truth = pred.reshape(batch, -1), truth.reshape(batch, -1)
    ignored = None
    if ignore_index is not None and bool((void := truth == ignore_index).any()):
        ignored, truth = void, truth.masked_fill(void, 0)
    for name, labels in (("pred", pred), ("truth", truth)):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= num_classes:
            raise ValueError(f"{name} holds labels {low}..{high}, outside 0..{num_classes - 1}")
    cells = num_classes**2
    rows = max(1, _CHUNK // pred.shape[1])
    for start in range(0, batch, rows):
        part = slice(start, start + rows)
        index = truth[part].long() * num_classes + pred[part]
        index += torch.arange(len(index), device=index.device)[:, None] * cells
        counted = index.flatten() if ignored is None else index[~ignored[part]]
        flat = torch.bincount(counted, minlength=len(index) * cells)
        counts[part] = flat.view(-1, num_classes, num_classes)
    return counts


def true_false_counts(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """True positives, false positives and false negatives of every class, each (..., C), of matrices (..., C, C)."""
    tp = matrix.diagonal(dim1=-2, dim2=-1)
    return tp, matrix.sum(-2) - tp, matrix.sum(-1) - tp


def dice(matrix: Tensor, empty: float = 1.0) -> Tensor:
    """Dice of every class: ``2 TP / (2 TP + FP + FN)``.

    Args:
        matrix: confusion matrices, (..., C, C).
        empty: the value where a class is neither in truth nor in prediction (1: rightly left empty; NaN: undefined).

    Returns:
        float64, (..., C).
    """
    tp, fp, fn = (count.double() for count in true_false_counts(matrix))
    total = 2 * tp + fp + fn
    return torch.where(total > 0, 2 * tp / total.clamp(min=1), empty)


def iou(matrix: Tensor, empty: float = 1.0) -> Tensor:
    """Intersection over union (Jaccard index) of every class: ``TP / (TP + FP + FN)``; arguments as ``dice``."""
    tp, fp, fn = (count.double() for count in true_false_counts(matrix))
    total = tp + fp + fn
    return torch.where(total > 0, tp / total.clamp(min=1), empty)


def mean_iou(matrix: Tensor) -> Tensor:
    """Data-set mIoU: mean of the classes' IoU in one matrix, background included; NaN where there is no voxel.

    A class that is neither in truth nor in prediction is left out of the mean, as in Long et al., "Fully Convolutional
    Networks for Semantic Segmentation", 2015, section 5.

    Args:
        matrix: one confusion matrix of the whole set (C, C), or a batch of them (..., C, C).
    """
    return iou(matrix, empty=torch.nan).nanmean(-1)


def pixel_accuracy(matrix: Tensor) -> Tensor:
    """Share of all voxels that have their true label, (...) for matrices (..., C, C); NaN where there is no voxel."""
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1).double() / matrix.sum((-2, -1))
