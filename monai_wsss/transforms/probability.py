"""From a segmenter's logits to probabilities, whichever head it has."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import MapTransform


class ProbabilityFromLogitsd(MapTransform):
    """Softmax over channels, background first; a one-channel head z counts as the two logits (0, z).

    sigmoid(z) = softmax((0, z))_1, so both heads give `(L, *S)` probabilities, L = 2 for one channel.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with float32 probabilities in place of logits `(C, *S)`."""
        items = dict(data)
        for key in self.key_iterator(items):
            logits = items[key].float()
            if logits.shape[0] == 1:
                logits = torch.cat([torch.zeros_like(logits), logits])
            items[key] = logits.softmax(dim=0)
        return items
