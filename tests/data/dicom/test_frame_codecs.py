"""Decoders of single frames."""

import importlib
from base64 import b64decode
from io import BytesIO

import jpeg_ls
import numpy as np
import openjpeg
import pytest
from dicom_cells import SYNTAXES, write_cells
from PIL import Image

from monai_wsss.data.dicom.pixels import read_frames
from monai_wsss.errors import InputError

# Lossless, made with the OpenJPH encoder (imagecodecs 2026.3.6): entry n of the 6 x 8 values is (85 n + 3) mod 4096.
HTJ2K = b64decode(
    "/0//UQApQAAAAAAIAAAABgAAAAAAAAAAAAAACAAAAAYAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFoAAf+TwAAmf/MFB3QAAADAABLAABMABgIHdACS9gOHdADAABNAABMAfHwB"
    "gnQAqakAQjQAwAAqYAAVgCgU6qBCMQJ2AE51qlOd+sBSgb62AP/Z"
)
# 12 bits, made with libjpeg-turbo (imagecodecs): pixel (i, j) of 16 x 16 is 100 i + 130 j, at quality 100 without loss.
JPEG_12_BIT = b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
    "AQEBAQH/wQALDAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAADgv/xAAcEAAABgMAAAAAAAAAAAAAAAAACwwoOEZXZHX/2gAIAQEAAD8AMk6a"
    "+I4YDtAxrRuZohBAJr4jhgO0DGtG5miIP6a+I4YDtAxrRuZohBAJr4jhgO0DGtG5miP/2Q=="
)
RAMP = 100 * np.arange(16)[:, None] + 130 * np.arange(16)


@pytest.mark.parametrize("syntax", ["HTJ2K", "HTJ2K RPCL", "HTJ2K lossy"])
def test_htj2k(tmp_path, syntax):
    expected = ((85 * np.arange(48) + 3) % 4096).reshape(6, 8)
    path = write_cells(tmp_path / "x", expected.astype("u2"), syntax, [HTJ2K], BitsStored=12)
    assert np.array_equal(read_frames(path)[0], expected)


def test_jpeg_of_12_bits(tmp_path, capfd):
    path = write_cells(tmp_path / "x", RAMP.astype("u2"), "JPEG extended", [JPEG_12_BIT], BitsStored=12)
    assert np.array_equal(read_frames(path)[0], RAMP)
    assert capfd.readouterr().err == ""  # the decoder's own words are kept back


def test_a_lossy_codec_may_overshoot(tmp_path):
    """10 bits stored, 12 in the codestream: 1100 must not wrap around to 76."""
    path = write_cells(tmp_path / "x", RAMP.astype("u2"), "JPEG extended", [JPEG_12_BIT], BitsStored=10)
    assert np.array_equal(read_frames(path)[0], np.minimum(RAMP, 1023))


def test_more_bits_than_the_header_allows(tmp_path):
    path = write_cells(tmp_path / "x", RAMP.astype("u1"), "JPEG extended", [JPEG_12_BIT])
    with pytest.raises(InputError, match="12 bits where its header allows 8"):
        read_frames(path)


