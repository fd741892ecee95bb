"""What is kept of one scored case: a few integers a slice, so that a data set of any size fits in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from monai_wsss.metrics.lesions import lesion_counts
from monai_wsss.metrics.segmentation import confusion

IGNORED = 255
"""True label of voxels that count neither for nor against, such as the border of PASCAL VOC's objects."""


@dataclass(frozen=True)
class CaseCounts:
    """Counts of one volume with D slices and K labels, on the host.

    Args:
        case: name of the volume.
        patient: name of the patient, whose cases are scored as one.
        matrices: confusion matrix of every slice, int64 (D, K + 1, K + 1), label 0 = background.
        lesions: TP, FP and FN lesions of every label, int64 (K, 3).
        probability: the classifier's slice probabilities, float64 (D, K), NaN where unknown; None without a classifier.
        missing: whether the case has no prediction and was scored as an empty one.
    """

    case: str
    patient: str
    matrices: Tensor
    lesions: Tensor
    probability: Tensor | None = None
    missing: bool = False


def count_case(
    case: str,
    pred: Tensor,
    truth: Tensor,
    num_labels: int,
    *,
    patient: str | None = None,
    probability: Tensor | None = None,
    missing: bool = False,
) -> CaseCounts:
    """Count one volume, slices first; what is returned is small whatever the volume.

    Args:
        case: name of the volume.
        pred: predicted labels 0..K, integer (D, H, W), any device.
        truth: true labels, same shape and device; `IGNORED` voxels are not counted at all.
        num_labels: K, background not included.
        patient: name of the patient, the case itself if None.
        probability: the classifier's slice probabilities (D, K), NaN where unknown.
        missing: whether ``pred`` stands in for a prediction that is not there.

    Raises:
        ValueError: as ``confusion``; not three axes; probabilities of another shape.
    """
    if pred.ndim != 3:
        raise ValueError(f"a case has the shape (D, H, W), got {tuple(pred.shape)}")
    if probability is not None and probability.shape != (pred.shape[0], num_labels):
        raise ValueError(f"probability must be {(pred.shape[0], num_labels)}, got {tuple(probability.shape)}")
    matrices = confusion(pred, truth, num_labels + 1, IGNORED).cpu()
    ignored = (truth == IGNORED)[None]
    lesions = torch.zeros(num_labels, 3, dtype=torch.long)
    for label in torch.unique(torch.cat([pred.unique(), truth.unique()])).tolist():  # of 80, a picture holds a few
        if 0 < label <= num_labels:
            lesions[label - 1] = lesion_counts((pred == label)[None], (truth == label)[None], ignored)[0].cpu()
    return CaseCounts(
        case=case,
        patient=case if patient is None else patient,
        matrices=matrices,
        lesions=lesions,
        probability=None if probability is None else probability.double().cpu(),
        missing=missing,
    )
