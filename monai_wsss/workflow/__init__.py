"""Stages, pipeline, manifest and tracking."""

from monai_wsss.workflow.bundle_config import bundle_root
from monai_wsss.workflow.classify import ClassifyStage
from monai_wsss.workflow.evaluate_stage import EvaluateStage
from monai_wsss.workflow.infer import InferStage
from monai_wsss.workflow.infer_items import inference_items
from monai_wsss.workflow.irnet import IRNetStage
from monai_wsss.workflow.pipeline import Pipeline
from monai_wsss.workflow.pseudo_mask_items import pseudo_mask_items
from monai_wsss.workflow.refine import RefineStage
from monai_wsss.workflow.refine_confident import ConfidentMaskStage
from monai_wsss.workflow.seed import SeedStage
from monai_wsss.workflow.stage import Stage
from monai_wsss.workflow.start import select_device, start
from monai_wsss.workflow.train import TrainStage
from monai_wsss.workflow.walk import WalkStage

__all__ = [
    "ClassifyStage",
    "ConfidentMaskStage",
    "EvaluateStage",
    "IRNetStage",
    "InferStage",
    "Pipeline",
    "RefineStage",
    "SeedStage",
    "Stage",
    "TrainStage",
    "WalkStage",
    "bundle_root",
    "inference_items",
    "pseudo_mask_items",
    "select_device",
    "start",
]
