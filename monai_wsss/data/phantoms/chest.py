"""A chest's coordinates, skin and lungs as a frontal radiograph (posterior to anterior) shows them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.special import expit

from monai_wsss.data.phantoms.phantom import Array

FIELD_OF_VIEW = 360.0  # mm
_APEX = 42.0  # mm from the midline to the top of a lung


class Lung:
    """One lung: distances are in mm, positive inside."""

    def __init__(self, chest: Chest, side: int) -> None:
        rng, y = chest.rng, chest.y
        self.side, self.y, self.across = side, y, side * chest.x  # mm from the midline, positive on this side
        self.apex, self.dome = chest.apex + rng.normal(0, 2), chest.dome + (0.0 if side < 0 else rng.uniform(4, 14))
        self.base, self.width = self.dome + 48, chest.width
        share = np.clip((y - self.apex) / (self.base - self.apex), 0, 1)
        self.wall = self.outline(share)
        height, most = (38.0, 58.0) if side > 0 else (50.0, 20.0)
        above = y - (chest.dome - height)  # mm above (negative) or below the heart's widest place
        heart = most * np.exp(-((above / np.where(above < 0, 46, 95)) ** 2))
        border = 22 + heart * chest.heart + (10 * np.exp(-(((y - 114) / 13) ** 2)) if side > 0 else 4)
        hilum = 13 * np.exp(-(((y - chest.hilum) / 20) ** 2))
        medial = _APEX - (_APEX - border - 0.5 * hilum) * np.sqrt(np.clip(1 - (1 - share) ** 7, 0, 1))
        floor = self.dome + 46 * ((self.across - 62) / 66) ** 2 * np.where(self.across > 62, 1, 0.5)
        pixel = chest.pixel
        slope = np.gradient(self.wall, pixel, axis=1)
        self.to_wall = (self.wall - self.across) / np.hypot(1, slope)
        self.to_middle = (self.across - medial) / np.hypot(1, np.gradient(medial, pixel, axis=1))
        self.to_floor = (floor - y) / np.hypot(1, np.gradient(floor, pixel, axis=0))
        self.inside = np.minimum.reduce([self.to_wall, self.to_middle, self.to_floor, y - self.apex])
        self.height = share  # 0 at the apex, 1 at the base

    def outline(self, share: Array) -> Array:
        """Millimetres from the midline to the chest wall at a share of the lung's height."""
        return _APEX + (self.width - _APEX) * np.clip(1 - (1 - share) ** 2.7, 0, 1) ** 0.52

    def polar(self) -> tuple[Array, Array]:
        """Distance inside the chest wall along rays from the lung's root, and the ray's angle (0 lateral, pi/2 up)."""
        root_x, root_y = 34.0, self.base - 75
        share = np.linspace(0, 1, 200) ** 2
        wall_x = np.concatenate([[24.0, 32.0], self.outline(share)])
        wall_y = np.concatenate([[self.apex + 6, self.apex + 1.5], self.apex + share * (self.base - self.apex)])
        angles = np.arctan2(root_y - wall_y, wall_x - root_x)[::-1]
        radii = np.hypot(root_y - wall_y, wall_x - root_x)[::-1]
        angle = np.arctan2(root_y - self.y, self.across - root_x)
        return np.interp(angle, angles, radii) - np.hypot(root_y - self.y, self.across - root_x), angle


class Chest:
    """Coordinates in mm (x to the patient's left, y down from the top edge), skin and lungs of one patient."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size, self.pixel = rng, size, FIELD_OF_VIEW / size
        i, j = np.meshgrid(*(np.arange(size, dtype=float),) * 2, indexing="ij")
        turn, zoom, shift = rng.normal(0, 0.025), rng.uniform(0.93, 1.07), rng.normal(0, 5, 2)
        self._pose = turn, zoom, shift
        x, y = (i - (size - 1) / 2) * self.pixel - shift[0], (j - (size - 1) / 2) * self.pixel - shift[1]
        self.x = (x * np.cos(turn) + y * np.sin(turn)) / zoom + 1.2 * self.field(30)
        self.y = (y * np.cos(turn) - x * np.sin(turn)) / zoom + 180 + 1.2 * self.field(30)
        self.apex, self.dome = rng.uniform(42, 54), rng.uniform(248, 282)  # mm from the top edge
        self.width, self.heart, self.hilum = rng.uniform(122, 140), rng.uniform(0.75, 1.2), rng.uniform(144, 160)
        neck = 50 + 6 * np.exp(np.clip((self.y - 8) / 11, 0, 5))
        flank = self.width + 16 + rng.uniform(-2, 14) + 75 * expit((122 - self.y) / 9) + 3 * self.field(60)
        self.skin = np.minimum(neck, flank) - np.abs(self.x)  # mm inside the skin
        self.lungs = [Lung(self, side) for side in (-1, 1)]
        self.inside = np.maximum(self.lungs[0].inside, self.lungs[1].inside)  # mm inside either lung
        self.air = expit(self.inside / max(0.8, 0.4 * self.pixel))  # share of the two lungs

    def locate(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Column and row (fractions of a pixel) of places in mm; the small warp is left out."""
        turn, zoom, shift = self._pose
        u, v = x * zoom, (y - 180) * zoom
        columns = (u * np.cos(turn) - v * np.sin(turn) + shift[0]) / self.pixel + (self.size - 1) / 2
        return columns, (v * np.cos(turn) + u * np.sin(turn) + shift[1]) / self.pixel + (self.size - 1) / 2

    def field(self, width: float) -> Array:
        """Smooth noise of standard deviation 1 with correlation length `width` mm."""
        sigma = width / self.pixel
        coarse = max(1, int(sigma / 4))  # wide noise is drawn on a coarse grid: the eye sees no difference
        count = -(-self.size // coarse) + 1
        noise = ndimage.gaussian_filter(self.rng.normal(size=(count, count)), sigma / coarse)
        noise = ndimage.zoom(noise, coarse, order=1)[: self.size, : self.size]
        return noise / noise.std()

    def edge(self, distance: Array, width: float = 0.8) -> Array:
        """Share in [0, 1] of a body from the distance inside it in mm; `width` mm is the edge's softness."""
        return expit(distance / max(width, 0.35 * self.pixel))

    def line(self, distance: Array, width: float) -> Array:
        """Profile of a line of half width `width` mm, at least a third of a pixel, from the distance to its middle."""
        half = max(width, 0.35 * self.pixel)
        return (width / half) ** 0.5 * np.exp(-((distance / half) ** 2))
