"""Losses: image-level labels, seeds, pseudo masks, affinities."""

from monai_wsss.losses.affinity import AffinityLoss
from monai_wsss.losses.mixed import SeedingCrossEntropyLoss
from monai_wsss.losses.seeding import SeedingLoss
from monai_wsss.losses.weighted_bce import WeightedBCELoss
from monai_wsss.losses.weighted_pixel import WeightedPixelLoss

__all__ = ["AffinityLoss", "SeedingCrossEntropyLoss", "SeedingLoss", "WeightedBCELoss", "WeightedPixelLoss"]
