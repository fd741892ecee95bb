"""What MONAI's stock engines need to train and run here."""

from monai_wsss.engines.agreement import pseudo_mask_dice
from monai_wsss.engines.checkpoint import ResumableCheckpoint, load_if_present, load_weights, save_weights
from monai_wsss.engines.distributed import on_device, to_device
from monai_wsss.engines.epoch_log import EpochLog
from monai_wsss.engines.epoch_seed import EpochSeed
from monai_wsss.engines.heartbeat import Heartbeat
from monai_wsss.engines.lowest_loss import lowest_loss_trainer
from monai_wsss.engines.optimizer import make_optimizer, make_schedule, parameter_groups
from monai_wsss.engines.outputs import label_map, label_output, loss_output
from monai_wsss.engines.prepare_batch import prepare_classification_batch, prepare_image_batch
from monai_wsss.engines.sampler import training_sampler
from monai_wsss.engines.skipping_dataset import SkippingDataset

__all__ = [
    "EpochLog",
    "EpochSeed",
    "Heartbeat",
    "ResumableCheckpoint",
    "SkippingDataset",
    "label_map",
    "label_output",
    "load_if_present",
    "load_weights",
    "loss_output",
    "lowest_loss_trainer",
    "make_optimizer",
    "make_schedule",
    "on_device",
    "parameter_groups",
    "prepare_classification_batch",
    "prepare_image_batch",
    "pseudo_mask_dice",
    "save_weights",
    "to_device",
    "training_sampler",
]
