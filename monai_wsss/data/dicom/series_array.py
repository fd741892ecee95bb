"""From the files of a DICOM series to one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from monai_wsss.data.dicom.pixels import PixelFile
from monai_wsss.data.dicom.resample import resample_stack
from monai_wsss.data.dicom.series import Series, find_series
from monai_wsss.data.series_rule import SeriesRule, candidates
from monai_wsss.data.tree import walk_files
from monai_wsss.data.volume import Volume
from monai_wsss.errors import InputError


def read_series_array(
    series: Volume | Series, voi: bool = False, resample: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a series into float32 `(columns, rows, slices)` with its 4x4 affine (RAS, mm).

    One array is allocated and filled slice by slice; resampling needs a second one.

    Args:
        series: files, or frames of one file, in slice order.
        voi: apply the VOI LUT or window of a projection X-ray.
        resample: mend gaps, uneven spacing and tilt; the geometry must have been found with it, too.

    Raises:
        InputError: an unusable series, or a file as in `read_frames`.
    """
    if series.header is None:
        raise InputError(f"{series.files[0]}: {getattr(series, 'problem', '')}")
    slices = _slices(series)
    array, file = None, None
    for k, (path, frame) in enumerate(slices):
        if file is None or path != file.path:
            file = PixelFile(path, voi)
        size = file.layout.rows, file.layout.columns
        if array is None:
            array = np.empty((len(slices), *size), np.float32)
        elif array.shape[1:] != size:
            raise InputError(f"{path}: another size than the other slices; leave it out")
        array[k] = file.frame(frame)
    assert array is not None  # a series has a file
    volume = array.transpose(2, 1, 0)
    if resample and len(slices) > 1:
        stack = series.stack if isinstance(series, Series) else _same(series).stack
        volume = volume if stack is None else resample_stack(volume, stack)
    if volume.shape != series.header.shape:
        raise InputError(f"{slices[0][0]}: its slices have to be resampled, or changed meanwhile; find them again")
    return volume, series.header.affine


def choose_series(sources: Sequence[Path], rule: str | None = None, resample: bool = False) -> Series:
    """Return the one volume among these files and folders.

    Args:
        sources: DICOM files, and folders that are searched.
        rule: text of a `SeriesRule`; None wants a single usable series.
        resample: accept gaps, uneven spacing and tilt.

    Raises:
        InputError: none that is usable or fits, or several: they are listed.
    """
    chooser = SeriesRule.parse(rule) if rule else None
    files = [file for source in sources for file in (walk_files(source) if source.is_dir() else (source,))]
    place = sources[0] if len(sources) == 1 else sources[0].parent
    if missing := next((file for file in files if not file.is_file()), None):
        raise InputError(f"{missing}: not found")
    found = find_series(files, resample)
    usable = [(series, _as_volume(series)) for series in found if not series.problem]
    chosen = [(series, volume) for series, volume in usable if chooser is None or chooser.fits(volume)]
    if len(chosen) == 1:
        return chosen[0][0]
    if not found:
        raise InputError(f"{place}: holds no DICOM image")
    if not usable:
        raise InputError(f"{place}: {found[0].problem}")
    listed = "; ".join(candidates(volume for _, volume in chosen or usable))
    if not chosen:
        raise InputError(f"{place}: no series fits the rule {chooser}; there are {listed}")
    raise InputError(f"{place}: holds {len(chosen)} series, choose one with a rule such as Modality=MR: {listed}")


def _slices(series: Volume | Series) -> list[tuple[Path, int]]:
    if series.frames is not None:
        return [(series.files[0], frame) for frame in series.frames]
    return [(file, 0) for file in series.files]


def _as_volume(series: Series) -> Volume:
    assert series.header is not None  # it is usable
    first = series.files[0]
    return Volume(series.files, Path(first.name), "", series.header, "dicom", series.tags, series.frames)


def _same(volume: Volume) -> Series:
    """The series of these files, with the grid that a `Volume` does not carry."""
    for series in find_series(volume.files, resample=True):
        if set(series.files) == set(volume.files) and series.frames == volume.frames and not series.problem:
            return series if series.files == volume.files else replace(series, stack=None)
    raise InputError(f"{volume.path}: its files changed meanwhile; find them again")
