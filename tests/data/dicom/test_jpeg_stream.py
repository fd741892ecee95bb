"""Headers of JPEG codestreams: what must not reach a decoder that ends the process on it."""

from io import BytesIO

import numpy as np
import pytest
from dicom_cells import write_cells
from PIL import Image

from monai_wsss.data.dicom.jpeg_stream import clean_jpeg, read_jpeg_header
from monai_wsss.errors import InputError


@pytest.fixture
def lossless(tmp_path):
    """A lossless codestream of 24 rows, 20 columns."""
    cells = np.random.default_rng(0).integers(0, 4096, (24, 20)).astype("u2")
    content = write_cells(tmp_path / "x", cells, "JPEG lossless SV1", BitsStored=12).read_bytes()
    return content[content.index(b"\xff\xd8\xff") : content.rindex(b"\xff\xd9") + 2]


@pytest.fixture
def baseline():
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20)).astype("u1")).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_frame_header_by_hand(lossless, baseline):
    assert read_jpeg_header(lossless) == ("lossless", 16, 24, 20, 1)  # GDCM codes whole cells
    assert read_jpeg_header(baseline) == ("sequential", 8, 24, 20, 1)
    # Start, frame header (precision 10, 3 rows, 5 columns, one component), of progressive JPEG and of JPEG-LS
    frame = b"\x00\x0b\x0c\x00\x03\x00\x05\x01\x01\x11\x00"
    assert read_jpeg_header(b"\xff\xd8\xff\xc2" + frame) == ("progressive", 12, 3, 5, 1)
    assert read_jpeg_header(b"\xff\xd8\xff\xff\xff\xf7" + frame) == ("near-lossless", 12, 3, 5, 1)  # fill bytes


def test_what_decoding_does_not_need_goes(baseline):
    comment = b"\xff\xfe\x00\x0aDOE JANE"
    assert b"JFIF" in baseline
    clean = clean_jpeg(baseline[:2] + comment + baseline[2:] + b"tail")
    assert b"JFIF" not in clean and b"DOE" not in clean and clean.endswith(b"\xff\xd9")
    pictures = [np.asarray(Image.open(BytesIO(code))) for code in (baseline, clean)]
    assert np.array_equal(*pictures)
    assert clean_jpeg(clean) == clean


def test_spectral_fields_of_a_sequential_scan_are_mended(baseline):
    scan = baseline.index(b"\xff\xda")
    assert baseline[scan + 7 : scan + 10] == b"\x00\x3f\x00"
    broken = baseline[: scan + 7] + b"\x00\x00\x00" + baseline[scan + 10 :]
    assert clean_jpeg(broken) == clean_jpeg(baseline)


def at(code, marker, offset, value):
    start = code.index(bytes([0xFF, marker])) + offset
    return code[:start] + bytes([value]) + code[start + 1 :]


DAMAGE = {  # offsets count from the marker
    "no start": lambda code: code[1:],
    "precision": lambda code: at(code, 0xC3, 4, 17),
    "no rows": lambda code: at(at(code, 0xC3, 5, 0), 0xC3, 6, 0),
    "components": lambda code: at(code, 0xC3, 9, 2),
    "sampling": lambda code: at(code, 0xC3, 11, 0x01),
    "length of a segment": lambda code: at(code, 0xC4, 2, 0xFF),
    "table number": lambda code: at(code, 0xC4, 4, 0x07),
    "table class": lambda code: at(code, 0xC4, 4, 0x20),
    "more codes than fit": lambda code: at(code, 0xC4, 5, 3),
    "a category above 16": lambda code: at(code, 0xC4, 21, 17),
    "scan of another component": lambda code: at(code, 0xDA, 5, 9),
    "table that is not there": lambda code: at(code, 0xDA, 6, 0x10),
    "predictor": lambda code: at(code, 0xDA, 7, 8),
    "point transform": lambda code: at(code, 0xDA, 9, 16),
    "end missing": lambda code: code[:-2],
    "a second scan": lambda code: code[:-2] + code[code.index(b"\xff\xda") :],
    "cut in the header": lambda code: code[: code.index(b"\xff\xc4") + 3],
    "scan before frame": lambda code: code[:2] + code[code.index(b"\xff\xda") :],
    "nothing but the start": lambda code: code[:2],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused(lossless, name):
    assert clean_jpeg(lossless)
    with pytest.raises(InputError, match=r"JPEG data is (damaged|cut short)"):
        clean_jpeg(DAMAGE[name](lossless))


def test_progressive_is_refused(baseline):
    buffer = BytesIO()
    Image.fromarray(np.zeros((8, 8), "u1")).save(buffer, "JPEG", progressive=True)
    with pytest.raises(InputError):
        clean_jpeg(buffer.getvalue())
