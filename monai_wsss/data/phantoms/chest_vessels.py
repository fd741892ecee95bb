"""Lung markings of a chest radiograph: vessels that branch from the root of the lung to near the pleura."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from monai_wsss.data.phantoms.chest import Chest, Lung
from monai_wsss.data.phantoms.phantom import Array

_STEP = 2.0  # mm
_CLASSES = np.array([0.45, 0.7, 1.1, 1.7, 2.6, 4.0, 6.0])  # radii that vessels are drawn with, mm


def vessels(chest: Chest) -> Array:
    """Brightness that the vessels of both lungs add."""
    grown = [_grow(chest, lung) for lung in chest.lungs]
    points = np.concatenate(grown)
    x, y, radius, weight = points.T
    nearest = np.argmin(np.abs(np.log(radius[:, None] / _CLASSES)), 1)
    image = np.zeros(chest.x.shape)
    edges = np.arange(chest.size + 1) - 0.5
    for number, size in enumerate(_CLASSES):
        chosen = nearest == number
        sigma = max(0.6 * size, 0.4 * chest.pixel) / chest.pixel
        # A line of points one step apart, blurred, has this peak; the wanted peak grows with the vessel's thickness.
        lay = 0.038 * size**0.75 * min(1.0, 0.6 * size / (0.4 * chest.pixel)) * sigma * np.sqrt(2 * np.pi)
        drawn, _, _ = np.histogram2d(x[chosen], y[chosen], bins=(edges, edges), weights=weight[chosen])
        image += ndimage.gaussian_filter(drawn, sigma) * lay * _STEP / chest.pixel
    return 0.16 * np.tanh(image / 0.16)


def _grow(chest: Chest, lung: Lung) -> Array:
    """Points (column, row, radius in mm, weight) along the vessels of one lung."""
    rng, count = chest.rng, 40
    thinnest = max(0.33, 0.12 * chest.pixel)  # thinner vessels leave no trace in a pixel
    start = rng.uniform(-1.5, 1.35, count)  # angle above the horizontal, outwards
    tips = np.stack(
        [
            np.abs(rng.normal(38, 5, count)),
            chest.hilum + (5 if lung.side < 0 else 0) + rng.normal(0, 9, count) - 8 * np.sin(start),
            start,
            rng.uniform(1.0, 4.2, count),
            rng.uniform(0.6, 1.0, count),
        ],
        1,
    )
    laid = []
    for _ in range(95):
        x, y, angle, radius, weight = tips.T
        if not len(tips):
            break
        laid.append(np.stack([x, y, radius, weight], 1))
        tips[:, 0] += _STEP * np.cos(angle)
        tips[:, 1] -= _STEP * np.sin(angle)
        tips[:, 2] += rng.normal(0, 0.08, len(tips))
        tips[:, 3] *= 0.982
        split = rng.random(len(tips)) < 0.07
        twins = tips[split].copy()
        turn = rng.uniform(0.25, 0.7, len(twins)) * rng.choice([-1, 1], len(twins))
        twins[:, 2] += turn
        twins[:, 3] *= rng.uniform(0.55, 0.9, len(twins))
        tips[split, 2] -= 0.4 * turn
        tips[split, 3] *= 0.93
        tips = np.concatenate([tips, twins])
        tips = tips[(tips[:, 3] > thinnest) & (tips[:, 0] < chest.width) & (tips[:, 0] > 8)]
    points = np.concatenate(laid)
    columns, rows = chest.locate(lung.side * points[:, 0], points[:, 1])
    return np.stack([columns, rows, points[:, 2], points[:, 3]], 1)
