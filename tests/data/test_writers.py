"""Masks and images as NIfTI."""

import nibabel as nib
import numpy as np
import pytest

from monai_wsss.data.nifti import read_nifti
from monai_wsss.data.voxel_size import UNKNOWN, voxel_size_is_known
from monai_wsss.data.writers import smallest_type, write_image, write_mask
from monai_wsss.errors import InputError

AFFINE = np.array([[-0.9, 0.1, 0, 5.5], [0.09, 0.8, 0, -7], [0, 0, 3, 100], [0, 0, 0, 1.0]])
FILM = np.array([[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
ROTATED = np.diag([-2.0, -2, 4, 1]) + np.array([[0, 0, 0, 3.0], [0, 0, 0, 4], [0, 0, 0, 5], [0, 0, 0, 0]])
MASK = np.random.default_rng(0).integers(0, 3, (4, 5, 3))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 255], np.uint8),
        ([0, 256], np.int16),
        ([-1, 255], np.int16),
        ([-32768, 32767], np.int16),
        ([0, 32768], np.uint16),
        ([0, 65535], np.uint16),
        ([-1, 32768], np.int32),
        ([0, 65536], np.int32),
        ([0, 0.5], np.float32),
        ([-3e9, 0], np.float32),
        ([0, 3e9], np.float32),
    ],
)
def test_smallest_type(values, expected):
    assert smallest_type(np.array(values, np.float32).reshape(1, 1, 2)) is expected


@pytest.mark.parametrize("scale", [1, 100, 0.25])
@pytest.mark.parametrize(("affine", "known"), [(ROTATED, True), (AFFINE, True), (FILM, False), (ROTATED, False)])
def test_an_image_comes_back(tmp_path, affine, known, scale):
    array = np.asarray(MASK * scale, np.float32).transpose(2, 1, 0).copy().transpose(2, 1, 0)
    write_image(tmp_path / "new" / "x.nii.gz", array, affine, known)
    found, found_affine = read_nifti(tmp_path / "new" / "x.nii.gz")
    assert np.array_equal(found, array)
    np.testing.assert_allclose(found_affine, affine, atol=1e-6)
    header = nib.load(tmp_path / "new" / "x.nii.gz").header
    assert voxel_size_is_known(header) is known
    assert header.get_slope_inter() in ((1.0, 0.0), (None, None))
    texts = bytes(header["descrip"]), bytes(header["aux_file"]), bytes(header["db_name"]), bytes(header["intent_name"])
    assert b"".join(texts).strip(b"\0") == (b"" if known else UNKNOWN)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.nii.gz"]


def test_the_same_bytes_each_time(tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.nii.gz", MASK, AFFINE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize(("sform", "qform"), [(0, 0), (1, 1), (2, 0), (0, 1), (4, 1)])
def test_mask_of_a_nifti_file_has_its_codes(tmp_path, sform, qform):
    source = nib.Nifti1Image(np.zeros((4, 5, 3), np.int16), ROTATED)
    source.set_sform(AFFINE, code=sform)
    source.set_qform(ROTATED, code=qform)
    source.header["descrip"] = b"DOE JANE"
    nib.save(source, tmp_path / "s.nii")
    write_mask(tmp_path / "m.nii.gz", MASK, tmp_path / "s.nii", np.eye(4))
    source, mask = nib.load(tmp_path / "s.nii"), nib.load(tmp_path / "m.nii.gz")
    assert np.array_equal(mask.dataobj, MASK) and mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, source.affine)
    for code in ("sform_code", "qform_code"):
        assert mask.header[code] == source.header[code]
    assert np.array_equal(mask.header.get_qform(), source.header.get_qform())
    assert bytes(mask.header["descrip"]).strip(b"\0") == b""


