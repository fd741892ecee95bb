"""Frames of DICOM files as grey values, in every transfer syntax that can be written here."""

from pathlib import Path

import numpy as np
import pytest
from dicom_cells import item, sequence, write_cells

from monai_wsss.data.dicom.pixels import PixelFile, read_frames
from monai_wsss.errors import InputError

SAMPLES = Path(__file__).parents[3] / "../shared/data/dicom_samples"
NATIVE = ("implicit", "explicit", "deflated", "big endian")
LOSSLESS = (*NATIVE, "RLE", "JPEG-LS", "JPEG 2000", "JPEG lossless", "JPEG lossless SV1")
DEPTHS = (("u1", 8), ("i1", 8), ("u2", 10), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16))


def cells_of(kind, bits, frames=2):
    """Noise over the whole range that `bits` hold, with flat stretches of its ends; no two sides are alike."""
    low, high = (0, 2**bits - 1) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    cells = np.random.default_rng(bits).integers(low, high, (frames, 33, 36), endpoint=True)
    cells[:, :4], cells[:, 5, :20] = low, high
    return cells.astype(kind)


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(("kind", "bits"), DEPTHS)
def test_values_are_exact(tmp_path, syntax, kind, bits):
    cells = cells_of(kind, bits)
    found = read_frames(write_cells(tmp_path / "x", cells, syntax, BitsStored=bits))
    assert found.dtype == np.float32
    assert np.array_equal(found, cells)


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(("kind", "bits"), [("u1", 8), ("u2", 12), ("i2", 16)])
def test_simpleitk_agrees(tmp_path, syntax, kind, bits):
    sitk = pytest.importorskip("SimpleITK")
    path = write_cells(
        tmp_path / "x.dcm", cells_of(kind, bits), syntax, BitsStored=bits, RescaleSlope="0.5", RescaleIntercept="-7.25"
    )
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(read_frames(path), expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.dcm")) or ["none"])
def test_simpleitk_agrees_on_real_files(name):
    if not SAMPLES.is_dir():
        pytest.skip("shared/data/dicom_samples is not there")
    sitk = pytest.importorskip("SimpleITK")
    refused = {"emri_small_jpeg_2k_lossless_too_short.dcm": "cut short"} | dict.fromkeys(
        ["liver.dcm", "highdicom_seg_image_ct_binary.dcm", "highdicom_seg_image_ct_binary_overlap.dcm"], "1 of 1 bits"
    )
    if name in refused:
        with pytest.raises(InputError, match=refused[name]):
            read_frames(SAMPLES / name)
        return
    found = read_frames(SAMPLES / name)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(SAMPLES / name))).astype(float)
    if name == "mlut_18.dcm":  # SimpleITK leaves out the Modality LUT Sequence
        assert not np.allclose(found, expected)
        pydicom = pytest.importorskip("pydicom")
        data = pydicom.dcmread(SAMPLES / name)
        table = np.array(data.ModalityLUTSequence[0].LUTData)
        entries, first, _ = data.ModalityLUTSequence[0].LUTDescriptor
        expected = table[np.clip(expected - first, 0, entries - 1).astype(int)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


def test_frames_by_number(tmp_path):
    cells = cells_of("u2", 16, frames=4)
    path = write_cells(tmp_path / "x", cells, "JPEG 2000")
    assert np.array_equal(read_frames(path, [2]), cells[2:3])
    assert np.array_equal(read_frames(path, [3, 0]), cells[[3, 0]])
    for frame in (4, -1):
        with pytest.raises(InputError, match=rf"has 4 frames, there is no frame {frame}"):
            read_frames(path, [frame])


def test_what_stands_beside_the_stored_bits_is_no_value(tmp_path):
    """Overlays in the high bits, and values that are not stored in the lowest bits."""
    value = np.array([[0, 1, 2047, 2048, 4095]])
    high = write_cells(tmp_path / "high", (value | 0xA000).astype("u2"), BitsStored=12)
    assert read_frames(high).tolist() == [value.tolist()]
    low = write_cells(tmp_path / "low", ((value << 4) | 0x7).astype("u2"), BitsStored=12, HighBit=15)
    assert read_frames(low).tolist() == [value.tolist()]
    signed = write_cells(tmp_path / "signed", (value | 0x5000).astype("u2"), BitsStored=12, PixelRepresentation=1)
    assert read_frames(signed).tolist() == [[[0, 1, 2047, -2048, -1]]]
    packed = write_cells(tmp_path / "rle", (value | 0xA000).astype("u2"), "RLE", BitsStored=12)
    assert read_frames(packed).tolist() == [value.tolist()]


def test_padding_is_a_value_like_any_other(tmp_path):
    path = write_cells(
        tmp_path / "x", np.array([[-2000, 5]], "i2"), PixelPaddingValue=-2000, RescaleSlope=1, RescaleIntercept=-1024
    )
    assert read_frames(path).tolist() == [[[-3024, -1019]]]


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("syntax", ["explicit", "big endian"])
def test_floating_point_pixels(tmp_path, kind, syntax):
    cells = np.array([[0.25, -1e6], [3.5, 1e-3]], kind)
    path = write_cells(tmp_path / "x", cells, syntax, BitsStored=None, HighBit=None, PixelRepresentation=None)
    assert np.array_equal(read_frames(path)[0], cells.astype(np.float32))
    cells[0, 0] = np.nan
    write_cells(tmp_path / "x", cells, syntax, BitsStored=None, HighBit=None, PixelRepresentation=None)
    with pytest.raises(InputError, match="not finite"):
        read_frames(tmp_path / "x")


def test_each_frame_has_its_own_slope(tmp_path):
    """Enhanced objects: the shared slope, unless a frame has its own."""
    shared = sequence(PixelValueTransformationSequence=sequence(RescaleSlope="2", RescaleIntercept="1"))
    frames = [item(), item(PixelValueTransformationSequence=sequence(RescaleSlope="10", RescaleIntercept="-5"))]
    path = write_cells(
        tmp_path / "x",
        np.array([[[3, 4]], [[3, 4]]], "u2"),
        SharedFunctionalGroupsSequence=shared,
        PerFrameFunctionalGroupsSequence=frames,
        RescaleSlope="100",  # of no meaning in an enhanced object
        RescaleIntercept="0",
    )
    assert read_frames(path).tolist() == [[[7, 9]], [[25, 35]]]


def test_a_file_without_preamble_or_syntax(tmp_path):
    """As old exports have: implicit little endian is the default of DICOM."""
    path = write_cells(tmp_path / "x", np.array([[1, 2]], "u2"), "implicit")
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\x08\x00\x16\x00") :])
    assert read_frames(path).tolist() == [[[1, 2]]]


WRONG = {
    "slope of 0": ({"RescaleSlope": "0", "RescaleIntercept": "1"}, "slope is 0"),
    "no image": ({"Rows": None}, "holds no image"),
    "too large": ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels, which cannot be"),
    "too many frames": ({"NumberOfFrames": 2_000_000_000}, "cut short"),
    "no frame": ({"NumberOfFrames": -3}, "-3 frames"),
    "size of 0": ({"Rows": 0}, "x 0 pixels"),
    "more stored than allocated": ({"BitsStored": 17}, "17 of 16 bits"),
    "1 bit": ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "1 of 1 bits"),
    "12 bits allocated": ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "12 of 12 bits"),
    "four samples": ({"SamplesPerPixel": 4}, "4 samples"),
    "colours of one sample": ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 1}, "disagree"),
    "unknown colours": ({"PhotometricInterpretation": "HSV"}, "photometric interpretation is not supported"),
    "more rows than pixels": ({"Rows": 34}, "cut short, it holds 2376 of 2448 bytes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_impossible_headers(tmp_path, name):
    elements, message = WRONG[name]
    path = write_cells(tmp_path / "x", cells_of("u2", 16, frames=1)[0], **elements)
    with pytest.raises(InputError, match=message) as caught:
        read_frames(path)
    one_line(caught.value, path)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_cut_short(tmp_path, syntax):
    path = write_cells(tmp_path / "x", cells_of("u2", 16, frames=1)[0], syntax)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 300])
    with pytest.raises(InputError, match=r"cut short|damaged") as caught:
        read_frames(path)
    one_line(caught.value, path)


