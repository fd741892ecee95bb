"""What an image-level label says: the one place that reads soft and unknown labels."""

from __future__ import annotations

from typing import Any

import numpy as np

PRESENT = 0.5  # a soft label from here on counts as present


def is_known(values: Any) -> np.ndarray:
    """True where a label says anything: 0 <= t <= 1; -1 is unknown."""
    return np.asarray(values) >= 0


def is_present(values: Any) -> np.ndarray:
    """True where a class is present, or likelier present than not: t >= 0.5."""
    return np.asarray(values) >= PRESENT


def is_absent(values: Any) -> np.ndarray:
    """True where a class is absent for certain: t = 0. A soft label below 0.5 is neither present nor absent."""
    return np.asarray(values) == 0


def sign_of(value: float) -> str:
    """Return positive, negative or unknown; a soft label below 0.5 is neither present nor absent, so unknown."""
    return "positive" if is_present(value) else "negative" if is_absent(value) else "unknown"


def is_certain(values: Any) -> np.ndarray:
    """True where a label is hard, 0 or 1, as scores such as the AUC need it."""
    array = np.asarray(values)
    return (array == 0) | (array == 1)
