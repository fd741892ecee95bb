import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_wsss.transforms import ResampleToGridd


def volume(array, spacing=(1.0, 1.0, 5.0), **meta):
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    return {"image": MetaTensor(torch.as_tensor(array, dtype=torch.float32), affine=affine, meta=dict(meta))}


def resample(array, size, pixel_spacing=1.0, **options):
    return ResampleToGridd("image", pixel_spacing, size)(volume(array, **options))["image"]


def test_padding_is_whole_pixels_of_the_minimum():
    out = resample([[[[5.0], [7.0], [9.0]]]], size=(3, 6))  # 1 x 3 slice
    # (1 - 1) / 2 - (3 - 1) / 2 = -1; (3 - 1) / 2 - (6 - 1) / 2 = -1.5, floor -2: no interpolation
    expected = [[5, 5, 5, 5, 5, 5], [5, 5, 5, 7, 9, 5], [5, 5, 5, 5, 5, 5]]
    np.testing.assert_allclose(out[0, :, :, 0].numpy(), expected, atol=1e-4)


def test_cropping_is_central():
    out = resample(np.arange(5.0).reshape(1, 5, 1, 1), size=(3, 1))
    np.testing.assert_allclose(out[0, :, 0, 0].numpy(), [1, 2, 3], atol=1e-5)


def test_enlarging_is_linear_about_pixel_centres():
    # 2 pixels of 2 mm -> 4 of 1 mm at -.25, .25, .75, 1.25 of the source; beyond the outer centres the rest is minimum
    out = resample([[[[0.0]], [[8.0]]]], size=(4, 1), spacing=(2.0, 1.0, 5.0))
    np.testing.assert_allclose(out[0, :, 0, 0].numpy(), [0, 2, 6, 6], atol=1e-4)


def test_shrinking_averages_instead_of_dropping_pixels():
    stripes = np.tile([0.0, 8.0], 16).reshape(1, 32, 1, 1)
    out = resample(stripes, size=(16, 1), pixel_spacing=2.0, spacing=(1.0, 2.0, 5.0))
    np.testing.assert_allclose(out[0, 2:-2, 0, 0].numpy(), 4.0, atol=0.1)


def test_slices_do_not_mix():
    array = np.zeros((1, 8, 8, 3))
    array[..., 1] = 1
    out = resample(array, size=(8, 8), pixel_spacing=0.5)
    np.testing.assert_allclose(out[0, 3:5, 3:5].numpy().max((0, 1)), [0, 1, 0], atol=1e-5)


@pytest.mark.parametrize("spacing", [(0.43, 0.43, 3.0), (1.7, 0.9, 5.0), (1.0004, 1.0004, 1.0)])
def test_pixel_size_matrix_and_centre(spacing):
    out = resample(np.random.default_rng(0).random((1, 31, 24, 2)), size=(40, 33), spacing=spacing)
    assert out.shape == (1, 40, 33, 2)
    found = np.linalg.norm(out.affine.numpy()[:3, :3], axis=0)
    np.testing.assert_allclose(found, [1.0, 1.0, spacing[2]], rtol=1e-3)
    centre = np.array([30, 23, 1]) / 2 * spacing
    np.testing.assert_allclose((out.affine.numpy() @ [39 / 2, 32 / 2, 0.5, 1])[:3], centre, atol=0.51)


@pytest.mark.parametrize(
    ("box", "cropped_mm"),
    [
        ([[2, 7], [2, 7]], 0.0),  # the grid of 6 x 6 pixels of a 10 x 10 slice begins at 2 and ends at 7
        ([[1, 7], [2, 7]], 2.0),  # one pixel of 2 mm
        ([[2, 7], [2, 9]], 4.0),
    ],
)
def test_cut_body_is_measured(box, cropped_mm):
    array = np.random.default_rng(0).random((1, 10, 10, 1))
    out = resample(array, size=(6, 6), pixel_spacing=2.0, spacing=(2.0, 2.0, 5.0), body_box=box)
    assert out.meta["body_cropped_mm"] == cropped_mm


@pytest.mark.parametrize(("spacing", "size"), [(0, (4, 4)), (-1, (4, 4)), (1, (4,)), (1, (0, 4))])
def test_arguments_must_make_sense(spacing, size):
    with pytest.raises(ValueError, match="must be"):
        ResampleToGridd("image", spacing, size)


