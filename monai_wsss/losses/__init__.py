"""Losses: image-level labels, seeds, pseudo masks, affinities."""

from monai_wsss.losses.affinity import AffinityLoss
from monai_wsss.losses.balanced_seeding import BalancedSeedingLoss
from monai_wsss.losses.boundary_exploration import BoundaryExplorationLoss
from monai_wsss.losses.constrain_to_boundary import ConstrainToBoundaryLoss
from monai_wsss.losses.dsrg import DSRGLoss
from monai_wsss.losses.log_sum_exp import LogSumExpLoss
from monai_wsss.losses.mixed import SeedingCrossEntropyLoss
from monai_wsss.losses.seeding import SeedingLoss
from monai_wsss.losses.weighted_bce import WeightedBCELoss
from monai_wsss.losses.weighted_pixel import WeightedPixelLoss

__all__ = [
    "AffinityLoss",
    "BalancedSeedingLoss",
    "BoundaryExplorationLoss",
    "ConstrainToBoundaryLoss",
    "DSRGLoss",
    "LogSumExpLoss",
    "SeedingCrossEntropyLoss",
    "SeedingLoss",
    "WeightedBCELoss",
    "WeightedPixelLoss",
]
