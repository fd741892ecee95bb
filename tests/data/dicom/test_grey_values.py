"""Stored values to grey values, worked by hand."""

import numpy as np
import pydicom
import pytest
from dicom_cells import sequence, write_cells

from monai_wsss.data.dicom.grey_values import window
from monai_wsss.data.dicom.pixels import read_frames
from monai_wsss.errors import InputError


def grey(tmp_path, values, kind="u2", voi=False, syntax="explicit", **elements):
    path = write_cells(tmp_path / "x", np.array([values], kind), syntax, **elements)
    return read_frames(path, voi=voi)[0, 0].tolist()


def test_slope_and_intercept(tmp_path):
    rescale = {"RescaleSlope": "0.5", "RescaleIntercept": "-1024"}
    assert grey(tmp_path, [0, 1, 3000], **rescale) == [-1024, -1023.5, 476]
    assert grey(tmp_path, [-5, 7], "i2", RescaleIntercept="10") == [5, 17]
    assert grey(tmp_path, [2, 7], RescaleSlope="-2") == [-4, -14]


MONOCHROME1 = {
    "8 bits": ([0, 1, 255], "u1", {}, [255, 254, 0]),
    "12 of 16 bits": ([0, 1, 4095], "u2", {"BitsStored": 12}, [4095, 4094, 0]),
    "signed": ([-2048, 0, 2047], "i2", {"BitsStored": 12}, [2047, -1, -2048]),
    # stored 0..255 are -1024..-514 after the modality LUT; s = 10 gives -1004, and -1024 - 514 + 1004 = -534
    "rescaled": ([0, 10, 255], "u1", {"RescaleSlope": "2", "RescaleIntercept": "-1024"}, [-514, -534, -1024]),
    "inverse is no second time": ([0, 1, 255], "u1", {"PresentationLUTShape": "INVERSE"}, [255, 254, 0]),
    "negative slope": ([0, 1, 255], "u1", {"RescaleSlope": "-1", "RescaleIntercept": "255"}, [0, 1, 255]),
}


@pytest.mark.parametrize("name", MONOCHROME1)
def test_monochrome1_is_reflected_once(tmp_path, name):
    values, kind, elements, expected = MONOCHROME1[name]
    assert grey(tmp_path, values, kind, PhotometricInterpretation="MONOCHROME1", **elements) == expected


def test_monochrome2_is_not(tmp_path):
    assert grey(tmp_path, [0, 1, 255], "u1", PresentationLUTShape="INVERSE") == [0, 1, 255]


@pytest.mark.parametrize(("kind", "stored"), [("u1", 8), ("u2", 10), ("u2", 12), ("u2", 16), ("i2", 16)])
def test_simpleitk_reflects_alike(tmp_path, kind, stored):
    sitk = pytest.importorskip("SimpleITK")  # it ends with an error on signed values of 12 bits
    values = [0, 3, 100, 127]
    rescale = {"RescaleSlope": "2", "RescaleIntercept": "-10"}
    found = grey(tmp_path, values, kind, PhotometricInterpretation="MONOCHROME1", BitsStored=stored, **rescale)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "x")))[0, 0].tolist() == found


def table(values, first, bits=16, order="<", entries=None, **elements):
    data = np.array(values, f"{order}u{2 if bits > 8 else 1}").tobytes()
    return sequence(LUTDescriptor=[entries or len(values), first, bits], LUTData=data, **elements)


def test_modality_table(tmp_path):
    """Entries for 10, 11, 12; values below and above take the ends."""
    for syntax, order in (("implicit", "<"), ("explicit", "<"), ("big endian", ">")):
        lut = table([100, 300, 900], 10, order=order, ModalityLUTType="US")
        assert grey(tmp_path, [0, 10, 11, 12, 500], syntax=syntax, ModalityLUTSequence=lut) == [100, 100, 300, 900, 900]
    lut = table([100, 300, 900], 10, ModalityLUTType="US")
    inverted = grey(tmp_path, [10, 11, 12], PhotometricInterpretation="MONOCHROME1", ModalityLUTSequence=lut)
    assert inverted == [900, 700, 100]  # 100 + 900 - value


def test_a_table_of_negative_values(tmp_path):
    """First value -2, also where the header writes it without a sign, as 65534."""
    lut = table([5, 6, 7], -2, ModalityLUTType="US")
    assert grey(tmp_path, [-2, -1, 0, 9], "i2", ModalityLUTSequence=lut) == [5, 6, 7, 7]
    signed = (tmp_path / "x").read_bytes()
    unsigned = signed.replace(b"\x28\x00\x02\x30SS", b"\x28\x00\x02\x30US")
    assert unsigned != signed
    (tmp_path / "x").write_bytes(unsigned)
    assert read_frames(tmp_path / "x")[0, 0].tolist() == [5, 6, 7, 7]


def test_a_short_table_is_refused(tmp_path):
    lut = table([1, 2, 3], 0, entries=9, ModalityLUTType="US")
    with pytest.raises(InputError, match="table is cut short"):
        grey(tmp_path, [1], ModalityLUTSequence=lut)


WINDOW = {"WindowCenter": "128", "WindowWidth": "101"}


