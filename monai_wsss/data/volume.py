"""A volume as it is found in the user's folder: its files, its geometry, what its headers say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class VolumeHeader:
    """Geometry of a usable volume.

    Attributes:
        shape: columns, rows, slices.
        affine: 4x4, array indices to mm (RAS).
        spacing: mm.
        spacing_known: False where nothing states the voxel sizes, so that 1 mm is a default and no measurement.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    spacing: tuple[float, float, float]
    spacing_known: bool = True


@dataclass(frozen=True)
class SeriesTags:
    """What the headers of a DICOM series say; texts are empty where a header says nothing.

    They identify the patient: they serve matching and choosing in memory, and are never written as they are.

    Attributes:
        part: which part of a series that was split, such as "echo time 30 ms"; empty if it is whole.
        plane: axial, coronal, sagittal, oblique or projection.
        burned_in: BurnedInAnnotation, YES, NO or empty.
        instances: SOPInstanceUID of each slice, in slice order.
        instance_numbers: InstanceNumber of each slice, None where it has none.
    """

    patient: str = ""
    study: str = ""
    series: str = ""
    accession: str = ""
    modality: str = ""
    series_description: str = ""
    study_description: str = ""
    protocol: str = ""
    series_number: str = ""
    study_date: str = ""
    manufacturer: str = ""
    model: str = ""
    body_part: str = ""
    image_type: str = ""
    photometric: str = ""
    bits_stored: int = 0
    transfer_syntax: str = ""
    burned_in: str = ""
    plane: str = ""
    part: str = ""
    instances: tuple[str, ...] = ()
    instance_numbers: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class Volume:
    """One volume below the folder searched.

    Attributes:
        files: one NIfTI file, one picture, one multi-frame object, or one DICOM file a slice, in slice order.
        relative: below the folder searched: the file, or for several files the folder that holds them all.
        case: name in clear, unique in the search.
        header: geometry.
        kind: nifti, picture or dicom.
        tags: of a DICOM series.
        frames: frame of each slice, where `files` is one multi-frame object.
        bytes: size of the files together.
        voi, resample: how it is to be read, see `read_volume`.
    """

    files: tuple[Path, ...]
    relative: Path
    case: str
    header: VolumeHeader
    kind: str = "nifti"
    tags: SeriesTags | None = None
    frames: tuple[int, ...] | None = None
    bytes: int = 0
    voi: bool = False
    resample: bool = False

    @property
    def path(self) -> Path:
        """The first file."""
        return self.files[0]
