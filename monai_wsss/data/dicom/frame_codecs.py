"""Decode one compressed frame; a decoder sees the codestream alone, never the file's header."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from monai_wsss.data.dicom.jpeg_stream import JpegHeader, clean_jpeg, read_jpeg_header
from monai_wsss.data.dicom.pixel_layout import PixelLayout
from monai_wsss.errors import InputError

_PACKAGES = {"gdcm": "python-gdcm", "openjpeg": "pylibjpeg-openjpeg", "jpeg_ls": "pyjpegls"}
_LOSSY = frozenset({"JPEG Baseline", "JPEG Extended", "JPEG-LS Near-lossless", "JPEG 2000", "HTJ2K"})
_CORRUPT = (b"premature end", b"bad Huffman")  # libjpeg goes on after these, with pixels it makes up
_END_OF_CODESTREAM = b"\xff\xd9"
_stderr_lock = threading.Lock()


class _Coded(NamedTuple):
    """Unsigned cells `(rows, columns[, samples])`, how many bits of them are used, and what the samples mean."""

    cells: np.ndarray
    precision: int
    photometric: str


def decode_frame(data: bytes, syntax: str, layout: PixelLayout) -> tuple[np.ndarray, str]:
    """Return the stored values `(rows, columns[, samples])` of a frame, and their photometric interpretation.

    A lossy codec may overshoot the range that can be stored: such values are cut off. What a lossless one holds beyond
    the stored bits is no value (an overlay, or the sign), as in an uncompressed frame.

    Args:
        data: codestream of the frame, all fragments joined.
        syntax: short name of the transfer syntax, see `transfer_syntax`.
        layout: what the header declares; a codestream of another size is refused before it is decoded.

    Raises:
        InputError: damaged, cut short, another size than declared, or a decoder is not installed.
    """
    coded = _decoder(syntax)(data, layout)
    bits = coded.precision
    if bits > layout.allocated:
        raise InputError(f"its pixels have {bits} bits where its header allows {layout.allocated}; repair the header")
    if syntax in _LOSSY:
        values = layout.values(coded.cells, bits, bits - 1)
        return np.clip(values, *layout.stored_range), coded.photometric
    stored = min(bits, layout.stored)
    high = layout.high if bits == layout.allocated else stored - 1  # else the codestream does not hold whole cells
    return layout.values(coded.cells, stored, high), coded.photometric


def _decoder(syntax: str) -> Any:
    if syntax == "RLE":
        return _rle
    return _jpeg_2000 if syntax.startswith(("JPEG 2000", "HTJ2K")) else _jpeg


def _rle(data: bytes, layout: PixelLayout) -> _Coded:
    """PackBits segments, one for each byte of a cell, the highest first (DICOM PS3.5 G)."""
    depth, pixels = layout.allocated // 8, layout.rows * layout.columns
    header = np.frombuffer(data[: min(len(data) // 4 * 4, 64)], "<u4")
    count = layout.samples * depth
    if header.size < 16 or header[0] != count:
        raise _damaged("RLE")
    ends = [*header[2 : 1 + count].tolist(), len(data)]
    segments = [_pack_bits(data[start:end], pixels) for start, end in zip(header[1:].tolist(), ends, strict=False)]
    planes = np.frombuffer(b"".join(segments), np.uint8).reshape(layout.samples, depth, layout.rows, layout.columns)
    cells = np.ascontiguousarray(planes.transpose(2, 3, 0, 1)).view(f">u{depth}")[..., 0].astype(f"u{depth}")
    return _Coded(cells[..., 0] if layout.samples == 1 else cells, layout.allocated, layout.photometric)


def _pack_bits(data: bytes, size: int) -> bytes:
    out, at = bytearray(), 0
    while len(out) < size and at < len(data):
        count = data[at]
        if count < 128:
            out += data[at + 1 : at + 2 + count]
            at += 2 + count
        elif count > 128:
            out += data[at + 1 : at + 2] * (257 - count)
            at += 2
        else:
            at += 1
    if len(out) < size:
        raise _cut_short("RLE")
    return bytes(out[:size])


def _jpeg_2000(data: bytes, layout: PixelLayout) -> _Coded:
    openjpeg = _import("openjpeg")
    with _as_damaged("JPEG 2000"):
        found = openjpeg.get_parameters(data)
    _check_size((found["rows"], found["columns"], found["samples_per_pixel"]), layout)
    if _END_OF_CODESTREAM not in data[-64:]:  # the decoder would fill up what is missing
        raise _cut_short("JPEG 2000")
    with _as_damaged("JPEG 2000"):
        cells = openjpeg.decode(data)
    photometric = "RGB" if layout.photometric in ("YBR_ICT", "YBR_RCT") else layout.photometric
    return _Coded(cells.view(f"u{cells.dtype.itemsize}"), found["precision"], photometric)


def _jpeg(data: bytes, layout: PixelLayout) -> _Coded:
    """Any JPEG or JPEG-LS; what the codestream says of itself counts, the transfer syntax is often wrong."""
    header = read_jpeg_header(data)
    _check_size((header.rows, header.columns, header.samples), layout)
    if header.process == "near-lossless":
        return _jpeg_ls(data, header, layout)
    if header.precision == 8 and header.process != "lossless":
        return _jpeg_8_bit(data, layout)
    return _jpeg_deep(data, header, layout)


def _jpeg_ls(data: bytes, header: JpegHeader, layout: PixelLayout) -> _Coded:
    jpeg_ls = _import("jpeg_ls")
    with _as_damaged("JPEG-LS"):
        cells = jpeg_ls.jlsread(data)
    return _Coded(cells, header.precision, layout.photometric)


def _jpeg_8_bit(data: bytes, layout: PixelLayout) -> _Coded:
    """Sequential or progressive JPEG of 8 bits; colours become RGB."""
    with _as_damaged("JPEG"), Image.open(BytesIO(data), formats=("JPEG",)) as image:
        if layout.photometric == "RGB" and "adobe_transform" not in image.info:
            image.draft("YCbCr", image.size)  # Pillow takes it for YCbCr: ask for the samples as they are
        cells = np.asarray(image)
    return _Coded(cells, 8, "RGB" if layout.samples == 3 else layout.photometric)


def _jpeg_deep(data: bytes, header: JpegHeader, layout: PixelLayout) -> _Coded:
    """Lossless JPEG, or sequential JPEG of 12 bits."""
    gdcm = _import("gdcm")
    data = clean_jpeg(data)
    depth = 8 if header.precision <= 8 else 12 if header.precision <= 12 else 16  # GDCM has a decoder for each
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(data)
    fragments.AddFragment(fragment)
    element, image = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010)), gdcm.Image()
    element.SetValue(fragments.__ref__())
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.columns, header.rows, 1))
    image.SetDataElement(element)
    # RGB asks for the samples as they are: nothing in the codestream may start a conversion of colours
    kind = gdcm.PhotometricInterpretation.MONOCHROME2 if header.samples == 1 else gdcm.PhotometricInterpretation.RGB
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    lossless = header.process == "lossless"
    syntax = gdcm.TransferSyntax.JPEGLosslessProcess14 if lossless else gdcm.TransferSyntax.JPEGExtendedProcess2_4
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    image.SetPixelFormat(gdcm.PixelFormat(header.samples, 8 if depth == 8 else 16, depth, depth - 1, 0))
    with _captured_stderr() as messages:
        decoded = image.GetBuffer()
        messages.seek(0)
        said = messages.read()
    if decoded is None or any(word in said for word in _CORRUPT):
        raise _damaged("JPEG")
    cells = np.frombuffer(decoded.encode("utf-8", "surrogateescape"), "u1" if depth == 8 else "<u2")
    shape = (header.rows, header.columns) if header.samples == 1 else (header.rows, header.columns, header.samples)
    return _Coded(cells.reshape(shape).astype(f"u{cells.dtype.itemsize}"), header.precision, layout.photometric)


@contextmanager
def _captured_stderr() -> Iterator[BinaryIO]:
    """Collect what a C library prints to the process's standard error, its only way to report damaged data."""
    with _stderr_lock, tempfile.TemporaryFile() as messages:
        try:
            saved = os.dup(2)
        except OSError:  # a service without standard error
            yield messages
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(messages.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextmanager
def _as_damaged(kind: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError, SyntaxError, ValueError, TypeError, KeyError, Image.DecompressionBombError) as error:
        raise _damaged(kind) from error


def _check_size(found: tuple[int, int, int], layout: PixelLayout) -> None:
    if found != (layout.rows, layout.columns, layout.samples):
        raise InputError("its compressed image and its header disagree on the size; repair the header")


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = _PACKAGES[module]
        raise InputError(f"its pixels need the decoder {package}; install it with: pip install {package}") from error


def _damaged(kind: str) -> InputError:
    return InputError(f"its {kind} data is damaged; copy the file again")


def _cut_short(kind: str) -> InputError:
    return InputError(f"its {kind} data is cut short; copy the file again")