def fit(array, size, **options):
    return resample(array, size, pixel_spacing=None, **options)


def test_fit_takes_the_smallest_pixels_that_hold_everything():
    # 6 x 2 pixels on 3 x 3: the longer side decides, pixels are 2 x 2 source pixels; 1 row fits, in the middle
    out = fit(np.ones((1, 6, 2, 1)) * 5, size=(3, 3))
    np.testing.assert_allclose(np.linalg.norm(out.affine.numpy()[:3, :3], axis=0), [2, 2, 5])
    assert out.shape == (1, 3, 3, 1)


@pytest.mark.parametrize(
    ("shape", "spacing", "pixel"),
    [
        ((40, 30), (1.0, 1.0), 40 / 20),  # shrunk: 40 / 20 and 30 / 16
        ((40, 36), (1.0, 1.0), 36 / 16),
        ((10, 8), (1.0, 1.0), 8 / 16),  # enlarged: 10 / 20 and 8 / 16, a perfect fit
        ((5, 8), (1.0, 1.0), 8 / 16),
        ((40, 30), (0.1, 0.4), 30 * 0.4 / 16),  # 4 mm by 12 mm: known pixels count by their ratio
        ((40, 30), (0.2, 0.1), 40 * 0.2 / 20),
        ((20, 16), (0.143, 0.1430004), 0.1430004),  # as large as the grid; a header's rounding
    ],
)
def test_fit_holds_all_of_the_image_with_its_aspect(shape, spacing, pixel):
    out = fit(np.random.default_rng(0).random((1, *shape, 1)), size=(20, 16), spacing=(*spacing, 5.0))
    np.testing.assert_allclose(np.linalg.norm(out.affine.numpy()[:3, :2], axis=0), pixel, rtol=1e-5)
    # the outer borders of the image, half a pixel beyond its outer centres, as indices of the grid
    to_grid = np.linalg.inv(out.affine.numpy()) @ np.diag([*spacing, 5.0, 1.0])
    first = to_grid @ [-0.5, -0.5, 0, 1]
    last = to_grid @ [shape[0] - 0.5, shape[1] - 0.5, 0, 1]
    assert (first[:2] > -0.51).all() and (last[:2] < np.array([20, 16]) - 0.49).all()
    assert max(np.abs(last - first)[:2] - [20, 16]) == pytest.approx(0, abs=1e-3)  # one axis is filled


def test_fit_leaves_an_image_of_the_grids_size_alone():
    array = np.random.default_rng(0).random((1, 20, 16, 2))
    np.testing.assert_allclose(fit(array, size=(20, 16)).numpy(), array, atol=1e-6)
    padded = fit(array[:, :, 2:13], size=(20, 16))  # 11 of 16 columns: 3 before them, 2 behind
    np.testing.assert_allclose(padded.numpy()[:, :, 3:14], array[:, :, 2:13], atol=1e-5)
    np.testing.assert_allclose(padded.numpy()[:, :, 14:], array[:, :, 2:13].min(), atol=1e-5)


def test_fit_snaps_no_pixel_size_that_would_cut():
    # 2001 pixels on 2000: within a thousandth, but the last pixel would be lost
    out = fit(np.ones((1, 2001, 2, 1)), size=(2000, 2))
    assert np.linalg.norm(out.affine.numpy()[:3, 0]) == pytest.approx(2001 / 2000)


def test_fit_makes_no_dark_rim():
    """A body that fills the film is as bright at its edge as in its middle, shrunk and back again."""
    grid = ResampleToGridd("image", None, (8, 8))
    array = np.full((1, 64, 40, 1), 7.0)
    array[0, 32, 20] = 0  # the minimum, else all is floor
    out = grid(volume(array))
    # 40 / 8 = 5 pixels wide and 8 high: columns 1.5 to 6.5 of the grid are film
    np.testing.assert_allclose(out["image"][0, :, 2:6, 0].numpy()[[0, -1]], 7.0, atol=1e-3)
    np.testing.assert_allclose(grid.inverse(out)["image"][0, [0, -1], 10:-10, 0].numpy(), 7.0, atol=1e-3)


def test_nothing_is_reported_cut_from_a_fitted_body():
    out = fit(np.random.default_rng(0).random((1, 50, 30, 1)), size=(8, 8), body_box=[[0, 49], [0, 29]])
    assert out.meta["body_cropped_mm"] == 0.0
