"""Generated DICOM files hold what they were given, as pydicom and SimpleITK read them."""

from itertools import product

import numpy as np
import pydicom
import pytest
from pydicom import uid

from monai_wsss.data.phantoms.dicom_dataset import can_encode, decimal, make_uid
from monai_wsss.data.phantoms.dicom_files import Storage, write_series

TAGS = {
    "Modality": "MR",
    "StudyInstanceUID": make_uid("study"),
    "SeriesInstanceUID": make_uid("series"),
    "PatientName": "Ödegård^Måns",
    "PatientID": "0047",
}
SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEG2000Lossless,
    uid.JPEGLSLossless,
)
# voxels of 2 x 3 x 4 mm, the first at 10 mm right, 20 mm front, 30 mm up (RAS)
AFFINE = np.array([[-2.0, 0, 0, 10], [0, -3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]])


def volume(shape=(32, 40, 3), low=-900, high=2900, seed=0):
    return np.random.default_rng(seed).integers(low, high, shape).astype(float)


def rotation(x, z):
    cx, sx, cz, sz = np.cos(x), np.sin(x), np.cos(z), np.sin(z)
    out = np.eye(4)
    out[:3, :3] = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    return out


@pytest.mark.parametrize(
    ("storage", "values", "stored"),
    [
        (Storage(bits_stored=12), [0, 1, 4095, 5000, -3], [0, 1, 4095, 4095, 0]),  # 12 bits: 0..4095, saturating
        (Storage(bits_stored=12, intercept=-1024), [-1024, 0, 40, 4000], [0, 1024, 1064, 4095]),
        (Storage(bits_stored=12, signed=True), [-2048, -5000, 2047, 2048], [-2048, -2048, 2047, 2047]),
        (Storage(slope=2.5), [0, 2.5, 10], [0, 1, 4]),
        (Storage(bits_stored=8, inverted=True), [0, 55, 255], [255, 200, 0]),
        (Storage(signed=True, padding=-2000), [np.nan, -1024, 7], [-2000, -1024, 7]),
    ],
)
def test_stored_values(storage, values, stored):
    found = storage.stored(np.array(values, float))
    assert found.tolist() == stored
    assert found.dtype.kind == ("i" if storage.signed else "u")
    assert found.itemsize == (1 if storage.bits_stored <= 8 else 2)


@pytest.mark.parametrize(
    "bad", [{"bits_stored": 17}, {"bits_stored": 1}, {"slope": 0}, {"inverted": True, "signed": True}, {"padding": -1}]
)
def test_refuses_impossible_storage(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Storage(**bad)


def test_classic_geometry(tmp_path):
    written = write_series(tmp_path, volume(), AFFINE, TAGS)
    assert [instance.file.name for instance in written] == ["IM00001", "IM00002", "IM00003"]
    for k, instance in enumerate(written):
        data = pydicom.dcmread(instance.file)
        # LPS: left and back are positive, so x and y change sign
        assert data.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
        assert data.ImagePositionPatient == [-10, -20, 30 + 4 * k]
        assert data.PixelSpacing == [3, 2]  # between rows first
        assert (data.Columns, data.Rows) == (32, 40)
        assert (data.InstanceNumber, data.SOPInstanceUID) == (k + 1, instance.uid) == (instance.number, instance.uid)
        assert (data.SliceThickness, data.SliceLocation) == (4, 30 + 4 * k)
        assert uid.UID(data.SOPInstanceUID).is_valid and data.SOPClassUID == uid.MRImageStorage
        assert data.PatientName == "Ödegård^Måns" and data.AccessionNumber == ""
    assert len({instance.uid for instance in written}) == 3


def test_slices_ascend_along_the_normal(tmp_path):
    array = volume(shape=(32, 40, 4))
    falling = AFFINE @ np.diag([1, 1, -1, 1])  # the array's slices run down, the normal (row x column direction) up
    written = write_series(tmp_path, array, falling, TAGS, Storage(signed=True))
    for k, instance in enumerate(written):
        data = pydicom.dcmread(instance.file)
        assert data.ImagePositionPatient[2] == 30 - 4 * (3 - k)
        np.testing.assert_array_equal(data.pixel_array.T, array[:, :, 3 - k])


@pytest.mark.parametrize("multi_frame", [False, True])
def test_reversed_numbers(tmp_path, multi_frame):
    storage = Storage(signed=True, reversed_numbers=True, multi_frame=multi_frame)
    array = volume()
    written = write_series(tmp_path, array, AFFINE, TAGS, storage, number=5, file=11)
    if multi_frame:
        assert [(i.file.name, i.number, i.frame) for i in written] == [("IM00011", 5, f) for f in (3, 2, 1)]
    else:
        assert [(i.file.name, i.number) for i in written] == [("IM00013", 7), ("IM00012", 6), ("IM00011", 5)]
    for k, instance in enumerate(written):
        data = pydicom.dcmread(instance.file)
        pixels = data.pixel_array[instance.frame - 1] if multi_frame else data.pixel_array
        np.testing.assert_array_equal(pixels.T, array[:, :, k])
        if multi_frame:
            group = data.PerFrameFunctionalGroupsSequence[instance.frame - 1]
            assert group.PlanePositionSequence[0].ImagePositionPatient == [-10, -20, 30 + 4 * k]


STORAGES = [
    {"bits_stored": 12, "intercept": -1024},
    {"bits_stored": 13, "signed": True, "padding": -4096},
    {"signed": True, "slope": 0.25},
]


@pytest.mark.parametrize(("multi_frame", "options"), product([False, True], STORAGES))
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: uid.UID(syntax).name)
def test_simpleitk_agrees(tmp_path, syntax, multi_frame, options):
    sitk = pytest.importorskip("SimpleITK")
    if not can_encode(syntax):
        pytest.skip("no encoder")
    storage = Storage(syntax, multi_frame=multi_frame, **options)
    array, affine = volume(), rotation(0.2, -0.1) @ AFFINE
    if storage.padding is not None:
        array[:3, :3] = np.nan
    written = write_series(tmp_path, array, affine, TAGS | {"Modality": "CT"}, storage)
    files = list(dict.fromkeys(str(instance.file) for instance in written))
    image = sitk.ReadImage(files if len(files) > 1 else files[0])
    expected = np.nan_to_num(array, nan=storage.padding or 0)
    np.testing.assert_allclose(sitk.GetArrayFromImage(image).T, expected, atol=storage.slope / 2)
    assert pydicom.dcmread(files[0]).file_meta.TransferSyntaxUID == syntax
    for index in ((0, 0, 0), (31, 39, 2), (5, 7, 1)):  # columns, rows, slices to mm (LPS)
        point = affine @ [*index, 1]
        np.testing.assert_allclose(
            image.TransformContinuousIndexToPhysicalPoint([float(i) for i in index]), point[:3] * [-1, -1, 1], atol=1e-3
        )


