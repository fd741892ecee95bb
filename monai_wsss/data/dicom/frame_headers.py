"""Geometry and contrast of each frame of an object, classic or multi-frame."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from monai_wsss.data.dicom.elements import BROKEN, integer, item, number, numbers, text, values
from monai_wsss.data.dicom.file_header import FrameHeader

CLASSIC_TAGS = (
    "ImageType",
    "AcquisitionTime",
    "SliceThickness",
    "SpacingBetweenSlices",
    "EchoTime",
    "EchoNumbers",
    "TriggerTime",
    "DiffusionBValue",
    "AcquisitionNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "TemporalPositionIdentifier",
    "PixelSpacing",
    "ImagerPixelSpacing",
)
# Vendor, creator of the private block, b-value in it: https://wiki.na-mic.org/Wiki/index.php/NAMIC_Wiki:DTI:DICOM_for_DWI_and_DTI
_PRIVATE_B_VALUES = (
    ("SIEMENS MR HEADER", Tag(0x0019, 0x0010), Tag(0x0019, 0x100C)),
    ("GEMS_PARM_01", Tag(0x0043, 0x0010), Tag(0x0043, 0x1039)),
    ("PHILIPS IMAGING DD 001", Tag(0x2001, 0x0010), Tag(0x2001, 0x1003)),
)
PRIVATE_TAGS = tuple(tag for _, creator, b_value in _PRIVATE_B_VALUES for tag in (creator, b_value))
MULTI_FRAME_TAGS = (
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DetectorInformationSequence",
)
_GE_FLAG = 10**9  # added to the b-value by newer GE software


def classic_frame(data: Dataset) -> FrameHeader:
    """Return the one frame of a classic object."""
    spacing = numbers(data, "PixelSpacing", 2)
    if spacing is None or min(spacing) <= 0:
        spacing = numbers(data, "ImagerPixelSpacing", 2)
    gap = number(data, "SpacingBetweenSlices")
    b_value = number(data, "DiffusionBValue")
    return FrameHeader(
        position=numbers(data, "ImagePositionPatient", 3),
        orientation=numbers(data, "ImageOrientationPatient", 6),
        spacing=spacing,
        thickness=abs(gap) if gap else number(data, "SliceThickness"),  # the sign says which way slices were scanned
        echo_time=number(data, "EchoTime"),
        echo_number=integer(data, "EchoNumbers"),
        b_value=_private_b_value(data) if b_value is None else b_value,
        temporal=number(data, "TemporalPositionIdentifier"),
        acquisition=integer(data, "AcquisitionNumber"),
        trigger=number(data, "TriggerTime"),
        time=text(data, "AcquisitionTime"),
        image_type=text(data, "ImageType"),
    )


def multi_frames(data: Dataset, count: int) -> tuple[FrameHeader, ...]:
    """Return the frames of a multi-frame object, empty if no geometry is told for each of them."""
    per_frame = [group for group in values(data, "PerFrameFunctionalGroupsSequence") if isinstance(group, Dataset)]
    if len(per_frame) == count:
        shared = item(data, "SharedFunctionalGroupsSequence")
        return tuple(_functional_frame(group, shared, data) for group in per_frame)
    return _tomogram_frames(data, count)


def _functional_frame(frame: Dataset, shared: Dataset | None, data: Dataset) -> FrameHeader:
    def group(name: str) -> Dataset:
        found = item(frame, name)
        return found or item(shared, name) or Dataset()

    measures, content = group("PixelMeasuresSequence"), group("FrameContentSequence")
    kind = group("MRImageFrameTypeSequence") or group("CTImageFrameTypeSequence") or group("PETFrameTypeSequence")
    component = text(kind, "ComplexImageComponent")
    image_type = text(kind, "FrameType") or text(data, "ImageType")
    gap = number(measures, "SpacingBetweenSlices")
    temporal = number(content, "TemporalPositionIndex")
    if temporal is None:
        temporal = number(group("TemporalPositionSequence"), "TemporalPositionTimeOffset")
    return FrameHeader(
        position=numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        spacing=numbers(measures, "PixelSpacing", 2),
        thickness=abs(gap) if gap else number(measures, "SliceThickness"),
        echo_time=number(group("MREchoSequence"), "EffectiveEchoTime"),
        b_value=number(group("MRDiffusionSequence"), "DiffusionBValue"),
        temporal=temporal,
        acquisition=integer(content, "FrameAcquisitionNumber"),
        trigger=number(group("CardiacSynchronizationSequence"), "NominalCardiacTriggerDelayTime"),
        time=text(content, "FrameAcquisitionDateTime"),
        stack=text(content, "StackID"),
        image_type="\\".join(filter(None, (image_type, component))),
    )


def _tomogram_frames(data: Dataset, count: int) -> tuple[FrameHeader, ...]:
    """Reconstructed nuclear medicine: the first slice's position, and a signed step along the normal (C.8.4.15)."""
    detector = item(data, "DetectorInformationSequence")
    step = number(data, "SpacingBetweenSlices")
    if detector is None or not step or "RECON TOMO" not in text(data, "ImageType"):
        return ()
    first = classic_frame(data)
    position = numbers(detector, "ImagePositionPatient", 3)
    orientation = numbers(detector, "ImageOrientationPatient", 6)
    if position is None or orientation is None:
        return ()
    normal = np.cross(orientation[:3], orientation[3:])
    return tuple(
        FrameHeader(
            position=tuple(float(value) for value in np.add(position, k * step * normal)),
            orientation=orientation,
            spacing=first.spacing,
            thickness=abs(step),
            image_type=first.image_type,
        )
        for k in range(count)
    )


def _private_b_value(data: Dataset) -> float | None:
    """Return the b-value where vendors kept it before the standard had an element for it."""
    for creator, block, tag in _PRIVATE_B_VALUES:
        if tag in data and _private_text(data, block).upper().startswith(creator):
            value = _private_number(data, tag)
            return None if value is None or value < 0 else value % _GE_FLAG
    return None


def _private_text(data: Dataset, tag: BaseTag) -> str:
    try:
        value = data[tag].value
    except BROKEN:
        return ""
    return value.decode("ascii", "replace").strip("\0 ") if isinstance(value, bytes) else str(value)


def _private_number(data: Dataset, tag: BaseTag) -> float | None:
    """Return the first number of a private element, whose type may be unknown."""
    try:
        value: Any = data[tag].value
        if isinstance(value, bytes) and len(value) == 4 and not value.strip(b" 0123456789.\\\0-+eE") == b"":
            value = struct.unpack("<f", value)[0]
        elif isinstance(value, bytes):
            value = value.decode("ascii").split("\\")[0].strip("\0 ")
        elif not isinstance(value, (str, float, int)):
            value = value[0]
        found = float(value)
    except BROKEN:
        return None
    return found if math.isfinite(found) else None
