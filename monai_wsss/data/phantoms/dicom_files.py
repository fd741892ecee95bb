"""Write generated volumes as the DICOM files that a scanner and a PACS leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from monai_wsss.data.phantoms.dicom_dataset import can_encode, decimal, make_uid, write_dataset
from monai_wsss.data.phantoms.dicom_multiframe import add_functional_groups

_PROJECTIONS = ("DX", "CR")
_SOP_CLASSES = {
    "MR": uid.MRImageStorage,
    "CT": uid.CTImageStorage,
    "CR": uid.ComputedRadiographyImageStorage,
    "DX": uid.DigitalXRayImageStorageForPresentation,
}
_ENHANCED = {"MR": uid.EnhancedMRImageStorage, "CT": uid.EnhancedCTImageStorage}


@dataclass(frozen=True)
class Storage:
    """How a vendor stores a series.

    Attributes:
        transfer_syntax: one that `can_encode` accepts; JPEG 2000 needs 32 pixels a side.
        bits_stored: up to 8 are allocated as 8, more as 16.
        signed: two's complement.
        slope, intercept: value = slope * stored + intercept; stored values saturate.
        multi_frame: one enhanced object instead of a file a slice (MR and CT).
        reversed_numbers: InstanceNumber falls along the slice normal.
        inverted: MONOCHROME1: the largest value is stored as the smallest (unsigned only).
        padding: stored value of NaN, noted as PixelPaddingValue.
        missing: keywords of elements left out.
        private: creator of a private block that repeats the patient's name; empty for none.
    """

    transfer_syntax: str = uid.ExplicitVRLittleEndian
    bits_stored: int = 16
    signed: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    multi_frame: bool = False
    reversed_numbers: bool = False
    inverted: bool = False
    padding: int | None = None
    missing: tuple[str, ...] = ()
    private: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError on what cannot be stored."""
        if not 2 <= self.bits_stored <= 16 or not self.slope:
            raise ValueError("bits_stored must lie in 2..16 and slope must not be 0")
        if self.inverted and self.signed:
            raise ValueError("inverted values are stored unsigned here")
        low, high = self.range
        if self.padding is not None and not low <= self.padding <= high:
            raise ValueError(f"padding must lie in {low}..{high}")

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest stored value."""
        half = 1 << (self.bits_stored - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Return the values as they stand in the file."""
        low, high = self.range
        stored = np.clip(np.rint((np.nan_to_num(values) - self.intercept) / self.slope), low, high).astype(np.int64)
        stored = high - stored if self.inverted else stored
        if np.isnan(values).any():
            if self.padding is None:
                raise ValueError("NaN needs a padding value")
            stored = np.where(np.isnan(values), self.padding, stored)
        return stored.astype(("i" if self.signed else "u") + ("1" if self.bits_stored <= 8 else "2"))


@dataclass(frozen=True)
class Instance:
    """Where one slice was written: its file, SOPInstanceUID and InstanceNumber, and its frame from 1 if multi-frame."""

    file: Path
    uid: str
    number: int
    frame: int | None = None


