"""Write small DICOM series, classic or as one enhanced object, whose values tell where each voxel lies."""

import numpy as np
from dicom_cells import item, sequence, write_cells
from scipy.spatial.transform import Rotation

SPACING = (0.8, 1.1, 2.5)  # mm between columns, between rows, between slices
SHAPE = (11, 9, 5)  # columns, rows, slices
ORIGIN = np.array([12.5, -34.0, 101.25])
TURN = Rotation.from_euler("xyz", [17, -23, 31], degrees=True).as_matrix()
DIRECTIONS = {  # of a row, and of a column (LPS)
    "axial": ([1, 0, 0], [0, 1, 0]),
    "axial, feet first": ([-1, 0, 0], [0, 1, 0]),
    "axial, prone": ([-1, 0, 0], [0, -1, 0]),
    "coronal": ([1, 0, 0], [0, 0, -1]),
    "coronal, from behind": ([-1, 0, 0], [0, 0, -1]),
    "sagittal": ([0, 1, 0], [0, 0, -1]),
    "sagittal, from the left": ([0, -1, 0], [0, 0, -1]),
    "rows and columns swapped": ([0, 1, 0], [1, 0, 0]),
    "oblique": (TURN[:, 0].tolist(), TURN[:, 1].tolist()),
    "oblique sagittal": (TURN[:, 1].tolist(), (-TURN[:, 2]).tolist()),
}


def affine_of(name, spacing=SPACING, origin=ORIGIN):
    """Array indices (column, row, slice) to LPS, slices ascending along the cross product of row and column."""
    row, column = (np.array(direction, float) for direction in DIRECTIONS[name])
    affine = np.eye(4)
    affine[:3] = np.stack([row * spacing[0], column * spacing[1], np.cross(row, column) * spacing[2], origin], axis=1)
    return affine


def values_of(shape=SHAPE):
    """Every voxel its own value, (columns, rows, slices)."""
    return np.arange(np.prod(shape)).reshape(shape).astype("i2") - 100


def write_series(folder, name="axial", order=None, spacing=SPACING, values=None, syntax="explicit", **elements):
    """One file a slice; `order` gives the number in the acquisition (file name, InstanceNumber) of each slice."""
    folder.mkdir(parents=True, exist_ok=True)
    values, affine = values_of() if values is None else values, affine_of(name, spacing)
    order = range(values.shape[2]) if order is None else order
    for k, number in enumerate(order):
        geometry = {
            "ImageOrientationPatient": [f"{value:.9f}" for direction in DIRECTIONS[name] for value in direction],
            "ImagePositionPatient": [f"{value:.9f}" for value in affine[:3, :3] @ [0, 0, k] + affine[:3, 3]],
            "PixelSpacing": [str(spacing[1]), str(spacing[0])],
            "SliceThickness": str(spacing[2]),
            "StudyInstanceUID": "1.2.3",
            "SeriesInstanceUID": "1.2.3.4",
            "SOPInstanceUID": f"1.2.3.4.{number + 1}",
            "InstanceNumber": number + 1,
            "FrameOfReferenceUID": "1.2.9",
        }
        cells = np.ascontiguousarray(values[..., k].T)
        write_cells(folder / f"{number:03d}.dcm", cells, syntax, **(geometry | elements))
    return folder


def write_enhanced(path, name="axial", order=None, syntax="explicit", **elements):
    """One object; `order` gives the slice that stands in each frame."""
    values, affine = values_of(), affine_of(name)
    order = list(range(values.shape[2]) if order is None else order)
    frames = []
    for k in order:
        position = [f"{value:.9f}" for value in affine[:3, :3] @ [0, 0, k] + affine[:3, 3]]
        frames.append(
            item(
                PlanePositionSequence=sequence(ImagePositionPatient=position),
                FrameContentSequence=sequence(StackID="1", InStackPositionNumber=k + 1),
            )
        )
    shared = item(
        PlaneOrientationSequence=sequence(
            ImageOrientationPatient=[f"{value:.9f}" for direction in DIRECTIONS[name] for value in direction]
        ),
        PixelMeasuresSequence=sequence(
            PixelSpacing=[str(SPACING[1]), str(SPACING[0])],
            SliceThickness=str(SPACING[2]),
            SpacingBetweenSlices=str(SPACING[2]),
        ),
        PixelValueTransformationSequence=sequence(RescaleSlope="2", RescaleIntercept="-3", RescaleType="US"),
    )
    return write_cells(
        path,
        np.ascontiguousarray(values.transpose(2, 1, 0)[order]),
        syntax,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1",
        Modality="MR",
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.4",
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
        **elements,
    )
