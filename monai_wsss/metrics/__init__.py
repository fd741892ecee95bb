"""The project's scores: tensors in, tensors or plain numbers out; no files."""

from monai_wsss.metrics.boxes import best_box_iou, component_boxes, pointing_hits
from monai_wsss.metrics.case_counts import CaseCounts, count_case
from monai_wsss.metrics.classification import ECE_BINS, auc, expected_calibration_error, f1
from monai_wsss.metrics.intervals import bootstrap_mean, paired_difference
from monai_wsss.metrics.lesions import LESION_RULE, lesion_counts, lesion_f1
from monai_wsss.metrics.paper_scores import PaperScores, paper_scores
from monai_wsss.metrics.segmentation import confusion, dice, iou, mean_iou, pixel_accuracy, true_false_counts
from monai_wsss.metrics.summary import summarise

__all__ = [
    "ECE_BINS",
    "LESION_RULE",
    "CaseCounts",
    "PaperScores",
    "auc",
    "best_box_iou",
    "bootstrap_mean",
    "component_boxes",
    "confusion",
    "count_case",
    "dice",
    "expected_calibration_error",
    "f1",
    "iou",
    "lesion_counts",
    "lesion_f1",
    "mean_iou",
    "paired_difference",
    "paper_scores",
    "pixel_accuracy",
    "pointing_hits",
    "summarise",
    "true_false_counts",
]
