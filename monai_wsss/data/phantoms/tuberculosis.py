"""Phantom chest radiographs with nodules, patchy consolidation and cavities, as of tuberculosis, in the upper zones."""

from __future__ import annotations

import numpy as np

from monai_wsss.data.phantoms.chest import Chest, Lung
from monai_wsss.data.phantoms.chest_xray import radiograph
from monai_wsss.data.phantoms.phantom import Array, Lesions, Phantom, Split


def draw(
    rng: np.random.Generator, split: Split, diseased: bool, size: int, slices: int = 1, lesions: Lesions = "usual"
) -> Phantom:
    """Draw one patient's film, and the mask of nodules, consolidation and cavities.

    Args:
        rng: its state fixes every byte.
        split: test patients come from another detector.
        diseased: whether there is tuberculosis.
        size: pixels in a row and a column.
        slices: without effect; a film has one.
        lesions: "usual", "tiny" (one or two small nodules) or "scattered" (many small nodules in both lungs).
    """
    chest = Chest(rng, size)
    opacity, extent = np.zeros(chest.x.shape), np.zeros(chest.x.shape)
    if diseased:
        for layer, whole in _layers(chest, lesions):
            opacity = np.maximum(opacity, layer) + 0.35 * np.minimum(opacity, layer)
            extent = np.maximum(extent, whole)
    inside = chest.edge(chest.inside, 1.0)
    mask = (extent * inside > 0.5) & (chest.inside > 0)
    return radiograph(chest, split, opacity * inside, np.zeros(chest.x.shape), mask)


def _layers(chest: Chest, lesions: Lesions) -> list[tuple[Array, Array]]:
    """Pairs of added brightness and extent (share in [0, 1])."""
    rng = chest.rng
    if lesions == "tiny":
        places = [_place(chest, _side(chest), 0.45) for _ in range(rng.integers(1, 3))]
        return [_nodule(chest, x, y, rng.uniform(2.5, 4)) for x, y in places]
    if lesions == "scattered":
        places = [_place(chest, lung, 0.75) for lung in chest.lungs for _ in range(rng.integers(12, 26))]
        return [_nodule(chest, x, y, rng.uniform(1.8, 3.2)) for x, y in places]
    layers = []
    lung = _side(chest)
    for number in range(rng.choice([1, 2, 3, 4], p=[0.2, 0.35, 0.3, 0.15])):
        if number and rng.random() < 0.35:
            lung = _side(chest)
        x, y = _place(chest, lung, 0.42)
        kind = rng.choice(["nodules", "consolidation", "cavity"], p=[0.3, 0.45, 0.25])
        if kind == "nodules":
            for _ in range(rng.integers(8, 20)):
                layers.append(_nodule(chest, x + rng.normal(0, 14), y + rng.normal(0, 14), rng.uniform(2.6, 5.5)))
        elif kind == "consolidation":
            layers.append(_consolidation(chest, x, y, rng.uniform(17, 34)))
        else:
            layers.append(_cavity(chest, x, y, rng.uniform(10, 19)))
    return layers


def _side(chest: Chest) -> Lung:
    return chest.lungs[chest.rng.integers(2)]


def _place(chest: Chest, lung: Lung, lowest: float) -> tuple[float, float]:
    """A place in mm in the part of a lung above the share `lowest` of its height."""
    i, j = np.nonzero((lung.inside > 6) & (lung.height < lowest))
    chosen = chest.rng.integers(len(i))
    return float(chest.x[i[chosen], j[chosen]]), float(chest.y[i[chosen], j[chosen]])


def _gap(chest: Chest, x: float, y: float) -> Array:
    """Distance in mm from a place, longer or shorter by a random stretch."""
    stretch, turn = np.exp(chest.rng.uniform(-0.22, 0.22)), chest.rng.uniform(0, np.pi)
    dx, dy = chest.x - x, chest.y - y
    p, q = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    return np.hypot(p * stretch, q / stretch)


def _nodule(chest: Chest, x: float, y: float, radius: float) -> tuple[Array, Array]:
    share = chest.edge(max(radius, 0.8 * chest.pixel) - _gap(chest, x, y), 0.9)  # at least a pixel
    return chest.rng.uniform(0.1, 0.17) * share, share


def _consolidation(chest: Chest, x: float, y: float, radius: float) -> tuple[Array, Array]:
    surface = radius - _gap(chest, x, y) + 0.22 * radius * chest.field(7) + 1.6 * chest.field(2.5)
    share = chest.edge(surface, 2.2)
    patchy = np.clip(1 + 0.22 * chest.field(3.5), 0.4, 1.6)
    return chest.rng.uniform(0.15, 0.24) * share * patchy, share


def _cavity(chest: Chest, x: float, y: float, radius: float) -> tuple[Array, Array]:
    surface = radius - _gap(chest, x, y) + 0.8 * chest.field(6) + 0.4 * chest.field(2)
    wall = chest.rng.uniform(2.4, 4.2)
    share = chest.edge(surface, 0.9)
    hollow = chest.edge(surface - wall, 0.9)
    haze = 0.09 * chest.edge(surface + 9, 4.0) * (1 - hollow)
    return chest.rng.uniform(0.15, 0.21) * (share - 0.95 * hollow) + haze - 0.02 * hollow, share