def write_series(
    folder: Path,
    array: np.ndarray,
    affine: np.ndarray,
    tags: Mapping[str, Any],
    storage: Storage = Storage(),
    number: int = 1,
    file: int | None = None,
) -> list[Instance]:
    """Write a volume to `folder`/IM00001 and following; equal arguments give equal bytes.

    Args:
        folder: of the files.
        array: (W, H, D) values: columns, rows, slices; NaN is padding.
        affine: 4x4, indices to mm (RAS); orthogonal axes.
        tags: other elements by keyword: Modality (MR, CT, CR or DX), StudyInstanceUID and SeriesInstanceUID at least.
        storage: how it is stored.
        number: first InstanceNumber of the series.
        file: number in the first file's name; by default `number`.

    Returns:
        One instance a slice, ascending along the slice normal (cross product of the row and column direction).

    Raises:
        ValueError: if the modality cannot be stored so, or no encoder is installed.
    """
    modality, depth = tags["Modality"], array.shape[2]
    if not can_encode(storage.transfer_syntax):
        raise ValueError(f"no encoder for {uid.UID(storage.transfer_syntax).name}")
    if modality not in (_ENHANCED if storage.multi_frame else _SOP_CLASSES):
        raise ValueError(f"cannot store modality {modality} so")
    if np.linalg.det(affine[:3, :3]) < 0:  # slices fall along the normal
        flip = np.diag([1.0, 1.0, -1.0, 1.0])
        flip[2, 3] = depth - 1
        array, affine = array[:, :, ::-1], affine @ flip
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    stored = storage.stored(np.asarray(array, dtype=float)).transpose(2, 1, 0)  # slices, rows, columns
    base = _common(stored, array, tags, storage)
    first = number if file is None else file
    if storage.multi_frame:
        data = _instance(base, _ENHANCED[modality], make_uid(tags["SeriesInstanceUID"], number), number)
        order = list(range(depth))[:: -1 if storage.reversed_numbers else 1]
        add_functional_groups(data, lps, order, storage.slope, storage.intercept)
        path = _write(folder, first, data, stored[order], storage)
        return [Instance(path, str(data.SOPInstanceUID), number, order.index(k) + 1) for k in range(depth)]
    instances = []
    for k in range(depth):
        offset = depth - 1 - k if storage.reversed_numbers else k
        sop = make_uid(tags["SeriesInstanceUID"], number + offset)
        data = _instance(base, _SOP_CLASSES[modality], sop, number + offset)
        _add_geometry(data, lps, k, projection=modality in _PROJECTIONS)
        data.RescaleSlope, data.RescaleIntercept = decimal(storage.slope), decimal(storage.intercept)
        path = _write(folder, first + offset, data, stored[k : k + 1], storage)
        instances.append(Instance(path, sop, number + offset))
    return instances


def _common(stored: np.ndarray, array: np.ndarray, tags: Mapping[str, Any], storage: Storage) -> Dataset:
    """Return the elements that all files of the series share."""
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName = data.PatientID = data.PatientBirthDate = data.PatientSex = ""  # type 2
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.ReferringPhysicianName = data.StudyID = ""
    data.SeriesNumber = data.Manufacturer = data.ImageType = None
    low, high = np.nanpercentile(array, (1, 99))
    data.WindowCenter, data.WindowWidth = decimal((low + high) / 2), decimal(max(high - low, 1.0))
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1" if storage.inverted else "MONOCHROME2"
    data.Rows, data.Columns = stored.shape[1:]
    data.BitsAllocated, data.BitsStored = 8 * stored.itemsize, storage.bits_stored
    data.HighBit, data.PixelRepresentation = storage.bits_stored - 1, int(storage.signed)
    if storage.padding is not None:
        data.add_new("PixelPaddingValue", "SS" if storage.signed else "US", storage.padding)
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    if storage.private:
        block = data.private_block(0x0029, storage.private, create=True)
        block.add_new(0x10, "OB", f"protocol of {data.PatientName} ".encode().ljust(256, b"\0"))
        block.add_new(0x20, "LO", str(data.PatientID))
    return data


def _instance(base: Dataset, sop_class: str, sop: str, number: int) -> Dataset:
    data = Dataset(base)
    data.SOPClassUID, data.SOPInstanceUID, data.InstanceNumber = sop_class, sop, number
    return data


def _add_geometry(data: Dataset, lps: np.ndarray, k: int, projection: bool) -> None:
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    if projection:  # the detector's plane has no place in the patient
        data.ImagerPixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]
        return
    directions = lps[:3, :3] / spacing
    position = lps[:3] @ [0, 0, k, 1]
    data.PixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]  # between rows first
    data.SliceThickness = data.SpacingBetweenSlices = decimal(spacing[2])
    data.ImageOrientationPatient = [decimal(value) for value in (*directions[:, 0], *directions[:, 1])]
    data.ImagePositionPatient = [decimal(value) for value in position]
    data.SliceLocation = decimal(float(position @ np.cross(directions[:, 0], directions[:, 1])))


def _write(folder: Path, file: int, data: Dataset, pixels: np.ndarray, storage: Storage) -> Path:
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    data["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    for keyword in storage.missing:
        if keyword in data:
            delattr(data, keyword)
    path = folder / f"IM{file:05d}"
    write_dataset(path, data, storage.transfer_syntax)
    return path
