"""Dense things in a CT of the head that are no haemorrhage."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from monai_wsss.data.phantoms.head import Head, Tissue
from monai_wsss.data.phantoms.phantom import Array


def falx(head: Head, tissue: Tissue) -> Array:
    """HU of the falx and of the sagittal sinus; far below any tissue elsewhere."""
    rng = head.rng
    line = expit(5 * (tissue.fissure - rng.uniform(0.3, 0.6)))
    sinus = np.maximum(
        expit(1.6 * (2.6 - np.hypot(head.u, 0.8 * (head.depth - 1)))) * (head.y > 0.5),
        expit(2 * (1.5 - np.hypot(head.u, head.depth - 0.5))) * (head.y < -0.5),
    )
    return np.maximum(rng.uniform(46, 58) * line, rng.uniform(52, 66) * sinus) - 1000 * (head.depth < -0.6)


def calcifications(head: Head, tissue: Tissue) -> Array:
    """HU of calcified pineal gland, choroid plexus, basal ganglia, falx and vessels; 0 elsewhere."""
    rng, dense = head.rng, np.zeros(head.shape)

    def spot(x: float, y: float, low: float, high: float, radius: float, value: float) -> None:
        gap = np.hypot((head.x - x) * head.half[0], (head.y - y) * head.half[1])
        here = expit(4 * (radius - gap)) * (head.z >= low) * (head.z <= high)
        np.maximum(dense, value * here, out=dense)

    if rng.random() < 0.7:
        spot(rng.normal(0, 0.01), 0.24, 0.0, 0.2, rng.uniform(0.8, 1.5), rng.uniform(130, 350))
    if rng.random() < 0.75:
        for side in (-1, 1):
            for _ in range(rng.integers(1, 3)):
                x, y = side * rng.normal(0.27, 0.02), rng.normal(0.36, 0.03)
                spot(x, y, 0.0, rng.uniform(0.2, 0.4), rng.uniform(0.7, 1.3), rng.uniform(110, 300))
    if rng.random() < 0.35:
        for side in (-1, 1):
            spot(side * 0.34, -0.06, 0.0, 0.25, rng.uniform(1.2, 2.4), rng.uniform(65, 140))
    if rng.random() < 0.4:
        piece = expit(4 * (tissue.fissure - 0.1)) * expit(3 * (rng.uniform(1.5, 4) - np.abs(head.depth - 8)))
        dense = np.maximum(dense, rng.uniform(120, 400) * piece * (head.y < 0) * (head.z > rng.uniform(0.3, 0.8)))
    for _ in range(rng.integers(0, 1 + head.shape[2] // 2)):  # vessel walls and old granulomas
        here, radius, angle = head.slab(1), rng.uniform(0.3, 0.9), rng.uniform(-np.pi, np.pi)
        gap = np.hypot(head.x[here] - radius * np.cos(angle), head.y[here] - radius * np.sin(angle))
        dot = rng.uniform(110, 350) * expit(5 * (rng.uniform(0.5, 0.9) - gap * head.half.mean()))
        dense[here] = np.maximum(dense[here], dot)
    return dense * (head.depth > 1)


def streaks(head: Head) -> Array:
    """HU that beam hardening between dense bones adds or takes along straight lines."""
    rng, added = head.rng, np.zeros(head.shape)
    for _ in range(rng.integers(1, 1 + head.shape[2])):
        here, angle = head.slab(2), rng.normal(0, 0.5) + rng.choice([0, np.pi / 2])
        offset = head.u[here] * np.sin(angle) + head.v[here] * np.cos(angle) - rng.uniform(-24, 24)
        added[here] += rng.choice([-1, 1]) * rng.uniform(5, 14) * np.exp(-((offset / rng.uniform(0.7, 1.8)) ** 2))
    return added