@pytest.mark.parametrize("syntax", ["RLE", "JPEG-LS", "JPEG 2000", "JPEG lossless"])
def test_a_codestream_of_another_size(tmp_path, syntax):
    path = write_cells(tmp_path / "x", cells_of("u2", 16, frames=1)[0], syntax)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x28\x00\x10\x00US\x02\x00\x21", b"\x28\x00\x10\x00US\x02\x00\x22"))
    with pytest.raises(InputError, match=r"disagree on the size|cut short"):
        read_frames(path)


def test_missing_frames_and_unknown_syntax(tmp_path):
    path = write_cells(tmp_path / "x", cells_of("u2", 16), "JPEG 2000", NumberOfFrames=3)
    with pytest.raises(InputError, match="holds 2 of 3 frames"):
        read_frames(path)
    content = write_cells(tmp_path / "y", cells_of("u2", 16)).read_bytes()
    (tmp_path / "y").write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.9\0"))
    with pytest.raises(InputError, match="unknown transfer syntax"):
        read_frames(tmp_path / "y")


def test_files_that_are_no_dicom(tmp_path):
    with pytest.raises(InputError, match=r"gone: not found"):
        read_frames(tmp_path / "gone")
    for content in (b"", b"\0" * 500, b"not DICOM" * 50, b"\0" * 128 + b"DICM", b"\x89PNG\r\n" + bytes(range(256))):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_frames(tmp_path / "x")
        one_line(caught.value, tmp_path / "x")


def test_a_deflated_file_may_not_inflate_without_end(tmp_path, monkeypatch):
    path = write_cells(tmp_path / "x", np.zeros((1000, 1000), "u2"), "deflated")
    assert path.stat().st_size < 5000 and read_frames(path).max() == 0
    monkeypatch.setattr("monai_wsss.data.dicom.pixels._MAX_INFLATED", 1_000_000)
    with pytest.raises(InputError, match="inflates to more"):
        read_frames(path)


@pytest.mark.parametrize("syntax", ["explicit", "RLE", "JPEG-LS", "JPEG 2000", "JPEG lossless"])
def test_flipped_bytes_end_in_one_line_or_an_image(tmp_path, syntax, capfd):
    cells = cells_of("u2", 12)
    path = write_cells(tmp_path / "x", cells, syntax, BitsStored=12, RescaleSlope="2", RescaleIntercept="0")
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for number in range(60):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 9)):
            changed[rng.integers(132, (len(changed), 1000)[number % 2])] = rng.integers(256)
        path.write_bytes(changed)
        try:
            found = read_frames(path)
            assert found.dtype == np.float32 and np.isfinite(found).all()
        except InputError as error:
            refused += 1
            one_line(error, path)
    assert refused > 5
    assert capfd.readouterr() == ("", "")


def one_line(error, path):
    text = str(error)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < len(str(path)) + 120
    assert "DOE" not in text and "SECRET" not in text


def test_one_frame_at_a_time(tmp_path):
    cells = cells_of("u2", 16)
    file = PixelFile(write_cells(tmp_path / "x", cells, "RLE"))
    assert (file.layout.frames, file.layout.rows, file.layout.columns) == (2, 33, 36)
    assert np.array_equal(file.frame(1), cells[1])
