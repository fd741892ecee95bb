"""Phantom chest radiographs with air between the lung and the chest wall."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from monai_wsss.data.phantoms.chest import Chest, Lung
from monai_wsss.data.phantoms.chest_xray import radiograph
from monai_wsss.data.phantoms.phantom import Array, Lesions, Phantom, Split


def draw(
    rng: np.random.Generator, split: Split, diseased: bool, size: int, slices: int = 1, lesions: Lesions = "usual"
) -> Phantom:
    """Draw one patient's film, and the mask of the air between pleural line and chest wall.

    Args:
        rng: its state fixes every byte.
        split: test patients come from another detector.
        diseased: whether there is a pneumothorax.
        size: pixels in a row and a column.
        slices: without effect; a film has one.
        lesions: "usual", "tiny" (a thin cap over the apex) or "scattered" (several pockets on both sides).
    """
    chest = Chest(rng, size)
    air, line = np.zeros(chest.x.shape), np.zeros(chest.x.shape)
    mask = np.zeros(chest.x.shape, bool)
    if diseased:
        for lung in _sides(chest, lesions):
            gap = _distance(chest, lung, lesions)
            air = np.maximum(air, chest.edge(gap, 0.6) * chest.edge(lung.inside))
            line = np.maximum(line, _pleura(chest, lung, gap))
            mask |= (gap > 0) & (lung.inside > 0)
    return radiograph(chest, split, line - rng.uniform(0.042, 0.066) * air, air, mask)


def _pleura(chest: Chest, lung: Lung, gap: Array) -> Array:
    """Brightness of the thin line of the pleura, and of the collapsed lung beside it, which is a little denser."""
    denser = 0.018 * np.exp(-(((gap + 6) / 6) ** 2)) * (gap < 0)
    line = chest.rng.uniform(0.07, 0.11) * chest.line(gap, 0.9) + denser
    return line * expit(lung.inside / 1.5) * expit((lung.to_floor - 2) / 2)


def _sides(chest: Chest, lesions: Lesions) -> list[Lung]:
    return chest.lungs if lesions == "scattered" else [chest.lungs[chest.rng.integers(2)]]


def _distance(chest: Chest, lung: Lung, lesions: Lesions) -> Array:
    """Distance in mm outside the collapsed lung's surface, positive in the pleural air."""
    rng = chest.rng
    inward, angle = lung.polar()
    if lesions == "tiny":
        width = max(rng.uniform(5, 9), 1.2 * chest.pixel) * expit((angle - rng.uniform(0.9, 1.1)) / 0.1)
    elif lesions == "scattered":
        width = np.zeros(angle.shape)
        for centre in rng.choice([-0.25, 0.2, 0.7, 1.2, 1.5], size=2, replace=False):
            width = np.maximum(width, rng.uniform(7, 14) * np.exp(-(((angle - centre) / rng.uniform(0.14, 0.24)) ** 2)))
    elif rng.random() < 0.7:  # from the apex down the side
        start = rng.uniform(-0.3, 1.1)
        width = rng.uniform(15, 42) * expit((angle - start) / 0.16) * (0.55 + 0.45 * expit((angle - 1.0) / 0.2))
    else:  # held by adhesions at the side or the base
        centre, half = rng.uniform(-0.4, 1.0), rng.uniform(0.22, 0.5)
        width = rng.uniform(16, 38) * np.exp(-(((angle - centre) / half) ** 2))
    ripple = 1 + 0.12 * np.sin(angle * rng.uniform(3, 8) + rng.uniform(0, 6))
    return np.where(width > max(3.0, 0.8 * chest.pixel), width * ripple - inward, -99.0)  # no slivers
