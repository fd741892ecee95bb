"""From the positions of slices to one volume, or to the reason why they make none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_wsss.data.dicom.planes import LPS_TO_RAS
from monai_wsss.errors import InputError

UNIT_TOLERANCE = 1e-3  # of the length of a direction, and of the cosine between row and column
SAME_POSITION = 0.01  # two slices nearer than this share of the usual gap have the same position ...
SAME_POSITION_MM = 1e-3  # ... or nearer than this
GAP_TOLERANCE = 0.05  # a slice may lie off the regular grid by this share of a gap ...
GAP_TOLERANCE_MM = 0.05  # ... or by this much, as scanners round
DRIFT_TOLERANCE = 0.5  # pixels that a slice may lie beside the normal through the first one
_FIELD_OF_VIEW_MM = (1.0, 5000.0)  # in plane
_MAX_FILLED = 4  # slices in all per slice that is there: resampling is no way to invent a volume
_RESAMPLE = "; resample on request"


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order, and the grid of the volume.

    Attributes:
        order: index of each slice among those given, ascending along the normal.
        affine: 4x4, indices (column, row, slice) to mm (RAS).
        shape: columns, rows, slices.
        offsets: (N, 3) where each slice lies on the grid: columns and rows that it is shifted by, slice index.
        problem: why the slices had to be resampled; empty if each is a slice of the volume as it is.
    """

    order: tuple[int, ...]
    affine: np.ndarray
    shape: tuple[int, int, int]
    offsets: np.ndarray
    problem: str = ""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Mm between columns, rows and slices."""
        columns, rows, slices = (float(value) for value in np.linalg.norm(self.affine[:3, :3], axis=0))
        return columns, rows, slices


def stack(
    positions: Sequence[Sequence[float]] | np.ndarray,
    orientation: Sequence[float],
    pixel_spacing: Sequence[float],
    columns: int,
    rows: int,
    resample: bool = False,
    thickness: float | None = None,
) -> Stack:
    """Sort parallel slices along their normal and check that they make a volume; DICOM PS3.3 C.7.6.2.

    affine = LPS to RAS of [row * spacing between columns, column * spacing between rows, normal * gap, first position]

    Args:
        positions: (N, 3) centre of each slice's first pixel, mm (LPS).
        orientation: direction of a row, then of a column (LPS).
        pixel_spacing: mm between rows, between columns.
        columns, rows: size of a slice.
        resample: accept gaps, uneven spacing and tilt, and describe a regular grid; see `resample_stack`.
        thickness: mm, for the third axis of a single slice.

    Raises:
        InputError: unusable directions or spacing, duplicate positions; without `resample` missing slices, uneven
            spacing, tilt.
    """
    points = np.asarray(positions, dtype=float).reshape(-1, 3)
    row, column, normal = _directions(orientation)
    between_rows, between_columns = _spacing(pixel_spacing, columns, rows)
    if not np.isfinite(points).all():
        raise InputError("a slice's position is no number")
    depths = points @ normal
    order = np.argsort(depths, kind="stable")
    points, depths = points[order], depths[order]
    first, count = points[0], len(points)
    slices, step, problem = count, (thickness if thickness and thickness > 0 else 1.0), ""
    if count > 1:
        gaps, length = np.diff(depths), float(depths[-1] - depths[0])
        usual = float(np.median(gaps))
        _check_duplicates(gaps, usual)
        problem = _gap_problem(gaps, depths, usual)
        if problem:
            slices = max(round(length / usual), 1) + 1
        step = length / (slices - 1)
    shifts = (points - first) @ np.stack([row / between_columns, column / between_rows], axis=1)
    drift = float(np.abs(shifts).max())
    if drift > DRIFT_TOLERANCE:
        problem = problem or _drift_problem(points - first, normal)
    if problem and not resample:
        raise InputError(problem + _RESAMPLE)
    if slices > _MAX_FILLED * count:
        raise InputError(f"{count} slices would have to fill {slices}; choose other slices")
    size, index = (columns, rows, slices), np.arange(count, dtype=float)
    if problem:
        index = (depths - depths[0]) / step
    if drift > DRIFT_TOLERANCE:
        first, size, shifts = _enlarge(first, size, shifts, row * between_columns, column * between_rows)
    else:
        shifts = np.zeros_like(shifts)
    affine = np.eye(4)
    affine[:3] = np.stack([row * between_columns, column * between_rows, normal * step, first], axis=1)
    offsets = np.column_stack([shifts, index])
    return Stack(tuple(int(k) for k in order), LPS_TO_RAS @ affine, size, offsets, problem)


def _directions(orientation: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row, column = np.asarray(orientation, dtype=float).reshape(2, 3)
    lengths = np.linalg.norm([row, column], axis=1)
    if not (np.isfinite(lengths).all() and np.abs(lengths - 1).max() <= UNIT_TOLERANCE):
        raise InputError("the directions of rows and columns are no unit vectors; its header is broken")
    if abs(float(row @ column)) > UNIT_TOLERANCE:
        raise InputError("rows and columns are not at right angles; its header is broken")
    normal = np.cross(row, column)
    return row / lengths[0], column / lengths[1], normal / np.linalg.norm(normal)


def _spacing(pixel_spacing: Sequence[float], columns: int, rows: int) -> tuple[float, float]:
    between_rows, between_columns = (float(value) for value in pixel_spacing)
    extent = (between_columns * columns, between_rows * rows)
    if not _FIELD_OF_VIEW_MM[0] <= min(extent) <= max(extent) <= _FIELD_OF_VIEW_MM[1]:
        raise InputError(
            f"pixels of {between_columns:.4g} x {between_rows:.4g} mm give an impossible field of view; "
            "its header is broken"
        )
    return between_rows, between_columns


def _check_duplicates(gaps: np.ndarray, usual: float) -> None:
    same = np.flatnonzero(gaps <= max(SAME_POSITION * usual, SAME_POSITION_MM))
    if len(same):
        more = f", and {len(same) - 1} more pairs" if len(same) > 1 else ""
        raise InputError(f"slices {same[0] + 1} and {same[0] + 2} have the same position{more}")


def _gap_problem(gaps: np.ndarray, depths: np.ndarray, usual: float) -> str:
    """Return what is wrong with the distances; slices are counted from 1."""
    tolerance = max(GAP_TOLERANCE * usual, GAP_TOLERANCE_MM)
    multiples = np.rint(gaps / usual)
    wide = np.flatnonzero(multiples > 1)
    if len(wide) and np.all(np.abs(gaps - multiples * usual) <= 2 * tolerance):
        missing, k = int((multiples[wide] - 1).sum()), int(wide[0])
        where = f"between slices {k + 1} and {k + 2}" + (
            f" and at {len(wide) - 1} more places" if len(wide) > 1 else ""
        )
        return f"{missing} {'slice is' if missing == 1 else 'slices are'} missing {where}"
    regular = np.linspace(depths[0], depths[-1], len(depths))
    if np.abs(depths - regular).max() > tolerance:
        return f"slices are unevenly spaced, from {gaps.min():.4g} to {gaps.max():.4g} mm"
    return ""


def _drift_problem(path: np.ndarray, normal: np.ndarray) -> str:
    """Return whether the slices lean to one side, as with a tilted gantry, or are shifted one by one."""
    depths = path @ normal
    aside = path - np.outer(depths, normal)
    slope = depths @ aside / (depths @ depths)
    if np.abs(aside - np.outer(depths, slope)).max() > 0.25 * np.abs(aside).max():
        return "slices are shifted against one another in plane"
    angle = math.degrees(math.atan(float(np.linalg.norm(slope))))
    return f"slices are stacked at {angle:.1f} degrees to their normal, as with a tilted gantry"


def _enlarge(
    first: np.ndarray, size: tuple[int, int, int], shifts: np.ndarray, row: np.ndarray, column: np.ndarray
) -> tuple[np.ndarray, tuple[int, int, int], np.ndarray]:
    """Return origin, size and shifts of a grid that holds every slice as a whole."""
    low, high = np.floor(shifts.min(axis=0)), np.ceil(shifts.max(axis=0))
    extra_columns, extra_rows = (int(extra) for extra in high - low)
    origin = first + low[0] * row + low[1] * column
    return origin, (size[0] + extra_columns, size[1] + extra_rows, size[2]), shifts - low
