"""Phantom brain volumes that look like axial FLAIR: they prove plumbing, never accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from monai_wsss.data.atomic import atomic_path, write_table

Array = NDArray[np.float64]
_SLICE_THICKNESS = 6.0  # mm
_MIN_LESION = 24  # pixels of a 96-pixel slice; a smaller section is not drawn, so that no label rests on a speck


@dataclass(frozen=True)
class Scanner:
    """Ranges (low, high) that each patient's settings are drawn from; intensities are relative to scalp fat near 1."""

    noise: tuple[float, float]  # standard deviation of each Rician channel
    bias: tuple[float, float]  # amplitude of the log bias field
    grey: tuple[float, float]  # grey matter; white matter is .39
    lesion: tuple[float, float]  # plateau
    gain: tuple[float, float]  # stored value of intensity 1


_TRAINING = Scanner(noise=(0.012, 0.026), bias=(0.03, 0.07), grey=(0.47, 0.51), lesion=(0.7, 0.76), gain=(500, 900))
_UNSEEN = Scanner(noise=(0.032, 0.042), bias=(0.08, 0.12), grey=(0.49, 0.53), lesion=(0.7, 0.76), gain=(900, 1600))
SCANNERS = {"train": _TRAINING, "val": _TRAINING, "test": _UNSEEN}


