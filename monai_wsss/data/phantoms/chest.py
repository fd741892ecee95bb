"""A chest's coordinates and soft tissue as a frontal radiograph (posterior to anterior) shows them."""

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
    """Coordinates in mm (x to the patient's left, y down from the top edge) and soft tissue of one patient."""

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

    def body(self) -> Array:
        """Distance in mm inside the skin."""
        across = np.abs(self.x)
        neck = 50 + 6 * np.exp(np.clip((self.y - 8) / 11, 0, 5))
        flank = self.width + 16 + self.rng.uniform(-2, 14) + 75 * expit((122 - self.y) / 9) + 3 * self.field(60)
        return np.minimum(neck, flank) - across

    def soft_tissue(self) -> Array:
        """Brightness in [0, 1] of a chest without bones and vessels; 0 is air outside."""
        rng, x, y = self.rng, self.x, self.y
        inside = self.body()
        wall = 0.5 + 0.12 * np.clip(inside / 60, 0, 1) + 0.05 * expit((y - 260) / 20)
        middle = np.exp(-((x / 45) ** 4))
        image = wall + (0.2 + 0.04 * expit((y - 160) / 30)) * middle + 0.12 * expit((y - self.dome - 20) / 15)
        depth = np.clip(self.inside, 0, None)
        shade = 0.2 + 0.1 * np.exp(-depth / 9) + 0.05 * ((y - 160) / 120) + 0.03 * self.field(35)
        image = image * (1 - self.air) + shade * self.air
        trachea = np.where(y < 132, 9 - np.abs(x - 2 - 3 * np.sin(y / 40)), -9.0)
        image -= 0.11 * self.edge(trachea, 1.5) * expit((124 - y) / 8)
        for side in (-1, 1):  # main bronchi
            line = np.abs(y - 131 - 0.75 * side * x) * 0.8
            image -= 0.06 * self.edge(5.5 - line, 1.5) * (side * x > 0) * expit((34 - np.abs(x)) / 3)
        if rng.random() < 0.75:  # air in the stomach
            cx, cy = rng.uniform(45, 70), self.dome + rng.uniform(30, 42)
            bubble = 1 - np.hypot((x - cx) / rng.uniform(14, 28), (y - cy) / rng.uniform(8, 14))
            image -= 0.28 * self.edge(12 * bubble, 1.5) * (1 - self.air)
        if rng.random() < 0.5:  # breasts
            size, low = rng.uniform(48, 62), rng.uniform(215, 245)
            for side in (-1, 1):
                inner = size - np.hypot(side * x - 78, 1.15 * (y - low))
                image += rng.uniform(0.03, 0.07) * expit(inner / 3) * np.clip(inner / 30 + 0.4, 0, 1)
        return np.clip(image, 0, None) * self.edge(inside, 1.2)
