import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Invertd

from monai_wsss.data import cache_folder
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing


def write(path, array, spacing=(1.0, 1.0, 5.0)):
    image = nib.Nifti1Image(array, np.diag([*spacing, 1.0]))
    image.header["descrip"] = b"DOE^JANE"
    nib.save(image, path)
    return str(path)


def body(*shape):
    array = np.zeros(shape, np.float32)
    array[4:-4, 4:-4] = np.random.default_rng(0).uniform(100, 200, array[4:-4, 4:-4].shape)
    return array


@pytest.mark.parametrize(
    ("shape", "depth"),
    [((20, 24, 3), 3), ((20, 24, 1), 1), ((20, 24), 1), ((20, 24, 3, 1), 3)],
)
def test_shape_and_type(tmp_path, shape, depth):
    out = GridPreprocessing(size=(32, 28))({"image": write(tmp_path / "v.nii.gz", body(*shape)), "case": "v"})
    assert out["image"].shape == (1, 32, 28, depth) and out["image"].dtype == torch.float32
    assert out["case"] == "v"


def test_same_input_same_bytes(tmp_path):
    path = write(tmp_path / "v.nii", body(20, 24, 3), spacing=(0.7, 0.9, 5))
    first, second = (GridPreprocessing(size=(32, 32))({"image": path})["image"] for _ in range(2))
    assert torch.equal(first.as_tensor(), second.as_tensor())


def test_free_text_of_the_header_is_not_carried_along(tmp_path):
    out = GridPreprocessing(size=(32, 32))({"image": write(tmp_path / "v.nii", body(20, 24, 3))})["image"]
    assert "DOE" not in str(out.meta) and "DOE" not in str(out.applied_operations)


def test_parameters_are_plain_and_complete():
    grid = GridPreprocessing(pixel_spacing=2, size=(128, 96), clip=(1, 99))
    expected = {"version": 1, "pixel_spacing": 2.0, "size": [128, 96], "clip": [1.0, 99.0]}
    assert json.loads(json.dumps(grid.parameters)) == grid.parameters == expected


@pytest.mark.parametrize(
    ("options", "extra"),
    [
        ({"inside_body": True}, {}),  # the defaults add nothing: older caches stay valid
        ({"inside_body": False}, {"inside_body": False}),
        ({"pixel_spacing": None}, {"pixel_spacing": None, "inside_body": False}),
        ({"pixel_spacing": None, "inside_body": True}, {"pixel_spacing": None}),
    ],
)
def test_parameters_tell_the_options_apart(options, extra):
    default = {"version": 1, "pixel_spacing": 1.0, "size": [256, 256], "clip": [0.5, 99.5]}
    assert GridPreprocessing(**options).parameters == default | extra


def test_an_old_cache_keeps_its_name():
    # worked out with the version that had no other options
    assert cache_folder("data", GridPreprocessing(pixel_spacing=2, size=(128, 96)).parameters).name == "c6ff30396d9f"


def test_a_film_without_pixel_size_is_fitted_whole(tmp_path):
    film = np.random.default_rng(0).uniform(100, 200, (50, 100, 1)).astype(np.float32)
    film[10:20, 30:80] = 0  # lungs as dark as air: in the body mask they would be holes or nothing
    out = GridPreprocessing(pixel_spacing=None, size=(32, 32))({"image": write(tmp_path / "v.nii", film)})["image"]
    # 100 pixels on 32: pixels of 3.125, so 16 of the 32 rows are film, the rest its minimum
    assert out.shape == (1, 32, 32, 1) and out.meta["body_cropped_mm"] == 0
    assert float(out[0, :8].max()) == pytest.approx(float(out.min()), abs=1e-5) and float(out[0, 8:24].mean()) > -0.1
    assert out.meta["body_box"] == [[0, 49], [0, 99]]


def test_bad_files_are_refused_in_one_line(tmp_path, capfd):
    grid = GridPreprocessing(size=(32, 32))
    nan = body(20, 24, 3)
    nan[0, 0, 0] = np.nan
    for array, message in ((nan, "1 of 1440 voxels"), (np.ones((8, 8, 2), np.float32), "all voxels have the value 1")):
        path = write(tmp_path / "v.nii", array)
        with pytest.raises(InputError) as error:
            grid({"image": path})
        assert str(error.value).startswith(f"{path}: {message}") and "\n" not in str(error.value)
    with pytest.raises(InputError, match="not found"):
        grid({"image": str(tmp_path / "none.nii")})
    assert capfd.readouterr() == ("", "")


def test_two_keys(tmp_path):
    path = write(tmp_path / "v.nii", body(20, 24, 3))
    out = GridPreprocessing(keys=("t1", "t2"), size=(32, 32))({"t1": path, "t2": path})
    assert torch.equal(out["t1"].as_tensor(), out["t2"].as_tensor())


