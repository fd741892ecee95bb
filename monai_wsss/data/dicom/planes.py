"""Names of planes and directions of the patient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
OBLIQUE_DEGREES = 30.0  # from the nearest plane of the body; readers call a slice "axial" well beyond 15 degrees
_PLANES = ("sagittal", "coronal", "axial")
_DIRECTIONS = {  # LPS
    "L": (1.0, 0.0, 0.0),
    "R": (-1.0, 0.0, 0.0),
    "P": (0.0, 1.0, 0.0),
    "A": (0.0, -1.0, 0.0),
    "H": (0.0, 0.0, 1.0),
    "F": (0.0, 0.0, -1.0),
}


def plane_of(orientation: Sequence[float]) -> tuple[str, float]:
    """Return the nearest plane of the body, and the angle to it in degrees; beyond 30 degrees the name is oblique.

    Args:
        orientation: direction of a row, then of a column (LPS).
    """
    normal = np.abs(np.cross(orientation[:3], orientation[3:]))
    axis = int(normal.argmax())
    angle = math.degrees(math.acos(min(normal[axis] / np.linalg.norm(normal), 1.0)))
    return ("oblique" if angle > OBLIQUE_DEGREES else _PLANES[axis]), angle


def projection_affine(directions: Sequence[str], spacing: tuple[float, float] | None) -> np.ndarray:
    """Return the affine (RAS) of an image without a place in the patient, right-handed, from the origin.

    Args:
        directions: PatientOrientation: where a row and a column point to, such as ("L", "F"). Of "AR" the first letter
            counts. Without usable letters rows point to the patient's left and columns to the feet.
        spacing: mm between rows, between columns; None takes 1 mm.
    """
    letters = [direction[:1] for direction in directions]
    known = len(letters) == 2 and all(letter in _DIRECTIONS for letter in letters)
    row, column = (_DIRECTIONS[letter] for letter in (letters if known else ("L", "F")))
    if not np.cross(row, column).any():
        row, column = _DIRECTIONS["L"], _DIRECTIONS["F"]
    between_rows, between_columns = spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(row, between_columns)
    affine[:3, 1] = np.multiply(column, between_rows)
    affine[:3, 2] = np.cross(row, column)
    return LPS_TO_RAS @ affine
