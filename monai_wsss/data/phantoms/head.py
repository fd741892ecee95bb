"""A head's coordinates and anatomy, shared by brain MRI and brain CT."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.special import expit

from monai_wsss.data.phantoms.phantom import Array

FIELD_OF_VIEW = 230.4  # mm
SLICE_THICKNESS = 6.0  # mm


@dataclass(frozen=True)
class Tissue:
    """Where the tissues of a brain are: shares in [0, 1], and distances in pixels, positive inside."""

    grey: Array  # share
    fluid: Array  # share, in the ventricles and around the brain
    cisterns: Array  # share of the fluid around the brain: fissures and sulci
    fissure: Array  # distance inside the fissure between the hemispheres
    ventricles: Array  # distance
    texture: Array  # smooth noise of standard deviation 1


@dataclass(frozen=True)
class Shell:
    """What lies around a brain; lengths are in pixels of a 96-pixel slice."""

    out: Array  # distance outside the brain's surface
    skull: Array  # its outer surface, as a distance outside the brain
    scalp: Array  # thickness
    temples: Array  # 1 in the middle of the temporal muscle, 0 far from it


class Head:
    """Coordinates and anatomy of one patient; lengths are in pixels of a 96-pixel slice, axes point left and back."""

    def __init__(
        self, rng: np.random.Generator, size: int, slices: int, scale: float = 1.0, tilt: tuple[float, float] = (0, 0)
    ) -> None:
        self.rng, self.unit, self.shape = rng, size / 96, (size, size, slices)
        i, j, k = np.meshgrid(*(np.arange(n, dtype=float) for n in self.shape), indexing="ij")
        angle, scale, shift = rng.normal(0, 0.08), scale * rng.uniform(0.92, 1.06), rng.normal(0, 1.5, 2)
        x, y = (i - (size - 1) / 2) / self.unit - shift[0], (j - (size - 1) / 2) / self.unit - shift[1]
        self.u = (x * np.cos(angle) + y * np.sin(angle)) / scale + 0.8 * self.field(6)
        self.v = (y * np.cos(angle) - x * np.sin(angle)) / scale + 0.8 * self.field(6)
        # 0 at the basal ganglia, 1 under the vertex; a tilted head shows its sides at different heights
        self.z = k / max(slices - 1, 1)
        if any(tilt):
            self.z = np.clip(self.z + tilt[0] * self.u / 28 + tilt[1] * self.v / 34.5, 0, 1.1)
        taper = np.sqrt(1 - (0.72 * self.z) ** 2)
        self.half = np.array([28.0, 34.5]) * rng.uniform(0.96, 1.04, 2)
        self.x, self.y = self.u / (self.half[0] * taper), self.v / (self.half[1] * taper)
        radius = np.hypot(self.x * (1 - 0.06 * self.y), self.y)  # 1 on the brain's surface; wider behind
        self.theta = np.arctan2(self.y, self.x)
        self.depth = (1 - radius) * self.half.mean() * taper  # pixels below the brain's surface, negative outside

    def affine(self) -> Array:
        """(4, 4) from voxel indices to RAS mm; the origin is the volume's centre."""
        pixel = FIELD_OF_VIEW / self.shape[0]
        spacing = np.array([-pixel, -pixel, SLICE_THICKNESS])  # indices grow to the left, to the back and up
        return nib.affines.from_matvec(np.diag(spacing), -spacing * (np.array(self.shape) - 1) / 2)

    def field(self, width: float, through: float = 1.5) -> Array:
        """Smooth noise of standard deviation 1 with correlation length `width` pixels in plane, `through` slices."""
        noise = ndimage.gaussian_filter(self.rng.normal(size=self.shape), (width * self.unit,) * 2 + (through,))
        return noise / noise.std()

    def ellipses(self, *shapes: tuple[float, float, float, float, float], grow: Array | float = 1.0) -> Array:
        """Distance in pixels (positive inside) to mirrored ellipses (x, y, half x, half y, tilt) in brain units."""
        inside = np.full(self.shape, -np.inf)
        for cx, cy, hx, hy, tilt in shapes:
            for side in (-1, 1):
                dx, dy = side * self.x - cx, self.y - cy
                p, q = dx * np.cos(tilt) + dy * np.sin(tilt), dy * np.cos(tilt) - dx * np.sin(tilt)
                radius = np.hypot(p / hx, q / hy)
                inside = np.maximum(inside, (grow - radius) * min(hx, hy) * self.half[0])
        return inside

    def slab(self, most: int) -> tuple[slice, slice, slice]:
        """Index of one to `most` consecutive slices."""
        first = int(self.rng.integers(self.shape[2]))
        return np.s_[:, :, first : first + int(self.rng.integers(1, most + 1))]

    def tissue(self) -> Tissue:
        """Draw cortex, deep grey matter, ventricles, fissures and sulci."""
        fold, depth = self.field(1.9, 0.6), self.depth
        ribbon = expit((7.5 - depth - 9 * np.abs(fold)) * 1.2) + expit((3.2 - depth) * 2)
        deep = self.ellipses((0.4, -0.05, 0.12, 0.22, 0.15), (0.16, 0.1, 0.12, 0.15, 0.4))
        deep_grey = expit(2 * deep) * (self.z < 0.3)
        texture = self.field(3)
        grow = self.rng.uniform(0.85, 1.25) * np.clip(1.25 - 1.5 * self.z, 0, 1) + 0.04 * self.field(4)
        horns = (0.13, -0.3, 0.075, 0.17, 0.35), (0.13, -0.02, 0.05, 0.24, 0.0), (0.26, 0.33, 0.085, 0.2, -0.35)
        ventricles = np.where(self.z < 0.85, self.ellipses(*horns, grow=grow), -9.0)
        fissure = 0.8 + 0.5 * self.z - np.abs(self.u - 0.6 * self.field(8))
        fissure = np.where((np.abs(self.y) > 0.5) | (self.z > 0.75), fissure, -9.0)
        sulci = np.minimum(1.5 - 7 * np.abs(fold), (8.5 - depth) / 2)
        sylvian = np.where(self.z < 0.35, self.ellipses((0.75, -0.12, 0.24, 0.03, 0.15)), -9.0)
        around = [expit(3 * part) for part in (fissure, sulci - 0.4, sylvian, 0.5 - depth)]
        cisterns = np.maximum.reduce(around)
        fluid = np.maximum(expit(3 * ventricles), cisterns)
        return Tissue(np.clip(ribbon + deep_grey, 0, 1), fluid, cisterns, fissure, ventricles, texture)

    def shell(self) -> Shell:
        """Draw the skull and the scalp, which is thick at the temples and the nape."""
        skull = 3.2 + 0.4 * self.field(9)
        nape = np.exp(-((self.y - 0.95) ** 2) / 0.08)
        temples = np.exp(-((np.abs(self.x) - 1.1) ** 2) / 0.05) * (self.y < 0)
        scalp = self.rng.uniform(4.3, 5.5) + 2.4 * (nape + temples) + 0.4 * self.field(9)
        return Shell(-self.depth, skull, scalp, temples)
