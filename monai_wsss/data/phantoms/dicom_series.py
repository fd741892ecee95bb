"""The series of one study, as a scanner of each modality makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import orientations
from PIL import Image, ImageDraw
from scipy import ndimage

from monai_wsss.data.phantoms.phantom import Phantom

_PLANES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIR"}  # columns, rows and slices run towards


@dataclass(frozen=True)
class PlannedSeries:
    """One series before it is written.

    Attributes:
        name: what a vendor's SeriesDescription says in its own words.
        parts: arrays (W, H, D) with their affines; a localizer has one for each plane.
        main: whether the labels and the true mask speak of it.
        tags: of the acquisition, by keyword.
    """

    name: str
    parts: tuple[tuple[np.ndarray, np.ndarray], ...]
    main: bool = False
    tags: dict[str, Any] = field(default_factory=dict)


def plan_series(modality: str, phantom: Phantom, index: int) -> list[PlannedSeries]:
    """Return the series of patient `index` in the order of their making."""
    return {"MR": _mr, "CT": _ct, "DX": _dx}[modality](phantom, index)


def tilt(affine: np.ndarray, degrees: float) -> np.ndarray:
    """Return an affine that tips the slices about the left-right axis, and a third of that about the long axis."""
    a, b = np.deg2rad([degrees, degrees / 3])
    tip = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return nib.affines.from_matvec(turn @ tip) @ affine


def reformat(array: np.ndarray, affine: np.ndarray, plane: str, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the volume cut in another plane; rows thicker than the columns are repeated to about their size.

    Args:
        array: (W, H, D).
        affine: 4x4, indices to mm (RAS).
        plane: axial, coronal or sagittal.
        step: every `step`-th slice is kept.
    """
    wanted = orientations.axcodes2ornt(tuple(_PLANES[plane]))
    moves = orientations.ornt_transform(orientations.io_orientation(affine), wanted)
    affine = affine @ orientations.inv_ornt_aff(moves, array.shape)
    array = orientations.apply_orientation(array, moves)[:, :, ::step]
    width, height, _ = nib.affines.voxel_sizes(affine)
    times = max(1, round(height / width))
    thin = np.diag([1.0, 1 / times, step, 1.0])
    thin[1, 3] = (1 / times - 1) / 2  # the first of the rows that replace one lies before its centre
    return np.repeat(array, times, axis=1), affine @ thin


def burn_in(image: np.ndarray, text: str) -> np.ndarray:
    """Return an image (W, H, 1) with `text` in its upper left corner."""
    stamp = Image.new("1", image.shape[:2])
    ImageDraw.Draw(stamp).text((4, 4), text, fill=1)
    return np.where(np.asarray(stamp).T[..., None], image.max(), image)


def _middle(array: np.ndarray, affine: np.ndarray, plane: str) -> tuple[np.ndarray, np.ndarray]:
    array, affine = reformat(array, affine, plane)
    k = array.shape[2] // 2
    return array[:, :, k : k + 1], affine @ nib.affines.from_matvec(np.eye(3), [0, 0, k])


def _mr(phantom: Phantom, index: int) -> list[PlannedSeries]:
    acquisition: dict[str, Any] = {"MRAcquisitionType": "2D", "ScanOptions": "", "BodyPartExamined": "HEAD"}
    short = {**acquisition, "ScanningSequence": "SE", "SequenceVariant": "SK", "RepetitionTime": 520, "EchoTime": 9}
    flair = {**acquisition, "ScanningSequence": ["SE", "IR"], "SequenceVariant": "SK", "RepetitionTime": 9000}
    flair |= {"EchoTime": 110, "InversionTime": 2500}
    t1 = phantom.extra["t1"]
    planned = [
        PlannedSeries("localizer", tuple(_middle(t1, phantom.affine, plane) for plane in _PLANES), tags=short),
        PlannedSeries("t1", ((t1, phantom.affine),), tags=short),
        PlannedSeries("flair", ((phantom.image, phantom.affine),), main=True, tags=flair),
    ]
    if index % 3 == 0:
        derived = {**short, "ImageType": ["DERIVED", "SECONDARY", "MPR"]}
        planned.append(PlannedSeries("t1 coronal", (reformat(t1, phantom.affine, "coronal", 4),), tags=derived))
    return planned


def _ct(phantom: Phantom, index: int) -> list[PlannedSeries]:
    tags = {"KVP": 120, "BodyPartExamined": "HEAD", "RescaleType": "HU"}
    side, affine = reformat(phantom.image, phantom.affine, "sagittal")
    middle = affine @ nib.affines.from_matvec(np.eye(3), [0, 0, (side.shape[2] - 1) / 2])
    scout = {**tags, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    planned = [
        PlannedSeries("scout", ((side.mean(axis=2, keepdims=True), middle),), tags=scout),
        PlannedSeries("brain", ((phantom.image, phantom.affine),), True, {**tags, "ConvolutionKernel": "H31s"}),
    ]
    if index % 2 == 0:
        sharp = 2.0 * phantom.image - ndimage.gaussian_filter(phantom.image.astype(float), (1, 1, 0))
        kernel = {**tags, "ConvolutionKernel": "H60s"}
        planned.append(PlannedSeries("bone", ((sharp, phantom.affine),), tags=kernel))
    return planned


def _dx(phantom: Phantom, index: int) -> list[PlannedSeries]:
    tags: dict[str, Any] = {"BodyPartExamined": "CHEST", "KVP": 125, "PresentationIntentType": "FOR PRESENTATION"}
    tags |= {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": 1}
    front = {**tags, "ViewPosition": "PA", "PatientOrientation": ["L", "F"]}
    planned = [PlannedSeries("pa", ((phantom.image, phantom.affine),), True, front)]
    if index % 3 == 0:  # not drawn, but of the right size and brightness
        blurred = ndimage.gaussian_filter(phantom.image.astype(float), (phantom.image.shape[0] / 12, 2, 0))
        side = {**tags, "ViewPosition": "LL", "PatientOrientation": ["P", "F"]}
        planned.append(PlannedSeries("lateral", ((blurred, phantom.affine),), tags=side))
    return planned