@pytest.mark.parametrize(("syntax", "progressive"), [("JPEG baseline", False), ("JPEG extended", True)])
def test_jpeg_of_8_bits(tmp_path, syntax, progressive):
    grey = np.clip(RAMP // 10, 0, 255).astype("u1")
    code = jpeg(grey, progressive=progressive)
    path = write_cells(tmp_path / "x", grey, syntax, [code])
    with Image.open(BytesIO(code)) as image:
        assert np.array_equal(read_frames(path)[0], np.asarray(image))
    assert np.abs(read_frames(path)[0] - grey).max() < 4


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_colours_of_jpeg(tmp_path, photometric):
    """A red picture: Y = 0.299 * 200 = 59.8; as RGB only if its samples were not converted."""
    red = np.zeros((16, 16, 3), "u1")
    red[..., 0] = 200
    code = jpeg(red, keep_rgb=photometric == "RGB", subsampling=0)
    path = write_cells(tmp_path / "x", red, "JPEG baseline", [code], PhotometricInterpretation=photometric)
    np.testing.assert_allclose(read_frames(path), 59.8, atol=1.5)


def test_colours_of_jpeg_without_a_marker(tmp_path):
    """RGB samples in a codestream that does not say so: the header counts."""
    red = np.zeros((16, 16, 3), "u1")
    red[..., 0] = 200
    code = jpeg(red, keep_rgb=True, subsampling=0)
    assert b"Adobe" in code
    start = code.index(b"\xff\xee")
    bare = code[:start] + code[start + 2 + int.from_bytes(code[start + 2 : start + 4], "big") :]
    frame = bare.replace(b"\x03R\x11\x00G\x11\x00B\x11\x00", b"\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00")
    frame = frame.replace(b"\x03R\x00G\x00B\x00", b"\x03\x01\x00\x02\x00\x03\x00")
    assert frame != bare
    path = write_cells(tmp_path / "x", red, "JPEG baseline", [frame], PhotometricInterpretation="RGB")
    np.testing.assert_allclose(read_frames(path), 59.8, atol=1.5)


@pytest.mark.parametrize("syntax", ["RLE", "JPEG-LS", "JPEG 2000", "JPEG lossless SV1"])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colours_without_loss(tmp_path, syntax, photometric):
    cells = np.random.default_rng(0).integers(0, 256, (33, 36, 3)).astype("u1")
    path = write_cells(tmp_path / "x", cells, syntax, PhotometricInterpretation=photometric)
    expected = cells[..., 0] if photometric == "YBR_FULL" else cells @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(read_frames(path)[0], expected, atol=1e-4)


@pytest.mark.parametrize(("kind", "stored"), [("u1", 8), ("u2", 12), ("u2", 16)])
def test_near_lossless_jpeg_ls(tmp_path, kind, stored):
    """Coded to differ by 3 at most."""
    cells = np.random.default_rng(0).integers(0, 2**stored, (33, 36)).astype(kind)
    code = jpeg_ls.encode_buffer(cells.tobytes(), 33, 36, 1, stored, lossy_error=3)
    path = write_cells(tmp_path / "x", cells, "JPEG-LS near", [bytes(code)], BitsStored=stored)
    difference = np.abs(read_frames(path)[0] - cells)
    assert 0 < difference.max() <= 3


@pytest.mark.parametrize(("kind", "stored"), [("u1", 8), ("u2", 12), ("i2", 16)])
def test_lossy_jpeg_2000(tmp_path, kind, stored):
    """A ramp, coded at a fifth of its size."""
    low = -(2 ** (stored - 1)) if kind == "i2" else 0
    cells = np.linspace(low, low + 2**stored - 1, 64 * 64).reshape(64, 64).astype(kind)
    code = openjpeg.encode(cells, photometric_interpretation=2, compression_ratios=[5])
    path = write_cells(tmp_path / "x", cells, "JPEG 2000 lossy", [bytes(code)], BitsStored=stored)
    difference = np.abs(read_frames(path)[0] - cells.astype(float))
    assert 0 < difference.max() < 0.01 * 2**stored


def test_run_lengths_by_hand(tmp_path):
    """Cells 0x0102 0x0102 0x0102 0x0a02: high bytes 1 1 1 10, low bytes 2 2 2 2 (PS3.5 G.3.1, with a no-operation)."""
    header = np.array([2, 64, 70, *[0] * 13], "<u4").tobytes()
    high = bytes([256 - 2, 1, 0, 10, 128, 0])  # three times 1; one literal; nothing; padding
    low = bytes([256 - 3, 2])
    path = write_cells(tmp_path / "x", np.zeros((2, 2), "u2"), "RLE", [header + high + low])
    assert read_frames(path).tolist() == [[[0x0102, 0x0102], [0x0102, 0x0A02]]]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"", "RLE data is damaged"),
        (np.array([1, 64, *[0] * 14], "<u4").tobytes() + bytes([253, 2]), "RLE data is damaged"),  # one byte of two
        (np.array([2, 64, 66, *[0] * 13], "<u4").tobytes() + bytes([253, 2, 0]), "RLE data is cut short"),
        (np.array([2, 4000, 70, *[0] * 13], "<u4").tobytes() + bytes(20), "RLE data is cut short"),
    ],
)
def test_damaged_run_lengths(tmp_path, frame, message):
    path = write_cells(tmp_path / "x", np.zeros((2, 2), "u2"), "RLE", [frame or b"\0\0"])
    with pytest.raises(InputError, match=message):
        read_frames(path)


def test_jpeg_2000_without_its_end(tmp_path):
    """Decoders fill up what is missing: half an image must not pass for one."""
    cells = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype("u2")
    whole = write_cells(tmp_path / "x", cells, "JPEG 2000", BitsStored=12).read_bytes()
    code = whole[whole.index(b"\xff\x4f\xff\x51") : whole.rindex(b"\xff\xd9") + 2]
    assert np.array_equal(read_frames(write_cells(tmp_path / "y", cells, "JPEG 2000", [code], BitsStored=12))[0], cells)
    write_cells(tmp_path / "y", cells, "JPEG 2000", [code[: len(code) // 2]], BitsStored=12)
    with pytest.raises(InputError, match="JPEG 2000 data is cut short"):
        read_frames(tmp_path / "y")


def test_lossless_jpeg_whose_data_ends_early(tmp_path):
    """The end is marked, but pixels are missing: GDCM makes them up and only says so on standard error."""
    cells = np.random.default_rng(0).integers(0, 4096, (32, 32)).astype("u2")
    whole = write_cells(tmp_path / "x", cells, "JPEG lossless SV1", BitsStored=12).read_bytes()
    code = whole[whole.index(b"\xff\xd8\xff") : whole.rindex(b"\xff\xd9")]
    write_cells(tmp_path / "y", cells, "JPEG lossless SV1", [code[: len(code) // 2] + b"\xff\xd9"], BitsStored=12)
    with pytest.raises(InputError, match="JPEG data is damaged"):
        read_frames(tmp_path / "y")


@pytest.mark.parametrize(
    ("syntax", "module", "package"),
    [
        ("JPEG 2000", "openjpeg", "pylibjpeg-openjpeg"),
        ("JPEG-LS", "jpeg_ls", "pyjpegls"),
        ("JPEG lossless", "gdcm", "python-gdcm"),
    ],
)
def test_a_missing_decoder_is_named(tmp_path, monkeypatch, syntax, module, package):
    path = write_cells(tmp_path / "x", np.zeros((33, 36), "u2"), syntax)
    imported = importlib.import_module

    def without(name, *args):
        if name == module:
            raise ImportError(name)
        return imported(name, *args)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(InputError, match=f"needs? the decoder {package}; install it with: pip install {package}"):
        read_frames(path)


def test_every_syntax_has_a_decoder():
    from monai_wsss.data.dicom.transfer_syntax import syntax_name, syntax_problem

    assert [name for name, uid in SYNTAXES.items() if syntax_problem(syntax_name(uid))] == []


def jpeg(array, **options):
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()
