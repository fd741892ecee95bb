"""Soft tissue and air of a chest radiograph: everything but bones and vessels."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from monai_wsss.data.phantoms.chest import Chest
from monai_wsss.data.phantoms.phantom import Array


def soft_tissue(chest: Chest) -> Array:
    """Brightness in [0, 1] of a chest without bones and vessels; 0 is air outside."""
    rng, x, y = chest.rng, chest.x, chest.y
    wall = 0.5 + 0.12 * np.clip(chest.skin / 60, 0, 1) + 0.05 * expit((y - 260) / 20)
    middle = np.exp(-((x / 45) ** 4))
    image = wall + (0.2 + 0.04 * expit((y - 160) / 30)) * middle + 0.12 * expit((y - chest.dome - 20) / 15)
    depth = np.clip(chest.inside, 0, None)
    shade = 0.2 + 0.08 * np.exp(-depth / 9) + rng.uniform(0.04, 0.09) * ((y - 160) / 120) + 0.035 * chest.field(35)
    shade += rng.normal(0, 0.012) * np.sign(x)  # a turned patient has one darker lung
    image = image * (1 - chest.air) + shade * chest.air
    trachea = np.where(y < 132, 9 - np.abs(x - 2 - 3 * np.sin(y / 40)), -9.0)
    image -= 0.11 * chest.edge(trachea, 1.5) * expit((124 - y) / 8)
    for side in (-1, 1):  # main bronchi
        line = np.abs(y - 131 - 0.75 * side * x) * 0.8
        image -= 0.06 * chest.edge(5.5 - line, 1.5) * (side * x > 0) * expit((34 - np.abs(x)) / 3)
    if rng.random() < 0.75:  # air in the stomach
        cx, cy = rng.uniform(45, 70), chest.dome + rng.uniform(30, 42)
        bubble = 1 - np.hypot((x - cx) / rng.uniform(14, 28), (y - cy) / rng.uniform(8, 14))
        image -= 0.28 * chest.edge(12 * bubble, 1.5) * (1 - chest.air)
    if rng.random() < 0.5:  # breasts
        size, low = rng.uniform(48, 62), rng.uniform(215, 245)
        for side in (-1, 1):
            inner = size - np.hypot(side * x - 78, 1.15 * (y - low))
            image += rng.uniform(0.03, 0.07) * expit(inner / 3) * np.clip(inner / 30 + 0.4, 0, 1)
    return np.clip(image, 0, None) * chest.edge(chest.skin, 1.2)
