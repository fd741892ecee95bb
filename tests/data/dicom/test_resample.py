import numpy as np
import pytest

from monai_wsss.data.dicom.geometry import stack
from monai_wsss.data.dicom.resample import resample_stack

COLUMNS, ROWS = 12, 10


def field(lps):
    """A linear function of the place: linear interpolation must return it exactly."""
    return lps @ [0.5, -1.0, 2.0] + 7


def slices_of(positions, row, column, spacing):
    """Sample `field` at every pixel of every slice: (columns, rows, N)."""
    i, j = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS), indexing="ij")
    pixels = i[..., None] * np.multiply(row, spacing[1]) + j[..., None] * np.multiply(column, spacing[0])
    return np.stack([field(position + pixels) for position in np.asarray(positions, float)], axis=-1)


ROTATED = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
NORMAL = np.cross(ROTATED[:, 0], ROTATED[:, 1])


@pytest.mark.parametrize(
    "positions",
    [
        [5 * k * NORMAL for k in (0, 1, 2, 4, 5)],  # a slice is missing
        [z * NORMAL for z in (0, 4, 9, 15, 19)],  # uneven
        [5 * k * NORMAL + 1.3 * k * ROTATED[:, 1] for k in range(5)],  # tilted
        [5 * k * NORMAL - 2.1 * k * ROTATED[:, 0] + 0.8 * k * ROTATED[:, 1] for k in (0, 1, 3, 4)],  # both
    ],
)
def test_a_linear_field_is_met_at_every_voxel(positions):
    row, column, spacing = ROTATED[:, 0], ROTATED[:, 1], (1.5, 0.8)
    found = stack(positions, (*row, *column), spacing, COLUMNS, ROWS, resample=True)
    array = slices_of([positions[k] for k in found.order], row, column, spacing)
    volume = resample_stack(array, found)
    assert volume.shape == found.shape and volume.dtype == np.float32
    index = np.stack(np.meshgrid(*map(np.arange, found.shape), indexing="ij"), axis=-1)
    lps = (index @ found.affine[:3, :3].T + found.affine[:3, 3]) * [-1, -1, 1]
    inside = volume > array.min()  # elsewhere no slice reaches
    np.testing.assert_allclose(volume[inside], field(lps)[inside], atol=1e-4)
    assert inside.mean() > 0.25


def test_slices_that_fit_stay_as_they_are():
    positions = [[0, 0, z] for z in (0, 5, 10, 20)]
    found = stack(positions, (1, 0, 0, 0, 1, 0), (1, 1), 3, 2, resample=True)
    array = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    volume = resample_stack(array, found)
    np.testing.assert_array_equal(volume[..., [0, 1, 2, 4]], array)
    np.testing.assert_allclose(volume[..., 3], (array[..., 2] + array[..., 3]) / 2, rtol=1e-6)


def test_a_regular_stack_is_returned_as_it_is():
    found = stack([[0, 0, z] for z in (0, 5)], (1, 0, 0, 0, 1, 0), (1, 1), 3, 2, resample=True)
    array = np.ones((3, 2, 2), np.float32)
    assert resample_stack(array, found) is array


def test_air_where_no_slice_reaches():
    # 4 mm aside a slice of 5 mm, 2 mm between rows: the grid has 2 + 2 rows, half of each slice is outside.
    found = stack([[0, 4 * k, 5 * k] for k in range(2)], (1, 0, 0, 0, 1, 0), (2, 1), 3, 2, resample=True)
    volume = resample_stack(np.full((3, 2, 2), 50.0) - [[[0, 90]]], found)
    np.testing.assert_array_equal(volume[0].T, [[50, 50, -40, -40], [-40, -40, -40, -40]])
