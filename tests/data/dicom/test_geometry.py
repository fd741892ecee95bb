import math

import numpy as np
import pytest

from monai_wsss.data.dicom.geometry import stack
from monai_wsss.data.dicom.planes import plane_of, projection_affine
from monai_wsss.errors import InputError

AXIAL, CORONAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)
UP = [[10, 20, z] for z in (30, 35, 40)]


def build(positions, orientation=AXIAL, spacing=(2, 1), columns=40, rows=30, **options):
    return stack(positions, orientation, spacing, columns, rows, **options)


@pytest.mark.parametrize(
    ("orientation", "positions", "affine"),
    [
        # RAS is LPS with x and y reversed; spacing between rows is 2, between columns 1.
        (AXIAL, UP, [[-1, 0, 0, -10], [0, -2, 0, -20], [0, 0, 5, 30], [0, 0, 0, 1]]),
        # The normal (1,0,0) x (0,0,-1) = (0,1,0) points to posterior, which is -y in RAS.
        (CORONAL, [[0, y, 0] for y in (0, 4)], [[-1, 0, 0, 0], [0, 0, -4, 0], [0, -2, 0, 0], [0, 0, 0, 1]]),
        # (0,1,0) x (0,0,-1) = (-1,0,0): to the right, so that x = 0 is the last slice, and +x in RAS.
        (SAGITTAL, [[-3 * k, 0, 0] for k in range(3)], [[0, 0, 3, 0], [-1, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1]]),
    ],
)
def test_affine(orientation, positions, affine):
    found = build(positions, orientation)
    np.testing.assert_allclose(found.affine, affine, atol=1e-12)
    assert found.shape == (40, 30, len(positions)) and found.problem == ""
    assert found.order == tuple(range(len(positions)))


def test_slices_are_sorted_along_the_normal():
    found = build([UP[1], UP[2], UP[0]])
    assert found.order == (2, 0, 1)
    np.testing.assert_array_equal(found.affine, build(UP).affine)
    assert found.spacing == (1.0, 2.0, 5.0)


def test_one_slice_takes_the_thickness():
    assert build([[0, 0, 0]], thickness=7.5).spacing == (1.0, 2.0, 7.5)
    assert build([[0, 0, 0]]).spacing == (1.0, 2.0, 1.0)


def heights(*values):
    return [[0, 0, z] for z in values]


@pytest.mark.parametrize(
    ("positions", "options", "message"),
    [
        (heights(0, 5, 5, 10), {}, "slices 2 and 3 have the same position"),
        (heights(0, 0, 5, 5, 10), {}, "slices 1 and 2 have the same position, and 1 more pairs"),
        (heights(3, 3, 3), {}, "slices 1 and 2 have the same position"),
        (heights(0, 5, 10, 20, 25), {}, "1 slice is missing between slices 3 and 4"),
        (heights(0, 5, 10, 25, 30, 45), {}, "4 slices are missing between slices 3 and 4 and at 1 more places"),
        (heights(0, 5, 10, 18, 23), {}, "slices are unevenly spaced, from 5 to 8 mm"),
        (heights(0, 5, 10.4, 15), {}, "slices are unevenly spaced, from 4.6 to 5.4 mm"),
        # tan(17 degrees) * 5 mm = 1.5287 mm a slice
        (
            [[0, 1.5287 * k, 5 * k] for k in range(4)],
            {},
            "stacked at 17.0 degrees to their normal, as with a tilted gantry",
        ),
        ([[0, y, 5 * k] for k, y in enumerate((0, 3, 0, 3))], {}, "slices are shifted against one another in plane"),
        (heights(0, 5), {"orientation": (1, 0, 0, 0, 0.9, 0)}, "no unit vectors"),
        (heights(0, 5), {"orientation": (1, 0, 0, 0.6, 0.8, 0)}, "not at right angles"),
        (heights(0, 5), {"orientation": (1, 0, 0, 0, math.nan, 0)}, "no unit vectors"),
        (heights(0, math.nan), {}, "a slice's position is no number"),
        (heights(0, 5), {"spacing": (0, 1)}, "impossible field of view"),
        (heights(0, 5), {"spacing": (1, 200)}, "pixels of 200 x 1 mm give an impossible field of view"),
    ],
)
def test_refused(positions, options, message):
    with pytest.raises(InputError, match=message):
        build(positions, **options)