def test_mask_of_an_image_whose_voxel_size_is_unknown(tmp_path):
    write_image(tmp_path / "s.nii.gz", MASK, FILM, spacing_known=False)
    write_mask(tmp_path / "m.nii.gz", MASK, tmp_path / "s.nii.gz")
    mask = nib.load(tmp_path / "m.nii.gz")
    assert not voxel_size_is_known(mask.header) and np.array_equal(mask.affine, FILM)


@pytest.mark.parametrize("known", [True, False])
def test_mask_of_another_source_has_its_own_affine(tmp_path, known):
    write_mask(tmp_path / "m.nii.gz", MASK, tmp_path / "study" / "1.dcm", AFFINE, known)  # the source is not opened
    mask = nib.load(tmp_path / "m.nii.gz")
    assert np.array_equal(mask.dataobj, MASK)
    np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-6)
    assert mask.header["sform_code"] == 1 and voxel_size_is_known(mask.header) is known


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="needs an affine"):
        write_mask(tmp_path / "m.nii.gz", MASK, "1.dcm")
    write_image(tmp_path / "s.nii.gz", MASK, AFFINE)
    with pytest.raises(InputError, match="the volume itself"):
        write_mask(tmp_path / "s.nii.gz", MASK, tmp_path / "s.nii.gz")
    with pytest.raises(ValueError):
        write_mask(tmp_path / "m.nii.gz", MASK[:2], tmp_path / "s.nii.gz")
    assert not (tmp_path / "m.nii.gz").exists()


COLOURS = np.random.default_rng(1).integers(0, 256, (4, 5, 1, 3)).astype(np.float32)


@pytest.mark.parametrize("known", [True, False])
def test_colours_come_back(tmp_path, known):
    write_image(tmp_path / "x.nii.gz", COLOURS, FILM, known)
    found, affine = read_nifti(tmp_path / "x.nii.gz", colour=True)
    assert np.array_equal(found, COLOURS) and np.array_equal(affine, FILM)
    image = nib.load(tmp_path / "x.nii.gz")
    assert image.shape == (4, 5, 1) and int(image.header["datatype"]) == 128  # NIFTI_TYPE_RGB24
    assert voxel_size_is_known(image.header) is known


def test_other_programs_read_the_colours(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    write_image(tmp_path / "x.nii.gz", COLOURS, FILM)
    image = sitk.ReadImage(str(tmp_path / "x.nii.gz"))
    assert image.GetNumberOfComponentsPerPixel() == 3 and image.GetSize() == (4, 5, 1)
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0, 3), COLOURS)


def test_grey_in_three_colours_is_written_as_grey(tmp_path):
    write_image(tmp_path / "x.nii.gz", np.repeat(MASK[..., None] * 1000, 3, axis=-1), AFFINE)
    assert nib.load(tmp_path / "x.nii.gz").shape == MASK.shape
    assert np.array_equal(read_nifti(tmp_path / "x.nii.gz")[0], MASK * 1000)


@pytest.mark.parametrize("colours", [COLOURS + 0.5, COLOURS - 1000, COLOURS * 300, COLOURS[..., :2]])
def test_colours_that_do_not_fit(tmp_path, colours):
    with pytest.raises(ValueError, match="colours must be three whole numbers"):
        write_image(tmp_path / "x.nii.gz", colours, AFFINE)
    assert not (tmp_path / "x.nii.gz").exists()


def test_mask_of_a_picture_in_colour(tmp_path):
    write_image(tmp_path / "s.nii.gz", COLOURS, FILM, spacing_known=False)
    write_mask(tmp_path / "m.nii.gz", MASK[..., :1], tmp_path / "s.nii.gz")
    mask = nib.load(tmp_path / "m.nii.gz")
    assert mask.shape == (4, 5, 1) and np.array_equal(mask.dataobj, MASK[..., :1])
    assert np.array_equal(mask.affine, FILM) and not voxel_size_is_known(mask.header)
    assert mask.get_data_dtype() == np.uint8
    with pytest.raises(ValueError):
        write_mask(tmp_path / "m.nii.gz", MASK, tmp_path / "s.nii.gz")
