"""Check the header of a JPEG codestream, and write it anew for a decoder that ends the process on a damaged one."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from monai_wsss.errors import InputError

_PROCESSES = {0xC0: "sequential", 0xC1: "sequential", 0xC2: "progressive", 0xC3: "lossless", 0xF7: "near-lossless"}
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_DQT, _DHT, _DRI, _SOS = 0xDB, 0xC4, 0xDD, 0xDA
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)  # neither a stuffed byte nor a restart


class JpegHeader(NamedTuple):
    """Frame header: process (sequential, progressive, lossless, or near-lossless for JPEG-LS), bits a sample, sizes."""

    process: str
    precision: int
    rows: int
    columns: int
    samples: int


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Read the frame header of a JPEG or JPEG-LS codestream (ITU-T T.81 B.2.2, T.87 C.2.2).

    Raises:
        InputError: damaged, or a process that is not supported.
    """
    for marker, segment, _ in _segments(data):
        if marker in _PROCESSES:
            return _frame_header(marker, segment)
    raise _damaged("no frame header")


def clean_jpeg(data: bytes) -> bytes:
    """Return a sequential or lossless codestream of one scan with nothing but the segments that decoding needs.

    Every field of them is checked (ITU-T T.81 B.2), since GDCM ends the whole process on some damaged ones.

    Raises:
        InputError: damaged or cut short.
    """
    parts, frame, components, tables = [_SOI], None, b"", set()
    for marker, segment, end in _segments(data):
        if marker == _DQT:
            tables |= _check_quantization(segment)
        elif marker == _DHT:
            tables |= _check_huffman(segment)
        elif marker == _DRI and len(segment) != 2:
            raise _damaged("restart interval")
        elif marker in _PROCESSES:
            if frame is not None:
                raise _damaged("two frames")
            frame, components = _frame_header(marker, segment), segment[6:]
        elif marker == _SOS and frame is not None:
            scan = _scan_header(segment, frame, components, tables)
            return b"".join([*parts, _pack(_SOS, scan), _entropy_coded(data, end), _EOI])
        if marker in (_DQT, _DHT, _DRI) or marker in _PROCESSES:
            parts.append(_pack(marker, segment))
    raise _damaged("no scan")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of each segment up to the first scan."""
    if data[:2] != _SOI:
        raise _damaged("no start of image")
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if len(data) < at + 4:
            raise _damaged("cut short")
        prefix, marker, length = struct.unpack_from(">BBH", data, at)
        segment = data[at + 4 : at + 2 + length]
        at += 2 + length
        if prefix != 0xFF or not 0xC0 <= marker <= 0xFE or length < 2 or len(segment) != length - 2:
            raise _damaged("no segment")
        yield marker, segment, at
        if marker == _SOS:
            return


def _frame_header(marker: int, segment: bytes) -> JpegHeader:
    if len(segment) < 9 or len(segment) != 6 + 3 * segment[5]:
        raise _damaged("frame header")
    precision, rows, columns, samples = struct.unpack_from(">BHHB", segment)
    allowed = range(2, 17) if _PROCESSES[marker] in ("lossless", "near-lossless") else (8, 12)
    factors = [segment[i] for i in range(7, len(segment), 3)]
    if precision not in allowed or not rows or not columns or any(f >> 4 not in range(1, 5) for f in factors):
        raise _damaged("frame header")
    if any(f & 15 not in range(1, 5) for f in factors) or any(q > 3 for q in segment[8::3]):
        raise _damaged("frame header")
    return JpegHeader(_PROCESSES[marker], precision, rows, columns, samples)


def _check_quantization(segment: bytes) -> set[tuple[str, int]]:
    found, at = set(), 0
    while at < len(segment):
        size, number = 64 << min(segment[at] >> 4, 2), segment[at] & 15
        if size > 128 or number > 3 or at + 1 + size > len(segment):
            raise _damaged("quantization table")
        found.add(("Q", number))
        at += 1 + size
    return found


def _check_huffman(segment: bytes) -> set[tuple[str, int]]:
    found, at = set(), 0
    while at < len(segment):
        counts = segment[at + 1 : at + 17]
        kind, number, values = segment[at] >> 4, segment[at] & 15, segment[at + 17 : at + 17 + sum(counts)]
        room = sum(count << (16 - bits) for bits, count in enumerate(counts, start=1))  # Kraft: codes fit a tree
        if len(counts) < 16 or kind > 1 or number > 3 or len(values) != sum(counts) or len(values) > 256:
            raise _damaged("Huffman table")
        if room > 1 << 16 or (kind == 0 and any(value > 16 for value in values)):
            raise _damaged("Huffman table")
        found.add(("DA"[kind], number))
        at += 17 + len(values)
    return found


def _scan_header(segment: bytes, frame: JpegHeader, components: bytes, tables: set[tuple[str, int]]) -> bytes:
    """Check and return a scan header; a sequential scan has fixed spectral fields, which some writers leave out."""
    lossless = frame.process == "lossless"
    if len(segment) != 4 + 2 * frame.samples or segment[0] != frame.samples or frame.process == "progressive":
        raise _damaged("scan header")
    selectors, spectral = segment[1:-3], segment[-3:]
    if selectors[::2] != components[::3] or len(set(selectors[::2])) != frame.samples:
        raise _damaged("scan components")
    needed = {("D", selector >> 4) for selector in selectors[1::2]}
    if not lossless:
        needed |= {("A", s & 15) for s in selectors[1::2]} | {("Q", number) for number in components[2::3]}
    if not needed <= tables or (lossless and (spectral[0] not in range(1, 8) or spectral[2] >= frame.precision)):
        raise _damaged("scan header")
    return segment[:-3] + (bytes([spectral[0], 0, spectral[2]]) if lossless else b"\x00\x3f\x00")


def _entropy_coded(data: bytes, start: int) -> bytes:
    end = _MARKER.search(data, start)
    if end is None:
        raise InputError("its JPEG data is cut short; copy it again")
    if not end.group().endswith(_EOI[1:]):
        raise InputError("its JPEG data is damaged or has several scans, which is not supported; convert it")
    return data[start : end.start()]


def _pack(marker: int, segment: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(segment) + 2) + segment


def _damaged(what: str) -> InputError:
    return InputError(f"its JPEG data is damaged ({what}); copy it again")
