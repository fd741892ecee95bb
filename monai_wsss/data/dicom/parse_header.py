"""Parse the header of one DICOM file."""

from __future__ import annotations

import os
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_wsss.data.dicom.clean_text import clean_description, identifying_words
from monai_wsss.data.dicom.elements import BROKEN, integer, text, values
from monai_wsss.data.dicom.file_header import FileHeader, FrameHeader
from monai_wsss.data.dicom.frame_headers import (
    CLASSIC_TAGS,
    MULTI_FRAME_TAGS,
    PRIVATE_TAGS,
    classic_frame,
    multi_frames,
)
from monai_wsss.data.dicom.object_kinds import is_cross_section, is_image_class, no_image_reason
from monai_wsss.data.dicom.transfer_syntax import is_native, syntax_name, syntax_problem
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.volume import SeriesTags

NO_DICOM = "no DICOM file"
UNREADABLE = "its DICOM header cannot be read; export it again"
NO_PIXELS = "a DICOM object without an image"
_PATIENT = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientID",
    "OtherPatientIDs",
    "AccessionNumber",
    "PatientBirthDate",
)
_STAFF = ("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName")
_KEYWORDS = (
    *_PATIENT,
    *_STAFF,
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyDate",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "BodyPartExamined",
    "ViewPosition",
    "Laterality",
    "ImageLaterality",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "PatientOrientation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "BurnedInAnnotation",
    *CLASSIC_TAGS,
    *MULTI_FRAME_TAGS,  # large, but parsed only where they are looked at
)
_TAGS: list[BaseTag | int] = [*(Tag(keyword) for keyword in _KEYWORDS), *PRIVATE_TAGS]
_START_BYTES = 1 << 17
_META_BYTES = 1024  # hold the file meta information
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()
_GREY = ("MONOCHROME1", "MONOCHROME2", "")


class FileStart(NamedTuple):
    """The first bytes of a file, which hold the header as a rule, and the size of the whole."""

    content: bytes
    size: int


def read_start(path: Path) -> FileStart | Skipped:
    """Read the first bytes of a file; nothing is parsed, so that threads may do it."""
    try:
        with path.open("rb") as file:
            return FileStart(file.read(_START_BYTES), os.fstat(file.fileno()).st_size)
    except OSError as error:
        return Skipped(str(path), f"cannot be opened ({error.strerror or type(error).__name__})")


def parse_header(path: Path, start: FileStart | Skipped | None = None) -> FileHeader | Skipped:
    """Return the header of a DICOM image, or why the file is none; call it within `quiet_pydicom`.

    Args:
        path: of the file.
        start: from `read_start`; None reads it.
    """
    start = start or read_start(path)
    if isinstance(start, Skipped):
        return start
    content, size = start
    bare = content[128:132] != b"DICM"
    if bare and not _may_be_bare(content):
        return Skipped(str(path), NO_DICOM)
    try:
        data, syntax, position = _read(path, content, size, bare)
        meta = getattr(data, "file_meta", Dataset())
        sop_class = text(data, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID")  # a DICOMDIR has no other
    except BROKEN:
        return Skipped(str(path), NO_DICOM if bare else UNREADABLE)
    return _header(path, data, syntax, sop_class, bare, size, size - position)


def _may_be_bare(content: bytes) -> bool:
    """Whether a file without preamble begins with an element of group 2 or 8, as old exports do."""
    return len(content) > 132 and content[:2] in (b"\x02\x00", b"\x08\x00") and content[3] == 0


def _read(path: Path, content: bytes, size: int, bare: bool) -> tuple[Dataset, str, int]:
    """Return the elements looked for, the transfer syntax, and where the pixels begin or the file ends."""
    if not bare and _DEFLATED in content[:_META_BYTES]:
        return _read_deflated(content), DeflatedExplicitVRLittleEndian, 0
    data, position, whole = None, 0, len(content) == size
    try:
        data, position, found = _read_elements(BytesIO(content), bare)
        whole = whole or found
    except BROKEN:
        if whole:
            raise
    if data is None or not whole:  # a long header: private elements, functional groups
        with path.open("rb") as file:
            data, position, _ = _read_elements(file, bare)
    syntax = text(data.file_meta, "TransferSyntaxUID")
    if bare and not syntax:
        syntax = ExplicitVRLittleEndian if content[4:6].isalpha() and content[4:6].isupper() else ImplicitVRLittleEndian
    return data, syntax, position


def _read_elements(file: BinaryIO, bare: bool) -> tuple[FileDataset, int, bool]:
    data = pydicom.dcmread(file, stop_before_pixels=True, force=bare, specific_tags=_TAGS)
    position = file.tell()
    file.seek(position)
    return data, position, file.read(2) in (b"\xe0\x7f", b"\x7f\xe0")  # group 7FE0, in either byte order


def _read_deflated(content: bytes) -> Dataset:
    """Inflate the header alone: pydicom would inflate all, and a few bytes may hold gigabytes."""
    start = 144 + int.from_bytes(content[140:144], "little")
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:], _START_BYTES)
    return read_dataset(
        BytesIO(inflated), is_implicit_VR=False, is_little_endian=True, stop_when=_is_pixels, specific_tags=_TAGS
    )


