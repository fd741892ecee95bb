"""Tensor functions: class maps, dense CRF, body mask."""

from monai_wsss.ops.body_mask import body_mask
from monai_wsss.ops.class_map import class_maps, gate_class_maps, normalize_class_maps, threshold_labels
from monai_wsss.ops.dense_crf import dense_crf, label_unary

__all__ = [
    "body_mask",
    "class_maps",
    "dense_crf",
    "gate_class_maps",
    "label_unary",
    "normalize_class_maps",
    "threshold_labels",
]
