"""From a batch to what a stock trainer takes."""

from collections.abc import Sequence
from typing import Any

import torch


def prepare_classification_batch(
    batch: dict[str, torch.Tensor],
    device: torch.device | str | None = None,
    non_blocking: bool = False,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Image `(B, C, *S)` and image-level labels `(B, K)` from 0 to 1, or -1 (unknown), on `device`."""
    image = batch["image"].to(device, non_blocking=non_blocking, **kwargs)
    return image, batch["classes"].to(device, non_blocking=non_blocking)


def collate_bags(bags: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Batch of what `LoadBag` gives: slices and labels one bag after the other, and the slices of each bag."""
    return {
        "image": torch.cat([bag["image"] for bag in bags]),
        "classes": torch.cat([bag["classes"] for bag in bags]),
        "lengths": [length for bag in bags for length in bag["lengths"]],
    }


def prepare_bag_batch(
    batch: dict[str, Any],
    device: torch.device | str | None = None,
    non_blocking: bool = False,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor, tuple[list[int]], dict[str, Any]]:
    """Slices `(S, C, *S)`, labels of the bags `(B, K)`, and `lengths`, which `BagClassifier` takes besides."""
    image, classes = prepare_classification_batch(batch, device, non_blocking, **kwargs)
    return image, classes, (batch["lengths"],), {}


def prepare_image_batch(
    batch: dict[str, torch.Tensor],
    device: torch.device | str | None = None,
    non_blocking: bool = False,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Image `(B, C, *S)` on `device`; inference has no label."""
    return batch["image"].to(device, non_blocking=non_blocking, **kwargs), None
