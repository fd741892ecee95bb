"""Class maps of a localiser, whatever its mode."""

from __future__ import annotations

from typing import Any

from monai.inferers import Inferer
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


class ClassMapInferer(Inferer):
    """Apply ``network.maps``: images ``(B, C, *S)`` to raw class maps ``(B, L, *S')``.

    A localiser gives class maps in training mode and mask logits in evaluation mode. The loss needs the former in both.
    """

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Raw class maps ``(B, L, *S')`` of images ``(B, C, *S)``.

        Args:
            inputs: images.
            network: has ``maps``; wrapped for distributed training or not.
            args: passed on to ``maps``.
            kwargs: passed on to ``maps``.
        """
        inner = network.module if isinstance(network, DistributedDataParallel) else network
        return inner.maps(inputs, *args, **kwargs)
