"""MONAI's reader of DICOM series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import SpaceKeys

from monai_wsss.data.dicom.series import Series
from monai_wsss.data.dicom.series_array import choose_series, read_series_array

__all__ = ["DicomSeriesReader", "read_series_array"]

_SUFFIXES = (".dcm", ".dicom", ".ima", "")


class DicomSeriesReader(ImageReader):
    """Read one DICOM series, classic or multi-frame, as a volume; a drop-in for MONAI's readers in `LoadImage`.

    Slices are sorted by position along their normal. A folder that holds several usable series needs a rule, and what
    cannot be stacked truly (missing slices, tilt, two slices at one position) is refused. The modality LUT is always
    applied, MONOCHROME1 inverted once. The metadata holds geometry only, nothing of the patient.

    Args:
        series: rule that chooses, such as `Modality=MR, SeriesDescription~FLAIR`; None wants a single usable series.
        voi: apply the VOI LUT or window of a projection X-ray.
        resample: mend gaps, uneven spacing and tilt.

    Example:
        `LoadImage(reader=DicomSeriesReader(series="Modality=MR"))("study")`
    """

    def __init__(self, series: str | None = None, voi: bool = False, resample: bool = False) -> None:
        super().__init__()
        self.series, self.voi, self.resample = series, voi, resample

    def verify_suffix(self, filename: Any) -> bool:
        """Whether all are folders, or files that are DICOM by suffix or content."""
        return all(_may_be_dicom(path) for path in _paths(filename))

    def read(self, data: Any, **_: Any) -> Series:
        """Find the series; pixels are not decoded yet.

        Args:
            data: file, folder, or a list of them, nested as may be.

        Raises:
            InputError: see `choose_series`.
        """
        return choose_series(list(_paths(data)), self.series, self.resample)

    def get_data(self, img: Series) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the array `(columns, rows, slices)`, float32, and its metadata.

        Raises:
            InputError: see `read_series_array`.
        """
        array, affine = read_series_array(img, self.voi, self.resample)
        assert img.header is not None
        return array, {
            "affine": affine,
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(array.shape),
            "space": SpaceKeys.RAS,
            "original_channel_dim": "no_channel",
            "spacing_known": img.header.spacing_known,
        }


def _paths(data: Any) -> Iterator[Path]:
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        for part in data:
            yield from _paths(part)
    else:
        yield Path(data)


def _may_be_dicom(path: Path) -> bool:
    if path.is_dir() or path.suffix.lower() in _SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
