"""Stages, pipeline, manifest and tracking."""

from monai_wsss.workflow.bes import BESStage
from monai_wsss.workflow.bundle_config import bundle_root
from monai_wsss.workflow.classification_items import classification_items
from monai_wsss.workflow.classify import ClassifyStage
from monai_wsss.workflow.confident import ConfidentMaskStage
from monai_wsss.workflow.dsrg import DSRGStage
from monai_wsss.workflow.evaluate_stage import EvaluateStage
from monai_wsss.workflow.first_weights import first_weights
from monai_wsss.workflow.infer import InferStage
from monai_wsss.workflow.infer_items import inference_items
from monai_wsss.workflow.irnet import IRNetStage
from monai_wsss.workflow.localise import LocaliseStage
from monai_wsss.workflow.localiser_weights import localiser_folders, localiser_start
from monai_wsss.workflow.mask_folders import mask_folders
from monai_wsss.workflow.pipeline import Pipeline
from monai_wsss.workflow.pseudo_mask_items import pseudo_mask_items
from monai_wsss.workflow.refine import RefineStage
from monai_wsss.workflow.relabel import RelabelStage
from monai_wsss.workflow.seed import SeedStage
from monai_wsss.workflow.stage import Stage
from monai_wsss.workflow.start import select_device, start
from monai_wsss.workflow.train import TrainStage
from monai_wsss.workflow.walk import WalkStage

__all__ = [
    "BESStage",
    "ClassifyStage",
    "ConfidentMaskStage",
    "DSRGStage",
    "EvaluateStage",
    "IRNetStage",
    "InferStage",
    "LocaliseStage",
    "Pipeline",
    "RefineStage",
    "RelabelStage",
    "SeedStage",
    "Stage",
    "TrainStage",
    "WalkStage",
    "bundle_root",
    "classification_items",
    "first_weights",
    "inference_items",
    "localiser_folders",
    "localiser_start",
    "mask_folders",
    "pseudo_mask_items",
    "select_device",
    "start",
]