@pytest.mark.parametrize(
    "positions",
    [
        heights(0, 5.04, 9.96, 15),  # rounded by the scanner
        heights(-10.1, -6.7, -3.4, -0.1, 3.2, 6.6),  # 3.33 mm rounded to 0.1
        heights(0, 0.1, 0.2),
        [[0, 0.05 * k, 5 * k] for k in range(11)],  # 0.5 mm aside: a quarter of the 2 mm between rows
        heights(0, -5, -10),
    ],
)
def test_accepted(positions):
    assert build(positions).problem == ""


@pytest.mark.parametrize("bad", [heights(0, 5, 5, 10), heights(0, 1, 2, 50)])
def test_resampling_does_not_make_up_for_everything(bad):
    with pytest.raises(InputError, match=r"same position|4 slices would have to fill 51"):
        build(bad, resample=True)


def test_a_gap_to_be_filled():
    found = build(heights(0, 5, 10, 20, 25), resample=True)
    assert found.shape == (40, 30, 6) and found.spacing == (1.0, 2.0, 5.0)
    np.testing.assert_allclose(found.offsets[:, 2], [0, 1, 2, 4, 5])
    assert not found.offsets[:, :2].any()
    assert found.problem == "1 slice is missing between slices 3 and 4"


def test_a_tilt_to_be_straightened():
    # Each slice lies 4 mm further to posterior, 2 rows of 2 mm; the grid grows by 6 rows to hold all four slices.
    found = build([[0, 4 * k, 5 * k] for k in range(4)], resample=True)
    assert found.shape == (40, 36, 4)
    np.testing.assert_allclose(found.offsets, [[0, 2 * k, k] for k in range(4)], atol=1e-12)
    # To anterior: the first slice lies 6 rows inside, so the grid begins 12 mm further to anterior.
    found = build([[0, -4 * k, 5 * k] for k in range(4)], resample=True)
    np.testing.assert_allclose(found.offsets, [[0, 6 - 2 * k, k] for k in range(4)], atol=1e-12)
    np.testing.assert_allclose(found.affine[:3, 3], [0, 12, 0], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_every_slice_is_where_its_header_says(seed):
    """affine @ (0, 0, k, 1) is slice k's position, whatever the rotation; and the grid is right-handed."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    row, column = rotation[:, 0], rotation[:, 1]
    positions = rng.normal(size=3) * 50 + np.arange(6)[:, None] * 3.7 * np.cross(row, column)
    shuffled = rng.permutation(6)
    found = build(positions[shuffled], (*row, *column), (0.8, 0.6), 400, 300)
    assert [shuffled[k] for k in found.order] == list(range(6))
    for k, position in enumerate(positions):
        np.testing.assert_allclose((found.affine @ [0, 0, k, 1])[:3], position * [-1, -1, 1], atol=1e-9)
    assert np.linalg.det(found.affine[:3, :3]) == pytest.approx(0.8 * 0.6 * 3.7)


@pytest.mark.parametrize(
    ("orientation", "plane", "angle"),
    [
        (AXIAL, "axial", 0),
        (CORONAL, "coronal", 0),
        (SAGITTAL, "sagittal", 0),
        ((1, 0, 0, 0, math.cos(0.4), math.sin(0.4)), "axial", math.degrees(0.4)),  # 23 degrees, along the orbit
        ((1, 0, 0, 0, math.cos(0.6), math.sin(0.6)), "oblique", math.degrees(0.6)),  # 34 degrees
    ],
)
def test_plane(orientation, plane, angle):
    found = plane_of(orientation)
    assert found[0] == plane and found[1] == pytest.approx(angle, abs=1e-6)


@pytest.mark.parametrize(
    ("directions", "columns", "rows"),
    [
        (("L", "F"), [-1, 0, 0], [0, 0, -1]),
        (("R", "F"), [1, 0, 0], [0, 0, -1]),
        (("P", "F"), [0, -1, 0], [0, 0, -1]),  # lateral
        (("A", "FR"), [0, 1, 0], [0, 0, -1]),  # oblique mammogram
        ((), [-1, 0, 0], [0, 0, -1]),
        (("L", "R"), [-1, 0, 0], [0, 0, -1]),  # nonsense
        (("X", "F"), [-1, 0, 0], [0, 0, -1]),
    ],
)
def test_projection(directions, columns, rows):
    affine = projection_affine(directions, (0.5, 0.25))
    np.testing.assert_allclose(affine[:3, 0], np.multiply(columns, 0.25))
    np.testing.assert_allclose(affine[:3, 1], np.multiply(rows, 0.5))
    assert np.linalg.det(affine[:3, :3]) == pytest.approx(0.125)
