"""How the pixels of a DICOM object are stored: checked numbers, before anything is allocated by them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from monai_wsss.data.dicom.elements import integer, text
from monai_wsss.errors import InputError

MAX_PIXELS = 1 << 27  # of a frame; the largest mammograms have 2**25
_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True)
class PixelLayout:
    """Image Pixel module (DICOM PS3.3 C.7.6.3).

    Attributes:
        element: keyword of the element that holds the pixels.
        rows, columns, samples, frames: of the object; samples is 1 or 3.
        allocated: bits of a cell; 8, 16 or 32, and 64 for double precision.
        stored, high: bits of the value within a cell, and the highest of them; bits beyond may hold overlays.
        signed: two's complement.
        planar: one colour plane after the other.
        photometric: photometric interpretation.
    """

    element: str
    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    high: int
    signed: bool
    planar: bool
    photometric: str

    @classmethod
    def read(cls, header: Dataset) -> PixelLayout:
        """Return the layout that `header` declares.

        Raises:
            InputError: no image, or sizes that are impossible or not supported.
        """
        element = next((keyword for keyword in _ELEMENTS if keyword in header), None)
        rows, columns = integer(header, "Rows"), integer(header, "Columns")
        if element is None or rows is None or columns is None:
            raise InputError("holds no image or is cut short; leave it out or copy it again")
        samples, frames = _or(integer(header, "SamplesPerPixel"), 1), _or(integer(header, "NumberOfFrames"), 1)
        if not (0 < rows < 65536 and 0 < columns < 65536 and rows * columns <= MAX_PIXELS):
            raise InputError(f"declares an image of {columns} x {rows} pixels, which cannot be; repair the header")
        if samples not in (1, 3) or frames < 1:
            raise InputError(f"has {samples} samples a pixel and {frames} frames, which is not supported; convert it")
        allocated = {"PixelData": integer(header, "BitsAllocated") or 0, "FloatPixelData": 32}.get(element, 64)
        stored = _or(integer(header, "BitsStored"), allocated)
        high = _or(integer(header, "HighBit"), stored - 1)
        if element != "PixelData":
            stored, high = allocated, allocated - 1
        elif allocated not in (8, 16, 32) or not 0 < stored <= allocated or not stored - 1 <= high < allocated:
            raise InputError(f"stores {stored} of {allocated} bits a pixel, which is not supported; convert it")
        photometric = text(header, "PhotometricInterpretation").upper() or "MONOCHROME2"
        if (samples == 3) != photometric.startswith(("RGB", "YBR")):
            raise InputError("its samples a pixel and its photometric interpretation disagree; repair the header")
        return cls(
            element,
            rows,
            columns,
            samples,
            frames,
            allocated,
            stored,
            high,
            signed=integer(header, "PixelRepresentation") == 1,
            planar=integer(header, "PlanarConfiguration") == 1,
            photometric=photometric,
        )

    @property
    def is_float(self) -> bool:
        """Whether the pixels are floating point numbers."""
        return self.element != "PixelData"

    @property
    def frame_bytes(self) -> int:
        """Size of an uncompressed frame."""
        cells = self.rows * self.columns * (2 if self.photometric == "YBR_FULL_422" else self.samples)
        return cells * self.allocated // 8

    @property
    def stored_range(self) -> tuple[int, int]:
        """Lowest and highest value that can be stored."""
        half = 1 << (self.stored - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def native_frame(self, data: memoryview, big_endian: bool) -> np.ndarray:
        """Return the values of an uncompressed frame `(rows, columns[, samples])`; of YBR_FULL_422 the luminance alone.

        Args:
            data: `frame_bytes` bytes.
            big_endian: byte order.
        """
        kind, order = ("f" if self.is_float else "u"), (">" if big_endian else "<")
        cells = np.frombuffer(data, f"{order}{kind}{self.allocated // 8}")
        if self.photometric == "YBR_FULL_422":  # Y Y Cb Cr for two pixels; only the luminance is of use
            cells = cells.reshape(-1, 4)[:, :2].reshape(self.rows, self.columns)
        elif self.samples == 3 and self.planar:
            cells = cells.reshape(3, self.rows, self.columns).transpose(1, 2, 0)
        elif self.samples == 3:
            cells = cells.reshape(self.rows, self.columns, 3)
        else:
            cells = cells.reshape(self.rows, self.columns)
        cells = cells.astype(f"{kind}{self.allocated // 8}", copy=False)
        return cells if self.is_float else self.values(cells, self.stored, self.high)

    def values(self, cells: np.ndarray, stored: int, high: int) -> np.ndarray:
        """Cut bits high - stored + 1 ... high out of unsigned cells, and read them as two's complement if signed."""
        bits = cells.dtype.itemsize * 8
        if high < bits - 1:
            cells = np.left_shift(cells, bits - 1 - high, dtype=cells.dtype)
        if self.signed:
            cells = cells.view(f"i{bits // 8}")
        return cells if stored == bits else np.right_shift(cells, bits - stored, dtype=cells.dtype)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