def test_channels_stand_in_the_parameters_where_they_are_three():
    assert "channels" not in GridPreprocessing(channels=1).parameters
    grid = GridPreprocessing(pixel_spacing=None, channels=3)
    expected = {"version": 1, "pixel_spacing": None, "size": [256, 256], "clip": [0.5, 99.5], "inside_body": False}
    assert grid.parameters == expected | {"channels": 3}
    with pytest.raises(ValueError, match="channels must be 1"):
        GridPreprocessing(channels=2)


@pytest.mark.parametrize("pixel_spacing", [1.0, None])
def test_a_grey_volume_in_three_channels(tmp_path, pixel_spacing):
    path = write(tmp_path / "v.nii", body(20, 24, 3), spacing=(0.7, 0.9, 5))
    grey, colours = (
        GridPreprocessing(pixel_spacing=pixel_spacing, size=(32, 32), channels=channels)({"image": path})["image"]
        for channels in (1, 3)
    )
    assert colours.shape == (3, 32, 32, 3)
    torch.testing.assert_close(colours.as_tensor(), grey.as_tensor().expand(3, -1, -1, -1), atol=2e-3, rtol=0)
    assert colours.meta["body_box"] == grey.meta["body_box"] and torch.equal(colours.affine, grey.affine)


WINDOWS = [[40, 80], [80, 200], [600, 2800]]


def head_ct(*shape):
    array = np.full(shape, -1000, np.float32)
    array[4:-4, 4:-4] = np.random.default_rng(0).uniform(0, 100, array[4:-4, 4:-4].shape)
    return array


def test_windows_stand_in_the_parameters_where_they_are_set():
    default = {"version": 1, "pixel_spacing": 1.0, "size": [256, 256], "clip": [0.5, 99.5]}
    assert GridPreprocessing(windows=None).parameters == default
    grid = GridPreprocessing(windows=WINDOWS)
    assert grid.parameters == default | {"windows": [[40.0, 80.0], [80.0, 200.0], [600.0, 2800.0]]}
    assert json.loads(json.dumps(grid.parameters)) == grid.parameters
    assert grid.channels == 3 and grid.inside_body
    one = GridPreprocessing(windows=[[40, 80]], pixel_spacing=None)
    assert one.channels == 1 and one.inside_body  # the head is looked for without a pixel size too
    assert "inside_body" not in one.parameters
    assert GridPreprocessing(windows=WINDOWS, inside_body=False).parameters["inside_body"] is False
    with pytest.raises(ValueError, match="leave channels at 1, got 3"):
        GridPreprocessing(windows=WINDOWS, channels=3)


@pytest.mark.parametrize("pixel_spacing", [1.0, 2.0, None])
def test_ct_in_windows(tmp_path, pixel_spacing):
    path = write(tmp_path / "v.nii.gz", head_ct(20, 24, 3))
    grid = GridPreprocessing(pixel_spacing=pixel_spacing, size=(32, 28), windows=WINDOWS)
    image = grid({"image": path})["image"]
    assert image.shape == (3, 32, 28, 3) and image.dtype == torch.float32
    assert float(image.min()) == -2 and float(image.max()) <= 2 + 1e-5 and float(image[:, 0, 0].max()) == -2
    assert image.meta["body_cropped_mm"] == 0
    back = Invertd(keys="image", transform=grid, orig_keys="image", nearest_interp=False)({"image": image})["image"]
    assert back.shape == (3, 20, 24, 3)


def test_a_window_is_taken_before_the_resampling(tmp_path):
    """Bone is cut to the window first: resampled first, 1500 HU would outshine what lies a pixel beside it."""
    array = head_ct(40, 40, 1)
    array[4:36, 4:36] = 30
    array[4:8] = 1500
    image = GridPreprocessing(pixel_spacing=2.0, size=(20, 20), windows=[[40, 80]])(
        {"image": write(tmp_path / "v.nii", array)}
    )["image"]
    # the first axis is turned, so rows 9 and 8 lie on the grid's row 15; a blur of sigma .5 pixel takes 16 % of row 8
    # from the bone beside it and nothing of row 9, so 8 % of the mean: .375 + .08 (1 - .375) = .425 of the window.
    # Resampled first, (30 + .08 * 1470) / 80 = 1.8 of it would be white
    assert float(image[0, 15, 10, 0]) == pytest.approx(4 * 0.425 - 2, abs=0.05)


def test_pictures_have_no_windows(tmp_path):
    path = write(tmp_path / "v.nii", body(20, 24, 1))
    with pytest.raises(InputError, match="overlay pictures") as error:
        GridPreprocessing(windows=WINDOWS)({"image": path})
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