def _is_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag.group == 0x7FE0


def _header(
    path: Path, data: Dataset, syntax: str, sop_class: str, bare: bool, size: int, rest: int
) -> FileHeader | Skipped:
    rows, columns = integer(data, "Rows"), integer(data, "Columns")
    if bare and not (sop_class.startswith("1.2.840.") and rows and columns):
        return Skipped(str(path), NO_DICOM)
    reason = no_image_reason(sop_class, text(data, "Modality"))
    if reason or not rows or not columns:
        lost = is_image_class(sop_class) or not (sop_class and text(data, "SeriesInstanceUID"))
        return Skipped(str(path), reason or (UNREADABLE if lost else NO_PIXELS))
    tags = _series_tags(data, syntax_name(syntax))
    count = max(integer(data, "NumberOfFrames") or 1, 1)
    frames, problem = _frames(data, count)
    return FileHeader(
        path=path,
        bytes=size,
        tags=tags,
        sop_class=sop_class,
        instance=text(data, "SOPInstanceUID"),
        number=integer(data, "InstanceNumber"),
        columns=columns,
        rows=rows,
        directions=tuple(str(value).strip().upper() for value in values(data, "PatientOrientation")),
        view=" ".join(filter(None, (text(data, "ViewPosition"), _side(data)))),
        frames=frames,
        problem=_pixel_problem(data, tags, rows * columns * count, rest) or problem,
    )


def _frames(data: Dataset, count: int) -> tuple[tuple[FrameHeader, ...], str]:
    """Return the frames, and what is wrong with them."""
    classic = classic_frame(data)
    if count > 1 or classic.position is None:
        frames = multi_frames(data, count)
        if any(frame.position is not None for frame in frames):
            return frames, ""
    if count > 1:
        return (), f"{count} frames without positions: a film, or a volume without geometry"
    return (classic,), _mosaic_problem(classic)


def _mosaic_problem(frame: FrameHeader) -> str:
    """Siemens' functional images: all slices of a volume as tiles of one picture."""
    return "a mosaic of slices in one image; convert it to NIfTI" if "MOSAIC" in frame.image_type.split("\\") else ""


def _pixel_problem(data: Dataset, tags: SeriesTags, pixels: int, rest: int) -> str:
    problem = syntax_problem(tags.transfer_syntax)
    if problem:
        return problem
    if tags.photometric not in _GREY and is_cross_section(tags.modality):
        return "a colour map, whose colours are no measured values"
    samples, bits = integer(data, "SamplesPerPixel") or 1, integer(data, "BitsAllocated")
    if bits not in (8, 16, 32, 64):
        return f"{bits or 'an unknown number of'} bits a pixel; 8, 16 and 32 are read"
    if tags.transfer_syntax == "Deflated":  # read to its end to inflate it
        return ""
    rest -= 8 if tags.transfer_syntax == "Implicit VR" else 12  # tag, type and length of the pixel data
    if rest <= 0:
        return "holds no pixels; export it again"
    samples = 2 if tags.photometric == "YBR_FULL_422" else samples
    if is_native(tags.transfer_syntax) and rest < pixels * samples * bits // 8:
        return "cut short, it holds less than its image; copy it again"
    return ""


def _series_tags(data: Dataset, syntax: str) -> SeriesTags:
    words = identifying_words(*(tuple(text(data, name) for name in names) for names in (_PATIENT, _STAFF)))

    def clean(keyword: str) -> str:
        return clean_description(text(data, keyword), words)

    return SeriesTags(
        patient=text(data, "PatientID"),
        study=text(data, "StudyInstanceUID"),
        series=text(data, "SeriesInstanceUID"),
        accession=text(data, "AccessionNumber"),
        modality=text(data, "Modality").upper(),
        series_description=clean("SeriesDescription"),
        study_description=clean("StudyDescription"),
        protocol=clean("ProtocolName"),
        series_number=text(data, "SeriesNumber"),
        study_date=text(data, "StudyDate"),
        manufacturer=clean("Manufacturer"),
        model=clean("ManufacturerModelName"),
        body_part=clean("BodyPartExamined"),
        image_type=text(data, "ImageType"),
        photometric=text(data, "PhotometricInterpretation").upper(),
        bits_stored=integer(data, "BitsStored") or 0,
        transfer_syntax=syntax,
        burned_in=text(data, "BurnedInAnnotation").upper(),
    )


def _side(data: Dataset) -> str:
    return text(data, "ImageLaterality") or text(data, "Laterality")