def test_window_of_a_projection(tmp_path):
    """LINEAR: c - 0.5 = 127.5, w - 1 = 100; 77.5 maps to 0, 127.5 to the middle of 0..255, 177.5 to 255."""
    values = [0, 77, 103, 128, 178, 255]
    expected = [0, 0, 255 * 0.255, 255 * 0.505, 255, 255]
    found = grey(tmp_path, values, "u1", voi=True, Modality="DX", **WINDOW)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    turned = grey(tmp_path, values, "u1", voi=True, Modality="DX", PhotometricInterpretation="MONOCHROME1", **WINDOW)
    np.testing.assert_allclose(turned, 255 - np.array(expected), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("modality", "voi"), [("DX", False), ("CT", True), ("MR", True), ("CT", False)])
def test_no_window_without_request_or_in_slices(tmp_path, modality, voi):
    assert grey(tmp_path, [0, 77, 103], "u1", voi=voi, Modality=modality, **WINDOW) == [0, 77, 103]


def test_voi_table_before_window(tmp_path):
    """An 8-bit table of 4 entries for stored values from 1000 on."""
    lut = table([0, 50, 200, 255], 1000, 8)
    found = grey(tmp_path, [0, 1001, 1002, 4000], voi=True, Modality="CR", VOILUTSequence=lut, **WINDOW)
    assert found == [0, 50, 200, 255]


def test_window_functions_by_hand():
    values = np.array([40.0, 50.0, 55.0, 60.0, 70.0])
    # LINEAR, c = 55.5, w = 21: from 45 to 65 on 0..100
    assert window(55.5, 21, "LINEAR", 0, 100)(values).tolist() == [0, 25, 50, 75, 100]
    # LINEAR_EXACT, c = 55, w = 20: the same ends
    assert window(55, 20, "LINEAR_EXACT", 0, 100)(values).tolist() == [0, 25, 50, 75, 100]
    # SIGMOID: 100 / (1 + exp(-4 (x - 55) / 20)); x = 50: 1 / (1 + e) = 0.26894
    np.testing.assert_allclose(window(55, 20, "SIGMOID", 0, 100)(values)[1:4], [26.8941, 50, 73.1059], rtol=1e-5)
    assert window(50.5, 1, "LINEAR", 0, 100)(values).tolist() == [0, 0, 100, 100, 100]  # a step


@pytest.mark.parametrize(("width", "function"), [(0.5, "LINEAR"), (0, "LINEAR_EXACT"), (0, "SIGMOID"), (9, "GAMMA")])
def test_impossible_windows(width, function):
    with pytest.raises(InputError, match="display window"):
        window(1, width, function, 0, 1)


def test_colours_become_luminance(tmp_path):
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [77, 77, 77]]], "u1")
    expected = [76.245, 149.685, 29.07, 77]  # 0.299, 0.587 and 0.114 of 255; grey stays
    together = write_cells(tmp_path / "a", pixels, PhotometricInterpretation="RGB")
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)).reshape(1, 4, 3)
    apart = write_cells(tmp_path / "b", planes, PhotometricInterpretation="RGB", PlanarConfiguration=1)
    for path in (together, apart):
        np.testing.assert_allclose(read_frames(path)[0, 0], expected, rtol=1e-6)
    assert read_frames(together)[0, 0, 3] == 77


def test_luminance_of_ybr(tmp_path):
    pixels = np.array([[[10, 3, 4], [20, 5, 6]]], "u1")
    assert read_frames(write_cells(tmp_path / "a", pixels, PhotometricInterpretation="YBR_FULL")).tolist() == [
        [[10, 20]]
    ]
    # 4:2:2 has Y1 Y2 Cb Cr for two pixels
    halved = np.array([[10, 20, 3, 4]], "u1")
    path = write_cells(tmp_path / "b", halved, Columns=2, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422")
    assert read_frames(path).tolist() == [[[10, 20]]]


def test_palette(tmp_path):
    """Index 1 is (100, 200, 50): 0.299 * 100 + 0.587 * 200 + 0.114 * 50 = 153."""
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    tables = ([0, 100], [0, 200], [0, 50])
    elements = {f"{name}Descriptor": [2, 0, 16] for name in names}
    elements |= {f"{name}Data": np.array(t, "<u2").tobytes() for name, t in zip(names, tables, strict=True)}
    assert grey(tmp_path, [0, 1, 9], "u1", PhotometricInterpretation="PALETTE COLOR", **elements) == [0, 153, 153]
    del elements["RedPaletteColorLookupTableData"]
    with pytest.raises(InputError, match="look-up table"):
        grey(tmp_path, [0], "u1", PhotometricInterpretation="PALETTE COLOR", **elements)


def test_eight_bit_words_are_swapped_in_big_endian(tmp_path):
    """8-bit cells in 16-bit words, which big endian turns around."""
    path = write_cells(tmp_path / "x", np.array([[2, 1, 4, 3]], "u1"), "big endian")
    content = path.read_bytes().replace(b"\x7f\xe0\x00\x10OB", b"\x7f\xe0\x00\x10OW")
    path.write_bytes(content)
    assert pydicom.dcmread(path)["PixelData"].VR == "OW"
    assert read_frames(path).tolist() == [[[1, 2, 3, 4]]]
