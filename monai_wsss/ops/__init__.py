"""Tensor functions: class maps, dense CRF, body mask, pixel affinities and the random walk."""

from monai_wsss.ops.affinity import affinity_targets, boundary_affinity
from monai_wsss.ops.attention_pooling import attention_pooling
from monai_wsss.ops.body_mask import body_mask
from monai_wsss.ops.boundary_labels import boundary_labels
from monai_wsss.ops.class_map import class_maps, gate_class_maps, normalize_class_maps, threshold_labels
from monai_wsss.ops.confident_labels import confident_labels
from monai_wsss.ops.dense_crf import dense_crf, label_unary
from monai_wsss.ops.gradient_map import grad_cam, grad_cam_plus_plus, layer_cam
from monai_wsss.ops.head_mask import head_mask
from monai_wsss.ops.label_crf import label_crf
from monai_wsss.ops.log_sum_exp_pooling import log_sum_exp_pooling
from monai_wsss.ops.random_walk import random_walk
from monai_wsss.ops.region_growing import grow_seeds, one_hot_seeds
from monai_wsss.ops.small_regions import drop_small_regions

__all__ = [
    "affinity_targets",
    "attention_pooling",
    "body_mask",
    "boundary_affinity",
    "boundary_labels",
    "class_maps",
    "confident_labels",
    "dense_crf",
    "drop_small_regions",
    "gate_class_maps",
    "grad_cam",
    "grad_cam_plus_plus",
    "grow_seeds",
    "head_mask",
    "label_crf",
    "label_unary",
    "layer_cam",
    "log_sum_exp_pooling",
    "normalize_class_maps",
    "one_hot_seeds",
    "random_walk",
    "threshold_labels",
]