class _Head:
    """Coordinates and anatomy of one patient; lengths are in pixels of a 96-pixel slice, axes point left and back."""

    def __init__(self, rng: np.random.Generator, size: int, slices: int) -> None:
        self.rng, self.unit, self.shape = rng, size / 96, (size, size, slices)
        i, j, k = np.meshgrid(*(np.arange(n, dtype=float) for n in self.shape), indexing="ij")
        angle, scale, shift = rng.normal(0, 0.08), rng.uniform(0.92, 1.06), rng.normal(0, 1.5, 2)
        x, y = (i - (size - 1) / 2) / self.unit - shift[0], (j - (size - 1) / 2) / self.unit - shift[1]
        self.u = (x * np.cos(angle) + y * np.sin(angle)) / scale + 0.8 * self.field(6)
        self.v = (y * np.cos(angle) - x * np.sin(angle)) / scale + 0.8 * self.field(6)
        self.z = k / max(slices - 1, 1)  # 0 at the basal ganglia, 1 under the vertex
        taper = np.sqrt(1 - (0.72 * self.z) ** 2)
        self.half = np.array([28.0, 34.5]) * rng.uniform(0.96, 1.04, 2)
        self.x, self.y = self.u / (self.half[0] * taper), self.v / (self.half[1] * taper)
        radius = np.hypot(self.x * (1 - 0.06 * self.y), self.y)  # 1 on the brain's surface; wider behind
        self.theta = np.arctan2(self.y, self.x)
        self.depth = (1 - radius) * self.half.mean() * taper  # pixels below the brain's surface, negative outside

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

    def tissue(self, grey: float) -> tuple[Array, Array]:
        """Return healthy intensities and the distance inside the ventricles."""
        rng = self.rng
        fold, depth = self.field(1.9, 0.6), self.depth
        ribbon = expit((7.5 - depth - 9 * np.abs(fold)) * 1.2) + expit((3.2 - depth) * 2)
        deep = self.ellipses((0.4, -0.05, 0.12, 0.22, 0.15), (0.16, 0.1, 0.12, 0.15, 0.4))
        deep_grey = expit(2 * deep) * (self.z < 0.3)
        image = 0.39 + 0.012 * self.field(3) + (grey - 0.39) * np.clip(ribbon + deep_grey, 0, 1)
        grow = rng.uniform(0.85, 1.25) * np.clip(1.25 - 1.5 * self.z, 0, 1) + 0.04 * self.field(4)
        horns = (0.13, -0.3, 0.075, 0.17, 0.35), (0.13, -0.02, 0.05, 0.24, 0.0), (0.26, 0.33, 0.085, 0.2, -0.35)
        ventricles = np.where(self.z < 0.85, self.ellipses(*horns, grow=grow), -9.0)
        fissure = 0.8 + 0.5 * self.z - np.abs(self.u - 0.6 * self.field(8))
        fissure = np.where((np.abs(self.y) > 0.5) | (self.z > 0.75), fissure, -9.0)
        sulci = np.minimum(1.5 - 7 * np.abs(fold), (8.5 - depth) / 2)
        sylvian = np.where(self.z < 0.35, self.ellipses((0.75, -0.12, 0.24, 0.03, 0.15)), -9.0)
        fluid = np.maximum.reduce(
            [expit(3 * part) for part in (ventricles, fissure, sulci - 0.4, sylvian, 0.5 - depth)]
        )
        return image * (1 - fluid) + 0.13 * fluid, ventricles

    def shell(self, image: Array) -> Array:
        """Put skull, scalp fat and skin around the brain; the scalp is thick at the temples and the nape."""
        skull = 3.2 + 0.4 * self.field(9)
        nape = np.exp(-((self.y - 0.95) ** 2) / 0.08)
        temples = np.exp(-((np.abs(self.x) - 1.1) ** 2) / 0.05) * (self.y < 0)
        scalp = self.rng.uniform(4.3, 5.5) + 2.4 * (nape + temples) + 0.4 * self.field(9)
        out = -self.depth
        marrow = 0.22 * np.exp(-(((out - 0.55 * skull) / 0.8) ** 2))
        fat = self.rng.uniform(0.98, 1.06) * (1 + 0.04 * self.field(2))
        image = np.where(out > 1.0, 0.1 + marrow, image)
        image = np.where(out > skull, fat, image)
        image = np.where(out > skull + scalp - 0.7, 0.3, image)
        return np.where(out > skull + scalp, 0.0, image)

    def look_alikes(self, ventricles: Array) -> Array:
        """Bright structures that are no lesions: cortical bands, periventricular rims, choroid plexus, small foci."""
        rng, bright = self.rng, np.zeros(self.shape)
        for _ in range(round(1.1 * self.shape[2])):  # curved bands along the cortex
            here = self.slab(3)
            turn = np.angle(np.exp(1j * (self.theta[here] - rng.uniform(-np.pi, np.pi))))
            line = self.depth[here] - rng.uniform(2.5, 9) - 1.2 * np.sin(turn * rng.uniform(5, 9))
            ends = expit(20 * (rng.uniform(0.3, 0.7) - np.abs(turn)))
            band = expit(6 * (rng.uniform(1.2, 1.9) - np.abs(line))) * ends
            bright[here] = np.maximum(bright[here], rng.uniform(0.95, 1.1) * band)
        for _ in range(3 * self.shape[2]):  # foci in the white matter
            here, radius, angle = self.slab(2), rng.uniform(0.1, 0.75), rng.uniform(-np.pi, np.pi)
            gap = np.hypot(self.x[here] - radius * np.cos(angle), self.y[here] - radius * np.sin(angle))
            focus = expit(3 * (rng.uniform(0.9, 1.8) - gap * self.half.mean()))
            bright[here] = np.maximum(bright[here], rng.uniform(0.9, 1.1) * focus)
        rim = np.exp(-(((ventricles + 1.1) / 1.0) ** 2)) * rng.uniform(0.52, 0.6) * (1 + 0.05 * self.field(4))
        plexus = rng.uniform(0.8, 1.1) * expit(2 * self.ellipses((0.27, 0.3, 0.05, 0.09, -0.35)))
        return np.maximum.reduce([bright, rim, plexus * (ventricles > 0)]) * (self.depth > 0.5)

    def slab(self, most: int) -> tuple[slice, slice, slice]:
        """Index of one to `most` consecutive slices."""
        first = int(self.rng.integers(self.shape[2]))
        return np.s_[:, :, first : first + int(self.rng.integers(1, most + 1))]

    def lesions(self, ventricles: Array) -> Array:
        """Opacity in [0, 1] of one to three rounded plateaus with an irregular soft edge on a run of slices."""
        rng, slices = self.rng, self.shape[2]
        length = max(1, round(slices * rng.uniform(0.45, 0.75)))
        # A run may begin or end outside the volume, so that no slice is much favoured.
        first = int(rng.integers(-(length // 2), slices - (length - 1) // 2))
        run = np.arange(slices)
        surface = np.full(self.shape, -np.inf)
        places = np.argwhere((self.depth > 8) & (ventricles < -3) & (np.abs(self.u) > 4))
        for number in range(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])):
            extent = length if number == 0 else int(rng.integers(1, length + 1))
            start = first + int(rng.integers(0, length - extent + 1))
            height = (run - start - (extent - 1) / 2) / (extent / 2 + 0.5)
            largest = rng.uniform(7, 11.5) if number == 0 else rng.uniform(5.5, 8)
            radius = np.where(np.abs(height) < 1, np.maximum(largest * np.sqrt(np.clip(1 - height**2, 0, 1)), 6), -99)
            radius[(run < start) | (run >= start + extent)] = -99
            centre = np.clip(start + (extent - 1) / 2, 0, slices - 1)
            middle = places[np.abs(places[:, 2] - centre) <= 1]
            i, j, k = middle[rng.integers(len(middle))]
            dx, dy = self.u - self.u[i, j, k], self.v - self.v[i, j, k]
            stretch = np.exp(rng.uniform(-0.2, 0.2))
            surface = np.maximum(surface, radius - np.hypot(dx * stretch, dy / stretch))
        surface = surface + 0.9 * self.field(3.5) + 0.4 * self.field(1.5)
        opacity = expit(3 * surface) * expit(3 * (self.depth - 1.5)) * expit(-3 * (ventricles + 0.3))
        return opacity * ((opacity > 0.5).sum((0, 1)) >= _MIN_LESION * self.unit**2)


def phantom(
    rng: np.random.Generator, scanner: Scanner, diseased: bool, size: int, slices: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Draw one patient: FLAIR-like volume and lesion mask, both (size, size, slices), axes left, back, up."""
    head = _Head(rng, size, slices)
    image, ventricles = head.tissue(rng.uniform(*scanner.grey))
    image = np.maximum(head.shell(image), head.look_alikes(ventricles))
    opacity = head.lesions(ventricles) if diseased else np.zeros(head.shape)
    image = image * (1 - opacity) + rng.uniform(*scanner.lesion) * opacity
    image = ndimage.gaussian_filter(image, (0.4 * head.unit,) * 2 + (0.0,))
    image = image * np.exp(rng.uniform(*scanner.bias) * head.field(22, 4))
    noise = rng.uniform(*scanner.noise) * rng.normal(size=(2, *head.shape))
    image = np.hypot(image + noise[0], noise[1]) * rng.uniform(*scanner.gain)  # magnitude image: Rician noise
    return np.rint(image).astype(np.int16), (opacity > 0.5).astype(np.uint8)


def _splits(patients: int) -> list[tuple[str, int]]:
    """Split of each patient and the patient's number within the split; no split is empty."""
    test, val = max(1, round(0.2 * patients)), max(1, round(0.1 * patients))
    sizes = {"train": patients - val - test, "val": val, "test": test}
    return [(split, number) for split, size in sizes.items() for number in range(size)]


def write_phantoms(
    out: Path, patients: int = 40, size: int = 96, slices: int = 10, seed: int = 0, pixel_spacing: float = 2.4
) -> Path:
    """Write phantom volumes, true masks and a table of slice labels; equal arguments give equal bytes.

    Args:
        out: folder for images/<patient>.nii.gz, masks/<patient>.nii.gz and labels.csv.
        patients: at least 3; about 70 / 10 / 20 % train / val / test, one in four without a lesion.
        size: pixels in a row and a column, at least 32.
        slices: axial slices of a volume, at least 1.
        seed: non-negative.
        pixel_spacing: mm.

    Returns:
        `out`.

    Raises:
        ValueError: an argument is out of range.
    """
    if patients < 3 or size < 32 or slices < 1 or pixel_spacing <= 0:
        raise ValueError("write_phantoms needs patients >= 3, size >= 32, slices >= 1 and pixel_spacing > 0")
    spacing = np.array([-pixel_spacing, -pixel_spacing, _SLICE_THICKNESS])  # the file's world is right, front, up
    affine = nib.affines.from_matvec(np.diag(spacing), -spacing * (np.array([size, size, slices]) - 1) / 2)
    rows: list[list[str | int]] = []
    for index, (split, number) in enumerate(_splits(patients)):
        name = f"phantom_{index:03d}"
        diseased = number % 4 != 2  # one in four of every split is wholly negative
        volume, mask = phantom(np.random.default_rng([seed, index]), SCANNERS[split], diseased, size, slices)
        for folder, array in (("images", volume), ("masks", mask)):
            nifti = nib.Nifti1Image(array, affine)
            nifti.header.set_xyzt_units("mm")
            with atomic_path(out / folder / f"{name}.nii.gz") as path:
                nib.save(nifti, path)
        rows += [[name, split, k, int(mask[..., k].any())] for k in range(slices)]
    write_table(out / "labels.csv", ("PatientID", "split", "slice", "lesion"), rows)
    return out
