"""Means with bootstrap intervals over patients."""

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

# Cells of the (resamples x patients) table held at once.
_CHUNK = 2**22

Values = Tensor | Sequence[float]


def bootstrap_mean(
    values: Values,
    groups: Sequence[Hashable] | None = None,
    classes: Sequence[int] | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Mean with its 95 % percentile interval, by resampling patients (a cluster bootstrap).

    Patients are drawn with replacement, all values of a drawn patient come along, and the mean is taken over those
    values: ``sum of drawn patients' sums / sum of drawn patients' counts``. Slices of one patient are alike, so that
    resampling slices would give intervals that are too narrow. The result does not depend on the order of the groups.

    Args:
        values: N finite numbers.
        groups: the patient of every value; each value is its own patient if None.
        classes: the class of every value; the mean is then the mean over classes of each class's mean (macro).
        samples: number of resamples.
        seed: of the resampling.

    Returns:
        ``mean``, ``ci95`` = [low, high], ``n`` values and number of ``patients``. ``mean`` is None without values,
        ``ci95`` is None with fewer than two patients, which say nothing of the spread between patients.

    Raises:
        ValueError: a value is not finite, lengths differ or samples < 1.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.
    """
    value = torch.as_tensor(values, dtype=torch.float64).flatten().cpu()
    n = len(value)
    names: Sequence[Hashable] = range(n) if groups is None else groups
    kinds: Sequence[int] = [0] * n if classes is None else classes
    if len(names) != n or len(kinds) != n:
        raise ValueError(f"{n} values, but {len(names)} groups and {len(kinds)} classes")
    if not torch.isfinite(value).all():
        raise ValueError(f"{int((~torch.isfinite(value)).sum())} of {n} values are not finite")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if n == 0:
        return {"mean": None, "ci95": None, "n": 0, "patients": 0}

    row, patients = _codes(names)
    column, width = _codes(kinds)
    cell = row * width + column
    sums = torch.zeros(patients * width, dtype=torch.float64).index_add_(0, cell, value).view(patients, width)
    counts = torch.bincount(cell, minlength=patients * width).double().view(patients, width)
    mean = float(_macro_mean(sums.sum(0), counts.sum(0)))
    if patients < 2:
        return {"mean": mean, "ci95": None, "n": n, "patients": patients}

    generator = torch.Generator().manual_seed(seed)
    means = []
    rows = max(1, _CHUNK // patients)
    for start in range(0, samples, rows):
        size = min(rows, samples - start)
        drawn = torch.randint(patients, (size, patients), generator=generator)
        times = torch.zeros((size, patients), dtype=torch.float64)
        times.scatter_add_(1, drawn, torch.ones_like(times))
        means.append(_macro_mean(times @ sums, times @ counts))
    low, high = torch.quantile(torch.cat(means), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return {"mean": mean, "ci95": [low, high], "n": n, "patients": patients}


def paired_difference(
    a: Values, b: Values, groups: Sequence[Hashable] | None = None, samples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Mean of ``a - b`` with its 95 % interval, both measured on the same items, by resampling patients.

    Two methods differ if the interval leaves out zero; two separate intervals that overlap say nothing about that.

    Args:
        a: N numbers, the first method's score of every item.
        b: N numbers, the second method's score of the same items in the same order.
        groups: the patient of every item, as in ``bootstrap_mean``.
        samples: number of resamples.
        seed: of the resampling.

    Raises:
        ValueError: lengths differ, or as ``bootstrap_mean``.
    """
    first, second = (torch.as_tensor(side, dtype=torch.float64).flatten().cpu() for side in (a, b))
    if len(first) != len(second):
        raise ValueError(f"paired scores must be equally many, got {len(first)} and {len(second)}")
    return bootstrap_mean(first - second, groups, samples=samples, seed=seed)


def _codes(names: Sequence[Hashable]) -> tuple[Tensor, int]:
    """Number every name by its sorted place, so that the order of the items does not reach the random draws."""
    place = {name: index for index, name in enumerate(sorted(set(names), key=lambda name: (str(type(name)), name)))}
    return torch.tensor([place[name] for name in names], dtype=torch.int64), len(place)


def _macro_mean(sums: Tensor, counts: Tensor) -> Tensor:
    """Mean over classes (last axis) of sum / count; a class without values in a draw is left out of that draw."""
    return (sums / counts).nanmean(-1)
