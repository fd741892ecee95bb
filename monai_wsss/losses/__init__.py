"""Losses: seeds, Mixed-UNet's pair of pseudo masks, image-level labels."""

from monai_wsss.losses.mixed import SeedingCrossEntropyLoss
from monai_wsss.losses.seeding import SeedingLoss
from monai_wsss.losses.weighted_bce import WeightedBCELoss

__all__ = ["SeedingCrossEntropyLoss", "SeedingLoss", "WeightedBCELoss"]
