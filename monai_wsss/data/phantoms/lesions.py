"""Lesions of the brain's tissue: rounded plateaus, small ones, or many scattered foci."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from monai_wsss.data.phantoms.head import Head
from monai_wsss.data.phantoms.phantom import Array, Lesions

MIN_AREA = {"usual": 24, "tiny": 5, "scattered": 5}  # pixels of a 96-pixel slice; smaller sections are not drawn


def plateaus(head: Head, places: NDArray[np.bool_], radii: tuple[float, float, float, float], least: float) -> Array:
    """Signed distance (pixels, positive inside) to one to three rounded bodies on a run of slices.

    Args:
        head: patient.
        places: where a centre may lie.
        radii: lowest and highest radius of the first body, then of the others, in pixels of a 96-pixel slice.
        least: radius that the ends of a body keep.
    """
    rng, slices = head.rng, head.shape[2]
    length = max(1, round(slices * rng.uniform(0.45, 0.75)))
    # A run may begin or end outside the volume, so that no slice is much favoured.
    first = int(rng.integers(-(length // 2), slices - (length - 1) // 2))
    run = np.arange(slices)
    surface = np.full(head.shape, -np.inf)
    candidates = np.argwhere(places)
    for number in range(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])):
        extent = length if number == 0 else int(rng.integers(1, length + 1))
        start = first + int(rng.integers(0, length - extent + 1))
        height = (run - start - (extent - 1) / 2) / (extent / 2 + 0.5)
        largest = rng.uniform(*radii[:2]) if number == 0 else rng.uniform(*radii[2:])
        radius = np.where(np.abs(height) < 1, np.maximum(largest * np.sqrt(np.clip(1 - height**2, 0, 1)), least), -99)
        radius[(run < start) | (run >= start + extent)] = -99
        centre = np.clip(start + (extent - 1) / 2, 0, slices - 1)
        middle = candidates[np.abs(candidates[:, 2] - centre) <= 1]
        i, j, k = middle[rng.integers(len(middle))]
        dx, dy = head.u - head.u[i, j, k], head.v - head.v[i, j, k]
        stretch = np.exp(rng.uniform(-0.2, 0.2))
        surface = np.maximum(surface, radius - np.hypot(dx * stretch, dy / stretch))
    return surface


def foci(head: Head, places: NDArray[np.bool_], count: int, radii: tuple[float, float]) -> Array:
    """Signed distance (pixels, positive inside) to `count` small bodies, each on one slice or two."""
    rng = head.rng
    surface = np.full(head.shape, -np.inf)
    candidates = np.argwhere(places)
    for i, j, k in candidates[rng.integers(len(candidates), size=count)]:
        here = np.s_[:, :, k : k + int(rng.integers(1, 3))]
        dx, dy = head.u[here] - head.u[i, j, k], head.v[here] - head.v[i, j, k]
        stretch = np.exp(rng.uniform(-0.3, 0.3))
        surface[here] = np.maximum(surface[here], rng.uniform(*radii) - np.hypot(dx * stretch, dy / stretch))
    return surface


def until_drawn(draw: Callable[[], Array]) -> Array:
    """Repeat `draw` until it leaves something, so that a diseased patient has a lesion however small the image."""
    for _ in range(20):
        drawn = draw()
        if drawn.any():
            break
    return drawn


def brain_lesions(head: Head, ventricles: Array, lesions: Lesions) -> Array:
    """Opacity in [0, 1] of plateaus or foci with an irregular soft edge in the brain's tissue."""

    def draw() -> Array:
        if lesions == "usual":
            places = (head.depth > 8) & (ventricles < -3) & (np.abs(head.u) > 4)
            surface = plateaus(head, places, (7, 11.5, 5.5, 8), 6)
        else:
            places = (head.depth > 5) & (ventricles < -2) & (np.abs(head.u) > 3)
            count = head.rng.integers(1, 3) if lesions == "tiny" else head.rng.integers(1, 3) * head.shape[2]
            surface = foci(head, places, int(count), (2.2, 3.6))
        ragged = 1.0 if lesions == "usual" else 0.4
        surface = surface + ragged * (0.9 * head.field(3.5) + 0.4 * head.field(1.5))
        opacity = expit(3 * surface) * expit(3 * (head.depth - 1.5)) * expit(-3 * (ventricles + 0.3))
        return opacity * visible(head, opacity, MIN_AREA[lesions])

    return until_drawn(draw)


def visible(head: Head, opacity: Array, least: float) -> NDArray[np.bool_]:
    """Slices (D,) on which an opacity covers at least `least` pixels of a 96-pixel slice."""
    return (opacity > 0.5).sum((0, 1)) >= max(least * head.unit**2, 1)
