"""Bones of a chest radiograph: ribs, clavicles, shoulder blades, spine."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from monai_wsss.data.phantoms.chest import Chest
from monai_wsss.data.phantoms.phantom import Array


def bones(chest: Chest) -> Array:
    """Brightness that bones add."""
    rng = chest.rng
    ribs, girdle = np.zeros(chest.x.shape), np.zeros(chest.x.shape)
    strength = rng.uniform(0.095, 0.145)
    pitch, first, drop = rng.uniform(21.5, 24), chest.apex - rng.uniform(0, 6), rng.uniform(58, 84)
    for lung in chest.lungs:
        for number in range(10):
            _rib(chest, lung.across, first + pitch * number * (0.86 + 0.015 * number), drop, number, strength, ribs)
        _clavicle(chest, lung.across, girdle)
        _scapula(chest, lung.across, girdle)
    return ribs * (0.3 + 0.7 * chest.air) + girdle * (0.55 + 0.45 * chest.air) + _spine(chest)


def _rib(chest: Chest, across: Array, top: float, drop: float, number: int, strength: float, image: Array) -> None:
    """Add a rib: the posterior arch runs from the spine to the wall, the anterior one back and down, fainter."""
    lung = chest.lungs[0]
    span = np.clip((top + 0.5 * drop * min(1.0, 0.35 + 0.16 * number) - lung.apex) / (lung.base - lung.apex), 0.02, 1)
    wall = float(lung.outline(np.array(span))) + 4
    fall = drop * min(1.0, 0.45 + 0.14 * number)
    turn = np.linspace(0.0, 0.74 * np.pi, 90)
    along, down = 12 + (wall - 12) * np.sin(turn) ** 0.85, top + fall * (1 - np.cos(turn)) / 2 - 5 * np.sin(2 * turn)
    half = chest.rng.uniform(4.6, 6.0)
    back = turn <= np.pi / 2
    for part, weight, height in ((back, 1.0, half), (~back, 0.6, 1.15 * half)):
        order = np.argsort(along[part])
        xs, ys = along[part][order], down[part][order]
        near = (chest.y > ys.min() - 12) & (chest.y < ys.max() + 12) & (across > 4) & (across < wall + 8)
        x, y = across[near], chest.y[near]
        slope = np.interp(x, xs, np.gradient(ys, xs))
        gap = np.abs(y - np.interp(x, xs, ys)) / np.hypot(1, np.clip(slope, -3, 3))
        ends = expit((x - xs[0]) / 1.5) * expit((wall - x) / 1.0)
        plate = chest.edge(height - gap, 0.7) * (0.6 + 0.4 * np.clip(gap / height, 0, 1) ** 2)
        image[near] += strength * weight * plate * ends


def _clavicle(chest: Chest, across: Array, image: Array) -> None:
    rng = chest.rng
    lift, low = rng.uniform(14, 34), chest.apex + rng.uniform(20, 34)
    share = np.clip((across - 12) / 125, 0, 1)
    middle = low - lift * share + 7 * np.sin(2 * np.pi * share)
    half = 5.6 + 2.4 * np.exp(-share / 0.12) - 0.5 * np.sin(np.pi * share)
    gap = np.abs(chest.y - middle) * 0.95
    plate = chest.edge(half - gap, 0.7) * (0.6 + 0.4 * np.clip(gap / half, 0, 1) ** 2)
    image += rng.uniform(0.13, 0.18) * plate * expit((across - 12) / 1.2) * expit((140 - across) / 2)


def _scapula(chest: Chest, across: Array, image: Array) -> None:
    """Add a shoulder blade: its medial border may lie over the lung, where it looks like a pleural line."""
    rng, y = chest.rng, chest.y
    border = rng.uniform(92, 135) + 0.0022 * (y - 120) ** 2 + rng.normal(0, 0.08) * (y - 120)
    inside = np.minimum.reduce([across - border, y - chest.apex - 12, 205 - y - 0.3 * (across - border)])
    plate = chest.edge(inside, 0.9) * np.exp(-np.clip(inside, 0, None) / 60)
    image += rng.uniform(0.04, 0.08) * plate + rng.uniform(0.03, 0.06) * chest.line(inside - 1.5, 1.3)
    head = 23 - np.hypot(across - rng.uniform(166, 178), y - rng.uniform(66, 80))
    image += 0.1 * chest.edge(head, 1.5)


def _spine(chest: Chest) -> Array:
    y, x = chest.y, np.abs(chest.x)
    level = 2 * np.pi * (y - chest.rng.uniform(0, 24)) / (19 + 0.018 * y)
    body = chest.edge(16.5 + 1.5 * np.cos(level) - x, 1.2)
    pedicles = np.exp(-(((x - 11) / 3.5) ** 2)) * np.clip(np.cos(level), 0, 1) ** 2
    return body * (0.035 + 0.015 * np.cos(level)) + 0.02 * pedicles
