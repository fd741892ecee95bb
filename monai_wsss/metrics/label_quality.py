"""How good label maps are that leave pixels unlabelled, such as seeds that grow: precision, recall and overlap."""

from dataclasses import dataclass

import torch
from torch import Tensor

from monai_wsss.metrics.case_counts import IGNORED
from monai_wsss.metrics.segmentation import confusion


@dataclass(frozen=True)
class LabelQuality:
    """Scores of every label, float64; NaN for a label that is neither given nor true anywhere.

    Args:
        precision: TP / pixels labelled so, `(..., L)` with background first.
        recall: TP / true pixels, `(..., L)`; an unlabelled pixel is not found.
        iou: TP / (TP + FP + FN), `(..., L)`.
        labelled: share of the counted pixels that have a label, `(...)`.
    """

    precision: Tensor
    recall: Tensor
    iou: Tensor
    labelled: Tensor

    def means(self, background: bool = False) -> dict[str, Tensor]:
        """Mean over the foreground classes, or over all labels, of each score; NaN without any."""
        first = 0 if background else 1
        scores = {"precision": self.precision, "recall": self.recall, "iou": self.iou}
        return {name: values[..., first:].nanmean(-1) for name, values in scores.items()}


def labelled_confusion(labels: Tensor, truth: Tensor, num_labels: int) -> Tensor:
    """Confusion matrix of each batch element with one column more, for pixels without a label.

    `counts[b, i, j]` pixels of true label i were given label j; j = L means unlabelled. Matrices add up, so that their
    sum is the data set's.

    Args:
        labels: labels 0..L-1, 255 where there is none, uint8 `(B, *spatial)`, with or without a channel of one.
        truth: true labels 0..L-1, 255 where pixels do not count, same shape and device.
        num_labels: L, background included.

    Returns:
        int64 `(B, L, L + 1)`, on the device of the input.

    Raises:
        ValueError: shapes differ, a floating type, or another label.
    """
    if labels.shape != truth.shape:
        raise ValueError(f"labels {tuple(labels.shape)} and truth {tuple(truth.shape)} must have one shape")
    unlabelled = labels == IGNORED
    given = confusion(labels.masked_fill(unlabelled, 0), truth.masked_fill(unlabelled, IGNORED), num_labels, IGNORED)
    missed = confusion(torch.zeros_like(labels), truth.masked_fill(~unlabelled, IGNORED), num_labels, IGNORED)
    return torch.cat([given, missed[..., :1]], dim=-1)


def label_quality(counts: Tensor) -> LabelQuality:
    """Precision, recall and IoU of every label, and the share of labelled pixels, of counts pooled over all pixels.

    `P_c = TP_c / labelled c`, `R_c = TP_c / true c`, `IoU_c = TP_c / (TP_c + FP_c + FN_c)`. A label without a true
    positive scores 0 in all three, even where it is never given or never true; one that is neither is NaN and in no
    mean. The paper does not say whether its means hold the background; `LabelQuality.means` gives both.

    Args:
        counts: of `labelled_confusion`, `(..., L, L + 1)`.

    Raises:
        ValueError: another shape.

    Source: Huang et al., DSRG, CVPR 2018, Section 4.5 and Fig. 4.
    """
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2] + 1:
        raise ValueError(f"counts must have the shape (..., L, L + 1), got {tuple(counts.shape)}")
    tp = counts.diagonal(dim1=-2, dim2=-1).double()
    given, true = counts[..., :-1].sum(-2).double(), counts.sum(-1).double()
    union = given + true - tp
    precision, recall, iou = (
        torch.where(union > 0, tp / total.clamp(min=1), torch.nan) for total in (given, true, union)
    )
    return LabelQuality(precision, recall, iou, given.sum(-1) / true.sum(-1))
