"""Read a volume of any kind: NIfTI, DICOM or picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_wsss.data.dicom.series_array import choose_series, read_series_array
from monai_wsss.data.nifti import SUFFIXES, read_nifti
from monai_wsss.data.picture import PICTURE_SUFFIXES, read_picture
from monai_wsss.data.volume import Volume
from monai_wsss.data.voxel_size import voxel_size_is_known
from monai_wsss.errors import InputError


@dataclass(frozen=True)
class LoadedVolume:
    """A volume in memory.

    Attributes:
        array: float32 `(columns, rows, slices)`, or with three colours `(columns, rows, slices, 3)`.
        affine: 4x4, array indices to mm (RAS).
        spacing_known: False where 1 mm is a default and no measurement.
        files: that it was read from, in slice order.
    """

    array: np.ndarray
    affine: np.ndarray
    spacing_known: bool
    files: tuple[Path, ...]


def read_volume(
    source: Volume | str | Path | Sequence[str | Path],
    voi: bool = False,
    resample: bool = False,
    series: str | None = None,
    colour: bool = False,
) -> LoadedVolume:
    """Read a volume, whatever its kind.

    Args:
        source: as found by `find_volumes`; or a NIfTI file, a picture, a DICOM file or folder, a list of DICOM files.
        voi: apply the VOI LUT or window of a projection X-ray.
        resample: mend gaps, uneven spacing and tilt of a DICOM series.
        series: rule that chooses among the series of a folder.
        colour: give three colours, of a grey volume and of DICOM three times the grey value; else colours become
            luminance.

    Raises:
        InputError: see `read_nifti`, `read_picture`, `choose_series` and `read_series_array`.
    """
    if isinstance(source, Volume):
        if source.kind == "dicom":
            array, affine = read_series_array(source, voi or source.voi, resample or source.resample)
            return LoadedVolume(_coloured(array, colour), affine, source.header.spacing_known, source.files)
        return _read_file(source.files[0], colour)
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(path) for path in source]
    if not paths:
        raise InputError("an empty list of files is no volume")
    if len(paths) == 1 and paths[0].name.lower().endswith((*SUFFIXES, *PICTURE_SUFFIXES)) and not paths[0].is_dir():
        return _read_file(paths[0], colour)
    chosen = choose_series(paths, series, resample)
    array, affine = read_series_array(chosen, voi, resample)
    assert chosen.header is not None
    return LoadedVolume(_coloured(array, colour), affine, chosen.header.spacing_known, chosen.files)


def _coloured(array: np.ndarray, colour: bool) -> np.ndarray:
    return np.repeat(array[..., None], 3, axis=-1) if colour else array


def _read_file(path: Path, colour: bool) -> LoadedVolume:
    if path.name.lower().endswith(SUFFIXES):
        array, affine = read_nifti(path, colour)
        return LoadedVolume(array, affine, voxel_size_is_known(nib.load(path).header), (path,))
    array, affine = read_picture(path, colour=colour)
    return LoadedVolume(array, affine, False, (path,))
