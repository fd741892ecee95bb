from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_wsss.data.nuisance import VARIABLES, image_nuisance, slice_positions
from monai_wsss.data.volume import SeriesTags, Volume, VolumeHeader


def volume(path, shape=(20, 40, 1), kind="nifti", known=True, **kwargs):
    header = VolumeHeader(shape, np.eye(4), (1.0, 1.0, 1.0), known)
    return Volume((Path(path),), Path("x"), "x", header, kind, **kwargs)


def test_every_variable_is_there():
    row = image_nuisance(np.zeros((4, 4, 1)), np.eye(4))
    assert sorted(row) == sorted(key for keys in VARIABLES.values() for key in keys)


def test_size_and_spacing():
    array = np.arange(20.0 * 40 * 3).reshape(20, 40, 3)
    affine = np.array([[0, -2, 0, 9], [0.5, 0, 0, 9], [0, 0, 3, 9], [0, 0, 0, 1]])  # columns run along y
    row = image_nuisance(array, affine)
    assert [row[key] for key in ("columns", "rows", "slices", "aspect", "file_size")] == [20, 40, 3, 0.5, None]
    assert [row[f"spacing_{axis}"] for axis in ("columns", "rows", "slices")] == [0.5, 2, 3]


@pytest.mark.parametrize(
    ("header", "slices", "expected"),
    [(volume("a.nii", known=False), 2, [None] * 3), (None, 1, [1, 1, None]), (volume("a.nii"), 2, [1, 1, 1])],
)
def test_spacing_that_nothing_states_is_unknown(header, slices, expected):
    row = image_nuisance(np.zeros((4, 4, slices)), np.eye(4), header)
    assert [row[f"spacing_{axis}"] for axis in ("columns", "rows", "slices")] == expected


def test_border_by_hand():
    # 20 x 40: the frame is 1 and 2 pixels wide, 2 * 40 + 18 * 4 = 152 pixels of 800; values from 10 to 50
    array = np.full((20, 40, 2), 50.0)
    array[[0, -1]] = 10  # 80 pixels at 0 of the range, a slice
    array[1:-1, [0, 1, -2, -1]] = 30  # 72 at 1/2
    row = image_nuisance(array, np.eye(4))
    assert row["border_minimum"] == pytest.approx(80 / 152)
    assert row["border_mean"] == pytest.approx(0.5 * 72 / 152)
    assert row["border_std"] == pytest.approx(0.5 * np.sqrt(80 * 72) / 152)
    assert row["saturated"] == pytest.approx(648 / 800)


def test_border_does_not_depend_on_scale_and_survives_a_flat_image():
    array = np.random.default_rng(0).random((30, 30, 2))
    border, scaled = (image_nuisance(a, np.eye(4)) for a in (array, 7 * array - 100))
    for key in VARIABLES["image border"]:
        assert scaled[key] == pytest.approx(border[key])
    flat = image_nuisance(np.full((3, 3, 1), 7.0), np.eye(4))
    assert [flat[key] for key in VARIABLES["image border"]] == [0, 0, 1, 0]


def test_dicom_tells_scanner_and_storage():
    tags = SeriesTags(
        manufacturer="Acme", model="One", photometric="MONOCHROME2", bits_stored=12, transfer_syntax="JPEG Baseline"
    )
    row = image_nuisance(np.zeros((4, 4, 1)), np.eye(4), volume("a", kind="dicom", tags=tags, bytes=77))
    assert row["file_size"] == 77
    assert (row["scanner"], row["colour_mode"], row["compression"]) == ("Acme One", "MONOCHROME2 12", "JPEG Baseline")
    empty = image_nuisance(np.zeros((4, 4, 1)), np.eye(4), volume("a", kind="dicom", tags=SeriesTags()))
    assert [empty[key] for key in ("file_size", "scanner", "colour_mode", "compression")] == [None] * 4


def test_pictures_and_nifti_tell_storage(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    row = image_nuisance(np.zeros((4, 4, 1)), np.eye(4), volume(tmp_path / "a.jpg", kind="picture"))
    assert (row["colour_mode"], row["compression"]) == ("RGB", "JPEG")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    row = image_nuisance(np.zeros((4, 4, 4)), np.eye(4), volume(tmp_path / "a.nii.gz"))
    assert (row["colour_mode"], row["compression"]) == ("int16", "gzip")
    row = image_nuisance(np.zeros((4, 4, 4)), np.eye(4), volume(tmp_path / "gone.nii"))
    assert (row["colour_mode"], row["compression"]) == (None, None)


def test_slice_positions():
    assert slice_positions(5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert slice_positions(1).tolist() == [0.5]
