"""Exact quantile of more values than fit into memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class UpperQuantile:
    """Quantile of values that come in parts; of `count` values the largest ``count - floor(q (count - 1))`` are kept.

    ``(1 - f) x_i + f x_(i + 1)`` with ``i + f = q (count - 1)`` and the values in ascending order x, as NumPy and torch
    interpolate. Exact, unlike a histogram; `torch.quantile` takes 16 million values at most. For q = 0.99 one value in
    a hundred is held.

    Args:
        quantile: q in [0, 1].
        count: how many values will be added, >= 1.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(self, quantile: float, count: int) -> None:
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile must lie in [0, 1], got {quantile}.")
        if count < 1:
            raise ValueError(f"count must be >= 1, got {count}.")
        self.count, self.added = count, 0
        place = quantile * (count - 1)
        low = int(place)
        self.fraction, self.kept = place - low, count - low
        self._top: Tensor | None = None

    def add(self, values: Tensor) -> None:
        """Add values of any shape.

        Raises:
            ValueError: more than `count` in all.
        """
        new = values.detach().float().flatten()
        self.added += new.numel()
        if self.added > self.count:
            raise ValueError(f"count must be the number of values, {self.count}, got {self.added}.")
        pool = new if self._top is None else torch.cat([self._top, new])
        self._top = pool.topk(min(self.kept, pool.numel()), sorted=False).values

    def value(self) -> float:
        """The quantile; NaN where one of the values is not finite.

        Raises:
            ValueError: fewer values than `count` were added.
        """
        if self._top is None or self.added != self.count:
            raise ValueError(f"count must be the number of values, {self.count}, got {self.added}.")
        if not bool(self._top.isfinite().all()):  # NaN counts as the largest, and would only shift the others
            return math.nan
        lowest = self._top.topk(min(2, self.kept), largest=False).values.tolist()  # x_i and x_(i + 1)
        return lowest[0] + self.fraction * (lowest[-1] - lowest[0])