@pytest.mark.parametrize("inverted", [False, True])
def test_projection(tmp_path, inverted):
    array = volume((32, 40, 1), low=0, high=4095)
    storage = Storage(bits_stored=12, inverted=inverted)
    (written,) = write_series(tmp_path, array, AFFINE, TAGS | {"Modality": "DX"}, storage)
    data = pydicom.dcmread(written.file)
    assert data.PhotometricInterpretation == ("MONOCHROME1" if inverted else "MONOCHROME2")
    assert (data.BitsAllocated, data.BitsStored, data.HighBit) == (16, 12, 11)
    assert data.ImagerPixelSpacing == [3, 2] and "ImagePositionPatient" not in data and "PixelSpacing" not in data
    pixels = data.pixel_array.T.astype(float)
    np.testing.assert_array_equal(4095 - pixels if inverted else pixels, array[..., 0])


def test_missing_and_private_elements(tmp_path):
    storage = Storage(missing=("SliceThickness", "WindowCenter", "LossyImageCompression"), private="ACME HEADER")
    data = pydicom.dcmread(write_series(tmp_path, volume(low=0), AFFINE, TAGS, storage)[0].file)
    assert "SliceThickness" not in data and "WindowCenter" not in data and "WindowWidth" in data
    block = data.private_block(0x0029, "ACME HEADER")
    assert "Ödegård^Måns".encode() in block[0x10].value and block[0x20].value == "0047"


@pytest.mark.parametrize(
    ("change", "storage", "said"),
    [
        ({"Modality": "US"}, Storage(), "US"),
        ({"Modality": "DX"}, Storage(multi_frame=True), "DX"),
        ({}, Storage(transfer_syntax=uid.MPEG2MPML), "encoder for MPEG2"),
    ],
)
def test_refuses_what_it_cannot_write(tmp_path, change, storage, said):
    with pytest.raises(ValueError, match=said):
        write_series(tmp_path, volume(), AFFINE, TAGS | change, storage)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: uid.UID(syntax).name)
def test_same_bytes(tmp_path, files_of, syntax):
    if not can_encode(syntax):
        pytest.skip("no encoder")

    def write(name, seed=0):
        write_series(tmp_path / name, volume(seed=seed), AFFINE, TAGS, Storage(syntax, signed=True))
        return files_of(tmp_path / name)

    first = write("first")
    assert len(first) == 3  # and nothing temporary
    assert write("again") == first
    assert write("other", seed=1) != first


def test_encoder_keeps_quiet(tmp_path, caplog):
    if not can_encode(uid.JPEG2000Lossless):
        pytest.skip("no encoder")
    with caplog.at_level("INFO"):
        write_series(tmp_path, volume(), AFFINE, TAGS, Storage(uid.JPEG2000Lossless, signed=True))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.4, "2.4"), (-0.0, "0"), (1 / 3, "0.333333333"), (-123.456789012345, "-123.456789"), (-1e-17, "0")],
)
def test_decimal(value, text):
    assert decimal(value) == text and len(text) <= 16


def test_uids_depend_on_each_part():
    assert make_uid("a", 1) == make_uid("a", 1)
    assert len({make_uid("a", 12), make_uid("a1", 2), make_uid("a", 1, 2)}) == 3
