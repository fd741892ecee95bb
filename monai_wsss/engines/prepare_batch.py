"""From a batch to what a stock trainer takes."""

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


def prepare_image_batch(
    batch: dict[str, torch.Tensor],
    device: torch.device | str | None = None,
    non_blocking: bool = False,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Image `(B, C, *S)` on `device`; inference has no label."""
    return batch["image"].to(device, non_blocking=non_blocking, **kwargs), None
