"""Phantom heads that look like axial CT without contrast medium, in Hounsfield units, with acute haemorrhage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import expit

from monai_wsss.data.phantoms.ct_look_alikes import calcifications, falx, streaks
from monai_wsss.data.phantoms.haemorrhage import haemorrhage
from monai_wsss.data.phantoms.head import Head, Shell
from monai_wsss.data.phantoms.phantom import Array, Lesions, Phantom, ScannerSettings, Split


@dataclass(frozen=True)
class Scanner:
    """A device's settings, and ranges (low, high) that each patient's settings are drawn from."""

    device: ScannerSettings
    noise: tuple[float, float]  # standard deviation, HU
    grain: float  # correlation length of the noise, pixels of a 96-pixel slice
    blur: float  # standard deviation of the point spread, pixels of a 96-pixel slice
    cupping: tuple[float, float]  # rise towards the skull that beam hardening leaves, HU
    offset: tuple[float, float]  # error of calibration, HU
    holder: float  # curvature of the head holder, 1 / pixels


_NORTH = Scanner(
    ScannerSettings("North Hospital", "Alpha Imaging", "Alpha CT 64"),
    noise=(3.5, 5),
    grain=0.45,
    blur=0.5,
    cupping=(4, 9),
    offset=(-1.5, 1.5),
    holder=1 / 46,
)
_SOUTH = Scanner(
    ScannerSettings("South Clinic", "Beta Systems", "Beta Spiral"),
    noise=(4, 6),
    grain=0.7,
    blur=0.6,
    cupping=(2, 6),
    offset=(-2, 2),
    holder=1 / 56,
)
_EAST = Scanner(
    ScannerSettings("East Institute", "Gamma Health", "Gamma CT"),
    noise=(6.5, 8),
    grain=0.55,
    blur=0.45,
    cupping=(6, 11),
    offset=(-3, 3),
    holder=1 / 90,
)
SCANNERS: dict[Split, tuple[Scanner, ...]] = {"train": (_NORTH, _SOUTH), "val": (_NORTH, _SOUTH), "test": (_EAST,)}


def draw(
    rng: np.random.Generator, split: Split, diseased: bool, size: int, slices: int, lesions: Lesions = "usual"
) -> Phantom:
    """Draw one patient in Hounsfield units, and the mask of the blood.

    Args:
        rng: its state fixes every byte.
        split: test patients come from another scanner.
        diseased: whether there is a haemorrhage.
        size: pixels in a row and a column.
        slices: axial slices.
        lesions: "usual" (all kinds of haemorrhage), "tiny" or "scattered".
    """
    scanner = SCANNERS[split][rng.integers(len(SCANNERS[split]))]
    head = Head(rng, size, slices, scale=0.93, tilt=(rng.normal(0, 0.05), rng.normal(0, 0.05)))
    tissue, shell = head.tissue(), head.shell()
    image = 30.5 + 1.2 * tissue.texture + rng.uniform(6, 8) * tissue.grey
    blood, oedema = haemorrhage(head, tissue, lesions) if diseased else (np.zeros(head.shape), np.zeros(head.shape))
    image -= 11 * oedema
    image += (rng.uniform(4, 8) - image) * tissue.fluid
    image = np.maximum(image, falx(head, tissue))
    level = rng.uniform(60, 75) + 4 * head.field(2.5)
    image += (level - image) * blood
    image = np.maximum(image, calcifications(head, tissue) * (blood < 0.05))
    image = _cover(head, image, shell)
    image = _holder(head, image, shell, scanner.holder)
    image = ndimage.gaussian_filter(image, (scanner.blur * head.unit,) * 2 + (0.3,))  # point spread, thick slices
    image += _artefacts(head, scanner)
    return Phantom(
        np.rint(np.clip(image, -1024, 3071)).astype(np.int16),
        (blood > 0.5).astype(np.uint8),
        head.affine(),
        scanner.device,
    )


def _cover(head: Head, image: Array, shell: Shell) -> Array:
    """Put bone with two tables and marrow, fat, temporal muscle and skin around the brain, and air around all."""
    rng, out, skull = head.rng, shell.out, shell.skull
    marrow = np.exp(-(((out - 0.6 - 0.5 * (skull - 0.6)) / (0.28 * skull)) ** 2))
    bone = rng.uniform(1350, 1650) * (1 + 0.06 * head.field(2)) - rng.uniform(400, 650) * marrow
    fat = rng.uniform(-105, -85) + 12 * head.field(1.5)
    muscle = expit(8 * (0.75 * shell.temples * expit(-12 * (head.y + 0.2)) - (out - skull) / shell.scalp))
    cover = fat + (rng.uniform(48, 58) - fat) * muscle * (shell.temples > 0.05)
    image = np.where(out > 0.6, bone, image)
    image = np.where(out > skull, cover, image)
    image = np.where(out > skull + shell.scalp - 0.8, 25.0, image)
    return np.where(out > skull + shell.scalp, -1000.0, image)


def _holder(head: Head, image: Array, shell: Shell, curvature: float) -> Array:
    """Put the cushion and the shell of the head holder behind the head."""
    size = head.shape[0]
    across, down = (np.arange(size) - (size - 1) / 2) / head.unit, (np.arange(size) - (size - 1) / 2) / head.unit
    bow = head.rng.uniform(45, 46.5) - curvature / 2 * (across - head.rng.uniform(-2, 2)) ** 2
    gap = (down[None, :] - bow[:, None])[..., None]  # pixels below the shell
    air = shell.out > shell.skull + shell.scalp
    image = np.where(air & (gap > -6) & (gap < 0) & (np.abs(across) < 30)[:, None, None], -940.0, image)
    return np.where(air & (np.abs(gap) < 0.6) & (np.abs(across) < 36)[:, None, None], -150.0, image)


def _artefacts(head: Head, scanner: Scanner) -> Array:
    """Draw what the scanner adds: beam hardening, streaks, an offset, and noise with a grain."""
    rng = head.rng
    inside = expit(2 * (head.depth + 0.6))
    cupping = rng.uniform(*scanner.cupping) * np.exp(-np.clip(head.depth, 0, None) / 3.5)
    added = (cupping + streaks(head)) * inside + rng.uniform(*scanner.offset)
    noise = ndimage.gaussian_filter(rng.normal(size=head.shape), (scanner.grain * head.unit,) * 2 + (0.0,))
    return added + rng.uniform(*scanner.noise) * noise / noise.std()
