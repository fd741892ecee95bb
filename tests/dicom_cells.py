"""Write small DICOM files in any transfer syntax, with pydicom 2.4 and 3."""

import struct

import gdcm
import jpeg_ls
import numpy as np
import openjpeg
import pydicom
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big endian": "1.2.840.10008.1.2.2",
    "JPEG baseline": "1.2.840.10008.1.2.4.50",
    "JPEG extended": "1.2.840.10008.1.2.4.51",
    "JPEG lossless": "1.2.840.10008.1.2.4.57",
    "JPEG lossless SV1": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG-LS near": "1.2.840.10008.1.2.4.81",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG 2000 lossy": "1.2.840.10008.1.2.4.91",
    "HTJ2K": "1.2.840.10008.1.2.4.201",
    "HTJ2K RPCL": "1.2.840.10008.1.2.4.202",
    "HTJ2K lossy": "1.2.840.10008.1.2.4.203",
    "RLE": "1.2.840.10008.1.2.5",
}
_GDCM = ("JPEG lossless", "JPEG lossless SV1")


def write_cells(path, cells, syntax="explicit", frames=None, **elements):
    """Write cells `(frames, rows, columns[, 3])` or `(rows, columns[, 3])`, as they are to stand in the file.

    `elements` are DICOM keywords; what the Image Pixel module needs is filled in from the cells. `frames` are
    codestreams to be stored in place of the encoded cells.
    """
    cells = np.asarray(cells)
    colour = cells.shape[-1] == 3 and elements.get("PhotometricInterpretation", "M")[0] in "RY"
    stack = cells if cells.ndim == 3 + colour else cells[None]
    transcoded = syntax in _GDCM and frames is None
    uid = SYNTAXES["explicit" if transcoded else syntax]
    implicit, little = syntax == "implicit", syntax != "big endian"
    data = FileDataset(str(path), {}, b"\0" * 128, FileMetaDataset(), implicit, little)
    data.file_meta.TransferSyntaxUID = uid
    data.SOPClassUID = elements.pop("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2")
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.SOPInstanceUID = elements.pop("SOPInstanceUID", None) or f"1.2.3.{abs(hash(str(path))) % 10**9}"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    bits = cells.dtype.itemsize * 8
    stored = elements.get("BitsStored") or bits
    defaults = {
        "PatientName": "DOE^JANE",
        "PatientID": "SECRET4711",
        "Modality": "CT",
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stack.shape[1],
        "Columns": stack.shape[2],
        "BitsAllocated": bits,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": int(cells.dtype.kind == "i"),
    }
    if len(stack) > 1:
        defaults["NumberOfFrames"] = len(stack)
    if colour:
        defaults["PlanarConfiguration"] = 0
    for keyword, value in (defaults | elements).items():
        if value is not None:
            setattr(data, keyword, value)
    _set_pixels(data, stack, syntax, frames)
    UID_dictionary.setdefault(uid, ("HTJ2K", "Transfer Syntax", "", "", ""))  # pydicom 2 does not know it
    if int(pydicom.__version__.split(".")[0]) < 3:
        data.save_as(path, write_like_original=False)
    else:
        data.save_as(path, enforce_file_format=True)
    if transcoded:
        _transcode(path, syntax)
    return path


def _set_pixels(data, stack, syntax, frames):
    if frames is None and syntax in ("JPEG-LS", "JPEG 2000", "RLE"):
        frames = [_ENCODERS[syntax](frame, data) for frame in stack]
    if frames is not None:
        data.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2) for frame in frames])
        data["PixelData"].is_undefined_length = True
        data["PixelData"].VR = "OB"
        return
    swapped = stack.astype(stack.dtype.newbyteorder(">")) if syntax == "big endian" else stack
    raw = swapped.tobytes()
    keyword = {"f4": "FloatPixelData", "f8": "DoubleFloatPixelData"}.get(stack.dtype.str[1:], "PixelData")
    setattr(data, keyword, raw + b"\0" * (len(raw) % 2))
    if keyword == "PixelData":
        data["PixelData"].VR = "OB" if stack.dtype.itemsize == 1 and syntax != "implicit" else "OW"


def _jpeg_ls(frame, data):
    samples = 1 if frame.ndim == 2 else 3
    unsigned = frame.view(f"u{frame.dtype.itemsize}")
    mode = 0 if samples == 1 else 2
    bits = data.BitsAllocated if data.PixelRepresentation else data.BitsStored
    return bytes(jpeg_ls.encode_buffer(unsigned.tobytes(), *frame.shape[:2], samples, bits, interleave_mode=mode))


def _jpeg_2000(frame, data):
    return bytes(openjpeg.encode(frame, photometric_interpretation=1 if frame.ndim == 3 else 2, use_mct=False))


def _rle(frame, data):
    """PackBits with runs of equal bytes and literals, rows not split (PS3.5 G.3.1)."""
    depth = frame.dtype.itemsize
    planes = np.moveaxis(frame.reshape(*frame.shape[:2], -1), -1, 0)
    segments = []
    for plane in planes:
        raw = np.frombuffer(plane.astype(plane.dtype.newbyteorder(">")).tobytes(), np.uint8).reshape(-1, depth)
        for byte in raw.T:
            packed = b"".join(_pack_bits(row.tobytes()) for row in byte.reshape(frame.shape[:2]))
            segments.append(packed + b"\0" * (len(packed) % 2))
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(offsets))) + b"".join(segments)


def _pack_bits(row):
    out, at = bytearray(), 0
    while at < len(row):
        run = next((k for k in range(at, min(len(row), at + 128)) if row[k] != row[at]), min(len(row), at + 128)) - at
        if run > 1:
            out += bytes([257 - run, row[at]])
        else:
            out += bytes([0, row[at]])
        at += run
    return bytes(out)


_ENCODERS = {"JPEG-LS": _jpeg_ls, "JPEG 2000": _jpeg_2000, "RLE": _rle}


def _transcode(path, syntax):
    """GDCM encodes JPEG; it reads and writes whole files, which is fine for files of our own."""
    names = gdcm.TransferSyntax
    kinds = {
        "JPEG lossless": names.JPEGLosslessProcess14,
        "JPEG lossless SV1": names.JPEGLosslessProcess14_1,
    }
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(kinds[syntax]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()


def item(**elements):
    """A sequence item."""
    found = Dataset()
    for keyword, value in elements.items():
        setattr(found, keyword, value)
    return found


def sequence(**elements):
    """A sequence of one item."""
    return Sequence([item(**elements)])
