"""Chest radiographs put together: anatomy, look-alikes and disease, then what the detector makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_wsss.data.phantoms.chest import FIELD_OF_VIEW, Chest
from monai_wsss.data.phantoms.chest_bones import bones
from monai_wsss.data.phantoms.chest_look_alikes import companion_shadows, devices, emphysema, marker, skin_folds, spots
from monai_wsss.data.phantoms.chest_soft_tissue import soft_tissue
from monai_wsss.data.phantoms.chest_vessels import vessels
from monai_wsss.data.phantoms.phantom import Array, Phantom, ScannerSettings, Split


@dataclass(frozen=True)
class Detector:
    """A device's settings, and ranges (low, high) that each patient's settings are drawn from."""

    device: ScannerSettings
    noise: tuple[float, float]  # standard deviation where the image is brightest, of a range of 1
    blur: float  # standard deviation of the point spread, mm
    curve: tuple[float, float]  # exponent of the tone curve
    span: tuple[float, float]  # stored value of full brightness; 12 bits hold 4095
    floor: tuple[float, float]  # stored value of air
    field: tuple[float, float]  # amplitude of uneven illumination


_NORTH = Detector(
    ScannerSettings("North Hospital", "Alpha Imaging", "Alpha DR"),
    noise=(0.008, 0.014),
    blur=0.5,
    curve=(0.85, 1.05),
    span=(3000, 3700),
    floor=(20, 200),
    field=(0.01, 0.035),
)
_SOUTH = Detector(
    ScannerSettings("South Clinic", "Beta Systems", "Beta CR 2"),
    noise=(0.012, 0.02),
    blur=0.8,
    curve=(1.0, 1.25),
    span=(2200, 3000),
    floor=(100, 400),
    field=(0.02, 0.045),
)
_EAST = Detector(
    ScannerSettings("East Institute", "Gamma Health", "Gamma Portable"),
    noise=(0.022, 0.03),
    blur=0.65,
    curve=(0.7, 0.85),
    span=(3200, 3900),
    floor=(0, 60),
    field=(0.045, 0.07),
)
DETECTORS: dict[Split, tuple[Detector, ...]] = {"train": (_NORTH, _SOUTH), "val": (_NORTH, _SOUTH), "test": (_EAST,)}


def radiograph(chest: Chest, split: Split, disease: Array, pleural_air: Array, mask: NDArray[np.bool_]) -> Phantom:
    """Make a radiograph of a chest.

    Args:
        chest: patient.
        split: test patients come from another detector.
        disease: (W, H) brightness that disease adds or takes.
        pleural_air: (W, H) share in [0, 1] of pleural air, which has no lung markings.
        mask: (W, H) true extent of the disease.
    """
    rng = chest.rng
    detector = DETECTORS[split][rng.integers(len(DETECTORS[split]))]
    image, sparse = soft_tissue(chest), emphysema(chest)
    fine = 0.012 * chest.field(1.6) + 0.01 * chest.field(4)
    markings = (vessels(chest) + fine) * (0.3 + 0.7 * chest.air)
    skin = chest.edge(chest.skin, 1.2)
    image = image - 0.06 * sparse + markings * (1 - 0.6 * sparse) * (1 - pleural_air) * skin + bones(chest) * skin
    image += (spots(chest) + skin_folds(chest)) * skin + companion_shadows(chest) + devices(chest) + disease
    stored = _detect(chest, detector, image)
    return Phantom(stored[..., None], mask[..., None].astype(np.uint8), _affine(chest.size), detector.device)


def _detect(chest: Chest, detector: Detector, image: Array) -> NDArray[np.int16]:
    """Blur, uneven illumination, tone curve, noise, marker, collimation, stored values."""
    rng, size = chest.rng, chest.size
    image = ndimage.gaussian_filter(image, detector.blur / chest.pixel)
    across, down = np.meshgrid(*(np.linspace(-1, 1, size),) * 2, indexing="ij")
    uneven = rng.normal(0, 0.6) * across + rng.normal(0, 0.6) * down + 0.6 * chest.field(70)
    image = image + rng.uniform(*detector.field) * uneven + rng.uniform(-0.03, 0.03)
    image = np.clip(image, 0.0, 1.2) ** rng.uniform(*detector.curve)
    noise = rng.uniform(*detector.noise) * ndimage.gaussian_filter(rng.normal(size=image.shape), 0.4)
    image = image + noise / 0.75 * np.sqrt(0.25 + np.clip(image, 0, 1))  # fewer quanta reach bright, dense parts
    image = np.maximum(image, rng.uniform(0.95, 1.1) * marker(chest))
    if rng.random() < 0.3:  # collimator blades
        left, right, top, bottom = rng.integers(0, max(2, size // 24), 4)
        open_field = np.zeros(image.shape, bool)
        open_field[left : size - right, top : size - bottom] = True
        image = np.where(open_field, image, 0.0)
    low, high = rng.uniform(*detector.floor), rng.uniform(*detector.span)
    return np.rint(np.clip(low + (high - low) * image, 0, 4095)).astype(np.int16)


def _affine(size: int) -> Array:
    """(4, 4) from voxel indices to RAS mm of a frontal film: columns run to the patient's left, rows to the feet."""
    pixel = FIELD_OF_VIEW / size
    half = pixel * (size - 1) / 2
    # the third axis is DICOM's normal, row x column direction: to the back
    return np.array([[-pixel, 0, 0, half], [0, 0, -1, 0], [0, -pixel, 0, half], [0, 0, 0, 1.0]])
