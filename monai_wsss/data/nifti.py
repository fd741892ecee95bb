"""Read NIfTI volumes, and say in one line what is wrong with the ones that cannot be used."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from numpy.lib.recfunctions import structured_to_unstructured

from monai_wsss.data.luminance import luminance
from monai_wsss.data.volume import VolumeHeader
from monai_wsss.data.voxel_size import voxel_size_is_known
from monai_wsss.errors import InputError

_UNREADABLE = (
    ImageFileError,
    HeaderDataError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    zlib.error,
)
SUFFIXES = (".nii.gz", ".nii")
RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
"""NIfTI's type of voxels in colour, as nibabel gives it."""

_MAX_GZIP_RATIO = 1100  # deflate cannot shrink further: a header that claims more than this lies
_FIELD_OF_VIEW_MM = (1.0, 5000.0)  # in plane; beyond it, the header's spacing is not in mm


def read_nifti_header(path: str | Path) -> VolumeHeader:
    """Read and check the header of a NIfTI volume; a 2D image counts as one slice, trailing axes of 1 are dropped.

    Raises:
        InputError: if it is missing, corrupt, cut short, empty, 4D, complex, in colour, or its affine is unusable.
    """
    path = Path(path)
    with _one_line_errors(path):
        return _check_header(path, nib.load(path))


def read_nifti(path: str | Path, colour: bool | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Read a NIfTI volume as float32 `(H, W, D)` with its 4x4 affine (RAS, mm).

    Args:
        path: `.nii.gz` or `.nii` file.
        colour: what becomes of colours (RGB24): None refuses them, False gives their luminance, True gives
            `(H, W, D, 3)`, and three times the values of a grey volume.

    Raises:
        InputError: as `read_nifti_header`, and if the data is cut short or not finite.
    """
    path = Path(path)
    with _one_line_errors(path):
        image = nib.load(path)
        header = _check_header(path, image, colour is not None)
        _check_gzip(path)
        array = _values(image, bool(colour), header.shape)
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise InputError(f"{path}: {bad} of {array.size} voxels are not finite (NaN or infinite); repair or remove it")
    return array, header.affine


def _values(image: Any, colour: bool, shape: tuple[int, ...]) -> np.ndarray:
    if image.get_data_dtype() == RGB24:
        array = structured_to_unstructured(np.asanyarray(image.dataobj), dtype=np.float32).reshape(*shape, 3)
        return array if colour else luminance(array)
    array = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
    return np.repeat(array[..., None], 3, axis=-1) if colour else array


def _check_header(path: Path, image: Any, colour: bool = False) -> VolumeHeader:
    shape = tuple(int(size) for size in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        raise InputError(f"{path}: has {len(shape)} dimensions {shape}, a volume has 3; split it into volumes")
    if 0 in shape:
        raise InputError(f"{path}: is empty, shape {shape}; remove it")
    dtype = image.get_data_dtype()
    if dtype.kind not in "biuf" and not (colour and dtype == RGB24):
        raise InputError(f"{path}: holds {dtype} values, expected real numbers; convert it")
    limit = path.stat().st_size * (_MAX_GZIP_RATIO if path.suffix.lower() == ".gz" else 1)
    if np.prod(shape, dtype=float) * dtype.itemsize > limit:
        raise InputError(f"{path}: cut short, the file is too small for its shape {shape}; copy it again")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise InputError(f"{path}: its affine is singular or not finite; repair the header")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    known = voxel_size_is_known(image.header)
    extent = spacing[:2] * shape[:2]
    if known and not (_FIELD_OF_VIEW_MM[0] <= extent.min() and extent.max() <= _FIELD_OF_VIEW_MM[1]):
        size = " x ".join(f"{value:.4g}" for value in spacing)
        raise InputError(f"{path}: voxels of {size} mm give an impossible field of view; repair the header's spacing")
    return VolumeHeader(shape, affine, (float(spacing[0]), float(spacing[1]), float(spacing[2])), known)


def _check_gzip(path: Path) -> None:
    """Read to the end, where the checksum stands: nibabel stops at the last voxel and lets flipped bits pass."""
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as file:
            while file.read(1 << 24):
                pass


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    try:
        with LoggingOutputSuppressor():
            yield
    except InputError:
        raise
    except _UNREADABLE as error:
        if not path.is_file():
            raise InputError(f"{path}: not found") from error
        detail = (str(error) or type(error).__name__).splitlines()[0].replace(str(path), "the file")
        raise InputError(f"{path}: cannot be read as NIfTI ({detail}); copy or convert it again") from error
