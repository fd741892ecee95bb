"""What a phantom is: image, true mask, geometry and the scanner it seems to come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Split = Literal["train", "val", "test"]
Lesions = Literal["usual", "tiny", "scattered"]


@dataclass(frozen=True)
class ScannerSettings:
    """Where and with what a phantom seems to have been acquired; the names are invented."""

    site: str
    manufacturer: str
    model: str


@dataclass(frozen=True)
class Phantom:
    """One generated study.

    Args:
        image: (W, H, D) int16 stored values; Hounsfield units for CT.
        mask: (W, H, D) uint8, 1 in the lesion.
        affine: (4, 4) from voxel indices to RAS millimetres.
        scanner: device.
        spacing_known: whether the affine's spacing is true.
        extra: further images of the same geometry by name ("t1": a second contrast of brain MRI).
    """

    image: NDArray[np.int16]
    mask: NDArray[np.uint8]
    affine: Array
    scanner: ScannerSettings
    spacing_known: bool = True
    extra: dict[str, NDArray[np.int16]] = field(default_factory=dict)


class Draw(Protocol):
    """Signature of a kind's generator."""

    def __call__(
        self,
        rng: np.random.Generator,
        split: Split,
        diseased: bool,
        size: int,
        slices: int,
        lesions: Lesions = "usual",
    ) -> Phantom:
        """Draw one patient of `size` x `size` pixels and `slices` slices; the state of `rng` fixes every byte."""


@dataclass(frozen=True)
class PhantomKind:
    """A kind of phantom by name, its lesion's label, DICOM modality, generator and usual size."""

    name: str
    label: str
    modality: Literal["MR", "CT", "DX"]
    draw: Draw
    size: int
    slices: int
