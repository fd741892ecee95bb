"""Read the slices of a bag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch


class LoadBag:
    """Turn a dictionary of `bag_items` into tensors: `image` `(S, C, H, W)`, `classes` `(bags, K)`, and `lengths`.

    Of a bag with more than `most` slices, so many are drawn by torch's generator, spread over the volume: it is cut
    into `most` stretches of about the same length, and one slice of each is taken.

    Args:
        transform: from an item of `slice_items` to one whose `image` is `(C, H, W)`; random ones draw for each slice.
        most: slices of a bag, >= 1; None takes all.

    Raises:
        ValueError: `most` below 1.
    """

    def __init__(self, transform: Callable[[Any], Any], most: int | None = None) -> None:
        if most is not None and most < 1:
            raise ValueError(f"most must be >= 1, got {most}.")
        self.transform, self.most = transform, most

    def __call__(self, bag: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tensors of a dictionary."""
        slices, lengths = bag["slices"], list(bag["lengths"])
        if self.most is not None and lengths[0] > self.most:
            slices = [slices[index] for index in spread(len(slices), self.most)]
            lengths = [self.most]
        images = torch.stack([self.transform(item)["image"] for item in slices])
        return {"image": images, "classes": torch.as_tensor(bag["classes"]), "lengths": lengths}


def spread(depth: int, count: int) -> list[int]:
    """Indices of `count` <= `depth` slices in order, one drawn from each of `count` stretches of the volume."""
    bounds = torch.arange(count + 1) * depth // count
    width = bounds[1:] - bounds[:-1]
    inside = (torch.rand(count) * width).long().minimum(width - 1)  # float32 may round up to the width
    return (bounds[:-1] + inside).tolist()
