"""Weakly supervised lesion segmentation for MONAI: from image-level labels to lesion masks."""

__version__ = "0.1.0"
