"""Phantom heads that look like axial FLAIR, with a T1-like second contrast that hardly shows the lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import expit

from monai_wsss.data.phantoms.head import Head, Shell, Tissue
from monai_wsss.data.phantoms.lesions import brain_lesions
from monai_wsss.data.phantoms.phantom import Array, Lesions, Phantom, ScannerSettings, Split


@dataclass(frozen=True)
class Scanner:
    """Ranges (low, high) that each patient's settings are drawn from; intensities are relative to scalp fat near 1."""

    noise: tuple[float, float]  # standard deviation of each Rician channel
    bias: tuple[float, float]  # amplitude of the log bias field
    grey: tuple[float, float]  # grey matter; white matter is .39
    lesion: tuple[float, float]  # plateau
    gain: tuple[float, float]  # stored value of intensity 1
    devices: tuple[ScannerSettings, ...]  # equal steps of the gain


_TRAINING = Scanner(
    noise=(0.012, 0.026),
    bias=(0.03, 0.07),
    grey=(0.47, 0.51),
    lesion=(0.7, 0.76),
    gain=(500, 900),
    devices=(
        ScannerSettings("North Hospital", "Alpha Imaging", "Alpha 1.5T"),
        ScannerSettings("South Clinic", "Beta Systems", "Beta 1.5T"),
    ),
)
_UNSEEN = Scanner(
    noise=(0.032, 0.042),
    bias=(0.08, 0.12),
    grey=(0.49, 0.53),
    lesion=(0.7, 0.76),
    gain=(900, 1600),
    devices=(ScannerSettings("East Institute", "Gamma Health", "Gamma 3T"),),
)
SCANNERS = {"train": _TRAINING, "val": _TRAINING, "test": _UNSEEN}


def draw(
    rng: np.random.Generator, split: Split, diseased: bool, size: int, slices: int, lesions: Lesions = "usual"
) -> Phantom:
    """Draw one patient: FLAIR-like volume, lesion mask and `extra["t1"]`.

    Args:
        rng: its state fixes every byte.
        split: test patients come from another scanner.
        diseased: whether there is a lesion.
        size: pixels in a row and a column.
        slices: axial slices.
        lesions: "usual", "tiny" or "scattered".
    """
    scanner, head = SCANNERS[split], Head(rng, size, slices)
    (second,) = rng.spawn(1)  # the second contrast's own numbers
    grey = rng.uniform(*scanner.grey)
    tissue, shell = head.tissue(), head.shell()
    image = _flair(head, tissue, shell, grey)
    opacity = brain_lesions(head, tissue.ventricles, lesions) if diseased else np.zeros(head.shape)
    image = image * (1 - opacity) + rng.uniform(*scanner.lesion) * opacity
    image, gain = _acquire(head, image, scanner)
    step = (gain - scanner.gain[0]) / (scanner.gain[1] - scanner.gain[0])
    device = scanner.devices[min(int(step * len(scanner.devices)), len(scanner.devices) - 1)]
    head.rng = second
    t1, _ = _acquire(head, _t1(head, tissue, shell, opacity), scanner)
    extra = {"t1": np.rint(t1).astype(np.int16)}
    return Phantom(
        np.rint(image).astype(np.int16), (opacity > 0.5).astype(np.uint8), head.affine(), device, extra=extra
    )


def _flair(head: Head, tissue: Tissue, shell: Shell, grey: float) -> Array:
    image = 0.39 + 0.012 * tissue.texture + (grey - 0.39) * tissue.grey
    image = image * (1 - tissue.fluid) + 0.13 * tissue.fluid
    return np.maximum(_cover(head, image, shell), _look_alikes(head, tissue.ventricles))


def _t1(head: Head, tissue: Tissue, shell: Shell, opacity: Array) -> Array:
    image = 0.66 + 0.012 * tissue.texture - 0.18 * tissue.grey - 0.04 * opacity  # a lesion is barely darker
    return _cover(head, image * (1 - tissue.fluid) + 0.14 * tissue.fluid, shell)


def _cover(head: Head, image: Array, shell: Shell) -> Array:
    """Put skull, scalp fat and skin around the brain."""
    out, skull = shell.out, shell.skull
    marrow = 0.22 * np.exp(-(((out - 0.55 * skull) / 0.8) ** 2))
    fat = head.rng.uniform(0.98, 1.06) * (1 + 0.04 * head.field(2))
    image = np.where(out > 1.0, 0.1 + marrow, image)
    image = np.where(out > skull, fat, image)
    image = np.where(out > skull + shell.scalp - 0.7, 0.3, image)
    return np.where(out > skull + shell.scalp, 0.0, image)


def _look_alikes(head: Head, ventricles: Array) -> Array:
    """Bright structures that are no lesions: cortical bands, periventricular rims, choroid plexus, small foci."""
    rng, bright = head.rng, np.zeros(head.shape)
    for _ in range(round(1.1 * head.shape[2])):  # curved bands along the cortex
        here = head.slab(3)
        turn = np.angle(np.exp(1j * (head.theta[here] - rng.uniform(-np.pi, np.pi))))
        line = head.depth[here] - rng.uniform(2.5, 9) - 1.2 * np.sin(turn * rng.uniform(5, 9))
        ends = expit(20 * (rng.uniform(0.3, 0.7) - np.abs(turn)))
        band = expit(6 * (rng.uniform(1.2, 1.9) - np.abs(line))) * ends
        bright[here] = np.maximum(bright[here], rng.uniform(0.95, 1.1) * band)
    for _ in range(3 * head.shape[2]):  # foci in the white matter
        here, radius, angle = head.slab(2), rng.uniform(0.1, 0.75), rng.uniform(-np.pi, np.pi)
        gap = np.hypot(head.x[here] - radius * np.cos(angle), head.y[here] - radius * np.sin(angle))
        focus = expit(3 * (rng.uniform(0.9, 1.8) - gap * head.half.mean()))
        bright[here] = np.maximum(bright[here], rng.uniform(0.9, 1.1) * focus)
    rim = np.exp(-(((ventricles + 1.1) / 1.0) ** 2)) * rng.uniform(0.52, 0.6) * (1 + 0.05 * head.field(4))
    plexus = rng.uniform(0.8, 1.1) * expit(2 * head.ellipses((0.27, 0.3, 0.05, 0.09, -0.35)))
    return np.maximum.reduce([bright, rim, plexus * (ventricles > 0)]) * (head.depth > 0.5)


def _acquire(head: Head, image: Array, scanner: Scanner) -> tuple[Array, float]:
    """Blur, bias field, Rician noise of a magnitude image, and the stored value of intensity 1."""
    rng = head.rng
    image = ndimage.gaussian_filter(image, (0.4 * head.unit,) * 2 + (0.0,))
    image = image * np.exp(rng.uniform(*scanner.bias) * head.field(22, 4))
    noise = rng.uniform(*scanner.noise) * rng.normal(size=(2, *head.shape))
    gain = rng.uniform(*scanner.gain)
    return np.hypot(image + noise[0], noise[1]) * gain, gain
