"""Functional groups of an enhanced multi-frame object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from monai_wsss.data.phantoms.dicom_dataset import decimal


def add_functional_groups(
    data: Dataset, lps: np.ndarray, order: Sequence[int], slope: float = 1.0, intercept: float = 0.0
) -> None:
    """Add NumberOfFrames, the geometry and the modality LUT of all frames to `data`.

    Args:
        data: changed in place.
        lps: 4x4, column, row and slice index to mm (LPS), orthogonal axes.
        order: slice of each frame.
        slope, intercept: value = slope * stored + intercept.
    """
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    measures = Dataset()
    measures.PixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]  # between rows first
    measures.SliceThickness = measures.SpacingBetweenSlices = decimal(spacing[2])
    orientation = Dataset()
    orientation.ImageOrientationPatient = [decimal(v) for v in (*directions[:, 0], *directions[:, 1])]
    values = Dataset()
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = decimal(slope), decimal(intercept), "US"
    shared = Dataset()
    shared.PixelMeasuresSequence = DicomSequence([measures])
    shared.PlaneOrientationSequence = DicomSequence([orientation])
    shared.PixelValueTransformationSequence = DicomSequence([values])
    data.NumberOfFrames = len(order)
    data.SharedFunctionalGroupsSequence = DicomSequence([shared])
    data.PerFrameFunctionalGroupsSequence = DicomSequence([_frame(lps, k) for k in order])


def _frame(lps: np.ndarray, k: int) -> Dataset:
    content, position, frame = Dataset(), Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber = "1", k + 1
    content.DimensionIndexValues = [1, k + 1]
    position.ImagePositionPatient = [decimal(v) for v in lps[:3] @ [0, 0, k, 1]]
    frame.FrameContentSequence = DicomSequence([content])
    frame.PlanePositionSequence = DicomSequence([position])
    return frame
