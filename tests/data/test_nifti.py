import gzip
import logging

import nibabel as nib
import numpy as np
import pytest

from monai_wsss.data import read_nifti, read_nifti_header
from monai_wsss.errors import InputError

AFFINE = np.diag([-2.0, -3.0, 4.0, 1.0])


def write(path, array, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def test_header_and_data(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = write(tmp_path / "a.nii.gz", array)
    header = read_nifti_header(path)
    assert header.shape == (2, 3, 4) and header.spacing == (2.0, 3.0, 4.0)
    data, affine = read_nifti(path)
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data, array)
    np.testing.assert_array_equal(affine, AFFINE)


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(np.ones((2, 2, 1), np.int16), AFFINE)
    image.header.set_slope_inter(2, -1024)
    nib.save(image, tmp_path / "ct.nii")
    assert read_nifti(tmp_path / "ct.nii")[0].max() == pytest.approx(2 * 1 - 1024)


@pytest.mark.parametrize(
    ("shape", "expected"), [((2, 3), (2, 3, 1)), ((2, 3, 1), (2, 3, 1)), ((2, 3, 4, 1), (2, 3, 4))]
)
def test_shapes_that_count_as_volumes(tmp_path, shape, expected):
    path = write(tmp_path / "a.nii", np.ones(shape, np.float32))
    assert read_nifti_header(path).shape == expected and read_nifti(path)[0].shape == expected


def truncate(path, keep):
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def noise(*shape):
    return np.random.default_rng(0).integers(0, 4000, shape).astype(np.int16)


def bad_missing(path):
    pass


def bad_text(path):
    path.write_text("not an image")


def bad_empty_file(path):
    path.write_bytes(b"")


def bad_gzip_of_text(path):
    path.write_bytes(gzip.compress(b"not an image" * 100))


def bad_cut_short(path):
    write(path, noise(16, 16, 16))
    truncate(path, 0.6)


def bad_cut_in_header(path):
    write(path, noise(16, 16, 16))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:200]))


def bad_bytes(path):
    write(path, noise(16, 16, 16))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def bad_claims_terabytes(path):
    write(path, noise(8, 8, 8))
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


def bad_nan(path):
    array = np.ones((2, 3, 4), np.float32)
    array[0, 0, :2] = np.nan, np.inf
    write(path, array)


def bad_4d(path):
    write(path, np.ones((2, 3, 4, 5), np.float32))


def bad_complex(path):
    write(path, np.ones((2, 3, 4), np.complex64))


def bad_colour(path):
    write(path, np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


def bad_no_voxels(path):
    write(path, np.ones((2, 0, 4), np.float32))


def bad_singular(path):
    image = nib.Nifti1Image(np.ones((2, 3, 4), np.float32), AFFINE)
    image.header["srow_y"] = 0
    nib.save(image, path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[296:312] = bytes(16)
    path.write_bytes(gzip.compress(bytes(content)))


def bad_micrometres(path):
    write(path, np.ones((200, 200, 2), np.float32), np.diag([500.0, 500, 5000, 1]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bad_missing, "not found"),
        (bad_text, "cannot be read as NIfTI"),
        (bad_empty_file, "cannot be read as NIfTI"),
        (bad_gzip_of_text, "cannot be read as NIfTI"),
        (bad_cut_short, "cannot be read as NIfTI"),
        (bad_cut_in_header, "cannot be read as NIfTI"),
        (bad_bytes, "cannot be read as NIfTI"),
        (bad_claims_terabytes, "cut short, the file is too small for its shape (30000, 30000, 30000)"),
        (bad_nan, "2 of 24 voxels are not finite"),
        (bad_4d, "has 4 dimensions (2, 3, 4, 5)"),
        (bad_complex, "holds complex64 values"),
        (bad_colour, "expected real numbers"),
        (bad_no_voxels, "is empty"),
        (bad_singular, "affine is singular"),
        (bad_micrometres, "voxels of 500 x 500 x 5000 mm give an impossible field of view"),
    ],
)
def test_bad_files_are_one_line_that_names_the_file(tmp_path, caplog, capfd, spoil, message):
    path = tmp_path / "bad.nii.gz"
    spoil(path)
    with caplog.at_level(logging.DEBUG), pytest.raises(InputError) as error:
        read_nifti(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_uncompressed_file_cut_short_shows_in_the_header(tmp_path):
    path = write(tmp_path / "a.nii", noise(16, 16, 16))
    truncate(path, 0.6)
    with pytest.raises(InputError, match="cut short"):
        read_nifti_header(path)


def test_mutated_headers_never_raise_anything_else(tmp_path):
    content = gzip.decompress(write(tmp_path / "a.nii.gz", noise(8, 8, 4)).read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        mutated = bytearray(content)
        for position in rng.integers(0, 348, 4):
            mutated[position] = rng.integers(0, 256)
        (tmp_path / "m.nii").write_bytes(mutated)
        try:
            read_nifti(tmp_path / "m.nii")
        except InputError:
            refused += 1
    assert 0 < refused < 150


def coloured(path):
    colours = np.random.default_rng(0).integers(0, 256, (4, 3, 2, 3), np.uint8)
    array = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for k, name in enumerate("RGB"):
        array[name] = colours[..., k]
    write(path, array)
    return colours


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_colours_where_they_are_asked_for(tmp_path, name):
    colours = coloured(tmp_path / name)
    found, affine = read_nifti(tmp_path / name, colour=True)
    assert found.dtype == np.float32 and np.array_equal(found, colours) and np.array_equal(affine, AFFINE)
    grey = read_nifti(tmp_path / name, colour=False)[0]
    red, green, blue = (float(value) for value in colours[1, 2, 0])
    assert grey.shape == (4, 3, 2) and grey.dtype == np.float32
    assert grey[1, 2, 0] == pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue)
    for read in (read_nifti_header, read_nifti):  # what lies about in a folder is more likely a map than an image
        with pytest.raises(InputError, match="expected real numbers"):
            read(tmp_path / name)
    truncate(tmp_path / name, 0.8)
    with pytest.raises(InputError):
        read_nifti(tmp_path / name, colour=True)


def test_grey_as_three_colours(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = write(tmp_path / "x.nii", array)
    found = read_nifti(path, colour=True)[0]
    assert found.shape == (2, 3, 4, 3) and all(np.array_equal(found[..., k], array) for k in range(3))
    assert np.array_equal(read_nifti(path, colour=False)[0], array)


def test_fields_of_vectors_are_no_colours(tmp_path):
    write(tmp_path / "field.nii.gz", np.ones((2, 3, 4, 1, 3), np.uint8))
    with pytest.raises(InputError, match="has 5 dimensions"):
        read_nifti(tmp_path / "field.nii.gz", colour=True)
