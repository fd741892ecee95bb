"""Which training items an epoch draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch.distributed as dist
from monai.data import DistributedSampler, DistributedWeightedRandomSampler
from torch.utils.data import Dataset, RandomSampler, Sampler, WeightedRandomSampler

from monai_wsss.data.presence import is_present


def balanced_weights(items: Sequence[Mapping[str, Any]], positive_share: float) -> list[float]:
    """Weights under which a drawn item has a positive label with probability `positive_share`.

    w = s / P for the P items with a positive label (see `is_present`), (1 - s) / N for the N others; all equal where
    one side is empty. `classes` of an item is one row of labels, or several: a bag of slices counts once.

    Raises:
        ValueError: a share outside (0, 1).
    """
    if not 0 < positive_share < 1:
        raise ValueError(f"positive_share must lie in (0, 1), got {positive_share}.")
    positive = np.array([bool(is_present(item["classes"]).any()) for item in items])
    if positive.all() or not positive.any():
        return [1.0] * len(items)
    weights = np.where(positive, positive_share / positive.sum(), (1 - positive_share) / (~positive).sum())
    return weights.tolist()


def training_sampler(
    dataset: Dataset, items: Sequence[Mapping[str, Any]], positive_share: float | None = None
) -> Sampler:
    """Sampler of one epoch: all items shuffled, or as many draws with replacement by `balanced_weights`.

    Where a process group is open, each process gets its share.
    """
    if positive_share is None:
        if dist.is_initialized():
            return DistributedSampler(dataset, even_divisible=True, shuffle=True)
        return RandomSampler(range(len(items)))
    weights = balanced_weights(items, positive_share)
    if dist.is_initialized():
        return DistributedWeightedRandomSampler(dataset, weights=weights)
    return WeightedRandomSampler(weights, num_samples=len(items))
