"""Write masks and images as NIfTI with geometry and nothing else."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.lib.recfunctions import unstructured_to_structured

from monai_wsss.data.atomic import atomic_path
from monai_wsss.data.nifti import RGB24, SUFFIXES
from monai_wsss.data.voxel_size import UNKNOWN, voxel_size_is_known
from monai_wsss.errors import InputError

_SCANNER = 1  # code of an affine in the scanner's coordinates
_INTEGERS = (np.uint8, np.int16, np.uint16, np.int32)


def write_mask(
    path: str | Path,
    mask: np.ndarray,
    source: str | Path,
    affine: np.ndarray | None = None,
    spacing_known: bool = True,
) -> None:
    """Write a label map as uint8 NIfTI where its source says it lies.

    A NIfTI source gives shape, affine and codes; for any other the mask's own affine counts. Nothing else of the
    source's header is copied, so that its free-text fields stay behind.

    Args:
        path: `.nii.gz` or `.nii` file, replaced whole.
        mask: labels 0..255, of the source's shape up to axes of length 1.
        source: the volume, or its first file.
        affine: 4x4 of the mask, mm (RAS); needed where the source is no NIfTI file.
        spacing_known: of the mask; whether its voxel sizes are measurements.

    Raises:
        InputError: `path` is the volume itself.
        ValueError: another number of voxels, or no affine.
    """
    if Path(path).resolve() == Path(source).resolve():
        raise InputError(f"{path}: the volume itself, the mask would replace it; choose another output folder")
    labels = np.asarray(mask).astype(np.uint8)
    if str(source).lower().endswith(SUFFIXES):
        image = _like(nib.load(source), labels)
    elif affine is None:
        raise ValueError("the mask of a source other than NIfTI needs an affine")
    else:
        image = _nifti(labels, affine, spacing_known)
    _save(image, path)


def write_image(path: str | Path, array: np.ndarray, affine: np.ndarray, spacing_known: bool = True) -> None:
    """Write a volume as NIfTI without any text: the smallest integers that hold its values exactly, else float32.

    Three colours become NIfTI's RGB24, which keeps the volume's own three axes. The other form, a 5D vector, ITK takes
    for a plane where there is one slice, and refuses it if that stands upright as a film does. A volume whose three
    colours are the same everywhere is written as the grey one that it is.

    Args:
        path: `.nii.gz` or `.nii` file, replaced whole.
        array: `(columns, rows, slices)`, or `(columns, rows, slices, 3)` with red, green and blue, 0 to 255.
        affine: 4x4, mm (RAS).
        spacing_known: whether the voxel sizes are measurements.

    Raises:
        ValueError: colours that are no whole numbers from 0 to 255.
    """
    array = np.asarray(array)
    if array.ndim == 4 and (array == array[..., :1]).all():
        array = array[..., 0]
    if array.ndim == 4:
        if array.shape[3] != 3 or smallest_type(array) is not np.uint8:
            raise ValueError(f"colours must be three whole numbers from 0 to 255, got shape {array.shape}")
        array = unstructured_to_structured(array.astype(np.uint8), dtype=RGB24)
    else:
        array = array.astype(smallest_type(array), copy=False)
    _save(_nifti(array, affine, spacing_known), path)


def smallest_type(array: np.ndarray) -> type[np.generic]:
    """Return uint8, int16, uint16 or int32, the first that holds all values exactly; float32 if none does."""
    low, high = float(np.min(array)), float(np.max(array))
    whole = all(np.array_equal(part, np.rint(part)) for part in np.moveaxis(np.asarray(array), -1, 0))  # spares memory
    fitting = (kind for kind in _INTEGERS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return next(fitting, np.float32) if whole else np.float32


def _nifti(array: np.ndarray, affine: np.ndarray, spacing_known: bool) -> nib.Nifti1Image:
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code=_SCANNER)
    image.set_sform(affine, code=_SCANNER)
    image.header.set_xyzt_units("mm" if spacing_known else "unknown")
    if not spacing_known:  # a code of 0 would say so too, but take the affine with it
        image.header["descrip"] = UNKNOWN
    return image


def _like(source: Any, labels: np.ndarray) -> nib.Nifti1Image:
    image, header = nib.Nifti1Image(labels.reshape(source.shape), source.affine), source.header
    if isinstance(header, nib.Nifti1Header):
        image.header.set_xyzt_units(*header.get_xyzt_units())
        image.set_sform(header.get_sform(), code=int(header["sform_code"]))
        image.set_qform(header.get_qform(), code=int(header["qform_code"]))
        if not voxel_size_is_known(header) and bytes(header["descrip"]).rstrip(b"\0") == UNKNOWN:
            image.header["descrip"] = UNKNOWN
    return image


def _save(image: nib.Nifti1Image, path: str | Path) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(Path(path)) as part:
        nib.save(image, part)
