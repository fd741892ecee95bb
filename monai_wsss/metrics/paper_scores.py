"""Scores as papers on pneumothorax print them, beside what an empty prediction would reach."""

from typing import NamedTuple

from torch import Tensor

from monai_wsss.metrics.segmentation import dice, iou


class PaperScores(NamedTuple):
    """Means over images, float64 (C,): one value a class, in [0, 1]; NaN where there is no such image.

    Attributes:
        miou_positives: IoU, mean over the images that hold the class ("pos.").
        miou_all: IoU, mean over all images; 1 where the class is neither in truth nor in prediction ("all").
        dice_empty_is_one: Dice, mean over all images; 1 where the class is neither in truth nor in prediction.
        all_empty: what an empty prediction of every image scores in the last two: the share of negative images.
    """

    miou_positives: Tensor
    miou_all: Tensor
    dice_empty_is_one: Tensor
    all_empty: Tensor


def paper_scores(matrices: Tensor) -> PaperScores:
    """Mean over images of ``IoU = TP / (TP + FP + FN)`` and of Dice, negatives left out or counted 1 if left empty.

    The paper names "pos." and "all" without a formula of their own; this reading is the one that its figures allow.
    With mostly negative images "all" measures the negatives: an empty prediction beats the paper's figure.

    Args:
        matrices: confusion matrix of every image (a film, or a slice of a volume), (N, C, C), true class first.

    Raises:
        ValueError: not three axes, or matrices that are not square.

    Source: Viniavskyi et al., 2020, Table 3 and appendix.
    """
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
        raise ValueError(f"matrices must be (N, C, C), got {tuple(matrices.shape)}")
    positive = matrices.sum(-1) > 0
    overlap = iou(matrices)
    return PaperScores(
        miou_positives=overlap.where(positive, float("nan")).nanmean(0),
        miou_all=overlap.mean(0),
        dice_empty_is_one=dice(matrices).mean(0),
        all_empty=(~positive).double().mean(0),
    )
