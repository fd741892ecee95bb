"""Which DICOM objects are images, told by their SOP class."""

from __future__ import annotations

from pydicom.uid import UID

_STORAGE = "1.2.840.10008.5.1.4.1.1."
DICOMDIR = "DICOMDIR, an index"
_NO_IMAGE = {  # the longest match counts; a full stop at the end takes in all classes below
    "4.2": "a spectrum, no image",
    "9.": "a waveform, no image",
    "11.": "a presentation state, no image",
    "30": "a parametric map, no image",
    "66": "raw data, no image",
    "66.1": "a registration, no image",
    "66.2": "fiducials, no image",
    "66.3": "a registration, no image",
    "66.4": "a segmentation, no image",
    "66.5": "a segmentation, no image",
    "66.6": "a tractography, no image",
    "66.7": "a segmentation, no image",
    "67": "a value mapping, no image",
    "68.": "a surface scan, no image",
    "77.1.1.1": "a video, no volume",
    "77.1.2.1": "a video, no volume",
    "77.1.4.1": "a video, no volume",
    "77.1.6": "a microscopy slide, no volume",
    "88.": "a report, no image",
    "88.59": "a selection of key images, no image",
    "104.": "an encapsulated document, no image",
    "481.": "a radiotherapy object, no image",
    "481.1": "",  # RT Image
    "481.2": "a dose distribution, no image",
    "481.3": "contours of structures, no image",
}
_NO_IMAGE_MODALITIES = {
    "SR": "a report, no image",
    "PR": "a presentation state, no image",
    "KO": "a selection of key images, no image",
    "SEG": "a segmentation, no image",
    "REG": "a registration, no image",
    "DOC": "an encapsulated document, no image",
    "RTSTRUCT": "contours of structures, no image",
    "RTPLAN": "a radiotherapy object, no image",
    "RTDOSE": "a dose distribution, no image",
    "ECG": "a waveform, no image",
}
_SECONDARY_CAPTURE = _STORAGE + "7"
PROJECTIONS = frozenset({"CR", "DX", "MG", "PX", "IO", "RG", "RF", "XA", "RTIMAGE", "DXR", "NM"})
_CROSS_SECTIONS = frozenset({"CT", "MR", "PT"})


def no_image_reason(sop_class: str, modality: str) -> str:
    """Return what an object is if it is no image, else an empty text."""
    if sop_class == "1.2.840.10008.1.3.10":
        return DICOMDIR
    if sop_class.startswith(_STORAGE):
        end = sop_class.removeprefix(_STORAGE)
        matches = [key for key in _NO_IMAGE if end == key or (key.endswith(".") and end.startswith(key))]
        if matches:
            return _NO_IMAGE[max(matches, key=len)]
    return _NO_IMAGE_MODALITIES.get(modality.upper(), "")


def is_image_class(sop_class: str) -> bool:
    """Return whether objects of this class hold an image, as the standard names it."""
    return "Image Storage" in UID(sop_class).name


def is_secondary_capture(sop_class: str) -> bool:
    """Return whether the object is a secondary capture: a screenshot, or an image without its scanner's elements."""
    return sop_class == _SECONDARY_CAPTURE or sop_class.startswith(_SECONDARY_CAPTURE + ".")


def is_cross_section(modality: str) -> bool:
    """Return whether images of this modality are slices, of no use without a position."""
    return modality.upper() in _CROSS_SECTIONS


def is_projection(modality: str) -> bool:
    """Return whether images of this modality are projections."""
    return modality.upper() in PROJECTIONS
