"""Gaussian noise whose strength is drawn from a range."""

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, RandGaussianNoise, RandomizableTransform


class RandGaussianNoiseRanged(RandomizableTransform, MapTransform):
    """Add N(0, sigma^2) noise with sigma ~ U(low, high) with probability `prob` (paper, IV-C: sigma from 0.3 to 0.7).

    MONAI's transform draws sigma from U(0, std); the paper's range does not start at 0.

    Args:
        keys: images; sigma is in their unit.
        prob: probability of adding noise.
        std: lowest and highest sigma.
        allow_missing_keys: do not complain about absent keys.

    Raises:
        ValueError: a range that is not 0 <= low <= high.
    """

    def __init__(
        self, keys: KeysCollection, prob: float, std: tuple[float, float], allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        low, high = std
        if not 0 <= low <= high:
            raise ValueError(f"std must be a range 0 <= low <= high, got {std}.")
        self.std = (float(low), float(high))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data`, its images noisy or as they were."""
        items = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return items
        noise = RandGaussianNoise(prob=1.0, std=self.R.uniform(*self.std), sample_std=False)
        noise.set_random_state(seed=self.R.randint(2**31))
        for key in self.key_iterator(items):
            items[key] = noise(items[key])
        return items
