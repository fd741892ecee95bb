"""Pixels of a DICOM file as grey values."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from monai_wsss.data.dicom.elements import BROKEN, integer, text
from monai_wsss.data.dicom.frame_codecs import decode_frame
from monai_wsss.data.dicom.grey_values import GreyValues
from monai_wsss.data.dicom.pixel_layout import PixelLayout
from monai_wsss.data.dicom.quiet import quiet_pydicom
from monai_wsss.data.dicom.transfer_syntax import is_native, syntax_name, syntax_problem
from monai_wsss.errors import InputError

try:
    from pydicom.encaps import generate_frames
except ImportError:  # pydicom 2
    from pydicom.encaps import generate_pixel_data_frame

    def generate_frames(buffer: bytes, *, number_of_frames: int) -> Iterator[bytes]:  # type: ignore[misc]
        """Yield the frames of encapsulated pixel data."""
        return generate_pixel_data_frame(buffer, number_of_frames)


_MAX_INFLATED = 1 << 31  # bytes that a deflated file may hold
_KEYWORDS = (
    "Modality",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
)  # nothing that identifies a patient is even read


def read_frames(path: str | Path, frames: Sequence[int] | None = None, voi: bool = False) -> np.ndarray:
    """Return frames of a DICOM file as float32 `(N, rows, columns)`; see `GreyValues` for what the values are.

    Args:
        path: classic, multi-frame or enhanced object.
        frames: which, counted from 0; None is all.
        voi: apply the VOI LUT or window of a projection X-ray.

    Raises:
        InputError: not found, no image, damaged, cut short, or stored in a way that is not supported.
    """
    file = PixelFile(path, voi)
    chosen = range(file.layout.frames) if frames is None else frames
    return np.stack([file.frame(index) for index in chosen])


class PixelFile:
    """A DICOM file whose frames are decoded one at a time.

    Args:
        path: the file.
        voi: apply the VOI LUT or window of a projection X-ray.

    Attributes:
        layout: what its header declares.

    Raises:
        InputError: as `read_frames`.
    """

    def __init__(self, path: str | Path, voi: bool = False) -> None:
        self.path = Path(path)
        with _one_line_errors(self.path):
            header = _read(self.path)
            self.layout = PixelLayout.read(header)
            uid = text(header.file_meta, "TransferSyntaxUID")
            self._syntax = syntax_name(uid) if uid else "Implicit VR"
            if problem := syntax_problem(self._syntax):
                raise InputError(problem)
            self._big_endian = self._syntax.endswith("Big Endian")
            self._native = is_native(self._syntax) or self._syntax == "Deflated"
            self._grey = GreyValues(header, self.layout, voi, self._big_endian)
            self._data = self._frames(header)

    def _frames(self, header: Dataset) -> Sequence[Any]:
        element, layout = header[self.layout.element], self.layout
        data = element.value
        if not isinstance(data, bytes) or element.is_undefined_length == self._native:
            raise InputError("its pixel data is damaged; copy it again")
        if not self._native:
            found = list(generate_frames(data, number_of_frames=layout.frames))
            if layout.is_float or len(found) < layout.frames:
                raise InputError(f"holds {len(found)} of {layout.frames} frames; copy it again")
            return found
        size = layout.frame_bytes
        needed = size * layout.frames
        if len(data) < needed:
            raise InputError(f"cut short, it holds {len(data)} of {needed} bytes of pixels; copy it again")
        if self._big_endian and layout.allocated == 8 and element.VR == "OW":  # bytes go in pairs, the second first
            data = np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()
        return [memoryview(data)[k * size : (k + 1) * size] for k in range(layout.frames)]

    def frame(self, index: int = 0) -> np.ndarray:
        """Return the grey values of a frame, float32 `(rows, columns)`.

        Raises:
            InputError: as `read_frames`.
        """
        with _one_line_errors(self.path):
            if not 0 <= index < self.layout.frames:
                raise InputError(f"has {self.layout.frames} frames, there is no frame {index} (counted from 0)")
            data, photometric = self._data[index], self.layout.photometric
            if self._native:
                stored = self.layout.native_frame(data, self._big_endian)
            else:
                stored, photometric = decode_frame(bytes(data), self._syntax, self.layout)
            with np.errstate(over="ignore", invalid="ignore"):
                grey = self._grey(stored, photometric, index)
            if not np.isfinite(grey).all():
                raise InputError("some of its values are not finite (NaN or infinite); repair or remove it")
            return grey


def _read(path: Path) -> Dataset:
    with path.open("rb") as file:
        bare = file.read(132)[128:] != b"DICM"  # a file without preamble, as old exports have
    if not bare:
        meta = pydicom.filereader.read_file_meta_info(path)
        if syntax_name(text(meta, "TransferSyntaxUID")) == "Deflated":
            _check_inflated_size(path, 144 + (integer(meta, "FileMetaInformationGroupLength") or 0))
    return pydicom.dcmread(path, force=bare, specific_tags=list(_KEYWORDS))


def _check_inflated_size(path: Path, start: int) -> None:
    """Deflated data may grow a thousandfold, and pydicom inflates it whole."""
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as file:
        file.seek(start)
        while not inflate.eof and (chunk := inflate.unconsumed_tail or file.read(1 << 16)):
            size += len(inflate.decompress(chunk, 1 << 20))
            if size > _MAX_INFLATED:
                raise InputError("inflates to more than 2 GB; export it again without deflation")


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    """Every error becomes one line that quotes nothing of the file."""
    try:
        with quiet_pydicom():
            yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found") from error
    except BROKEN as error:
        raise InputError(f"{path}: is damaged or no DICOM image; copy or export it again") from error
