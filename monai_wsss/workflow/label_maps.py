"""Label maps as files: found by case, read as tensors, compared in geometry."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError
from torch import Tensor

from monai_wsss.data.case_resolver import CaseResolver
from monai_wsss.data.clear_names import SUFFIXES, stem_of
from monai_wsss.errors import InputError
from monai_wsss.metrics.case_counts import IGNORED


def find_label_maps(folder: Path, resolver: CaseResolver | None = None) -> tuple[dict[str, Path], list[dict[str, str]]]:
    """NIfTI files of a folder (not of folders in it) by case, and those whose case is not clear.

    Args:
        folder: where to look.
        resolver: finds the case of a file name without ``.nii`` or ``.nii.gz``; None takes that name itself.

    Raises:
        InputError: no such folder, no NIfTI file in it, or two files of one case.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of the label maps (.nii or .nii.gz)")
    files: dict[str, Path] = {}
    unclear = []
    for file in sorted(Path(folder).iterdir()):
        if not file.name.lower().endswith(SUFFIXES) or file.name.startswith(".") or not file.is_file():
            continue
        case = stem_of(file)
        try:
            case = case if resolver is None else resolver.case(case)
        except InputError as error:
            unclear.append({"file": resolver.names.file(file) if resolver else str(file), "reason": str(error)})
            continue
        if case in files:
            both = f"{file.name} and {files[case].name} are" if resolver is None else "two files are"
            raise InputError(f"{folder}: {both} of the same case {case}; keep one of the two")
        files[case] = file
    if not files:
        raise InputError(f"{folder}: holds no label map; expected files named CASE.nii.gz or CASE.nii")
    return files, unclear


def read_label_map(file: Path, num_labels: int, truth: bool = False) -> tuple[Tensor, np.ndarray]:
    """Labels 0..K of a NIfTI file as a uint8 tensor, slices first (D, H, W), and its affine.

    With one label the lesion may have any single value, such as 255. With several, 255 in a true mask marks voxels that
    count neither for nor against (PASCAL VOC's borders), and stays.

    Args:
        file: NIfTI file.
        num_labels: K.
        truth: whether it is a true mask.

    Raises:
        InputError: no NIfTI file, or other values.
    """
    array, affine = read_array(file)
    values = np.unique(array.ravel(order="K"))
    if values.size and (not np.isfinite(values).all() or (values != np.rint(values)).any()):
        raise InputError(f"{file}: holds values that are not whole numbers; give a label map of 0..{num_labels}")
    lesion = values[(values != 0) & ~((values == IGNORED) & (truth and num_labels > 1))]
    if num_labels == 1 and lesion.size == 1 and lesion[0] > 0:
        array = array == lesion[0]
    elif lesion.size and (lesion.min() < 0 or lesion.max() > num_labels):
        found = some([f"{value:g}" for value in lesion])
        raise InputError(f"{file}: holds the values {found}, but the labels are 0..{num_labels}")
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, 2, 0), dtype=np.uint8)), affine


def read_array(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Array (H, W, D) and affine of a NIfTI file; a plane is a volume of one slice.

    Raises:
        InputError: no NIfTI file, or no volume in it.
    """
    try:
        image = nibabel.load(file)
        array = np.asanyarray(image.dataobj)  # type: ignore[attr-defined]
        affine = image.affine  # type: ignore[attr-defined]
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{file}: cannot be read as NIfTI ({' '.join(str(error).split())}); write it again") from error
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.size == 0 or array.dtype.kind not in "biuf":
        raise InputError(f"{file}: shape {array.shape} of {array.dtype} is not a label map; give one 3D volume")
    return array, np.eye(4) if affine is None else affine


def check_geometry(
    file: Path, shape: Sequence[int], affine: np.ndarray, true_shape: Sequence[int], true_affine: np.ndarray
) -> None:
    """Same grid: no corner of the volume is displaced by more than a tenth of the smallest voxel side.

    Raises:
        InputError: another grid.
    """
    if tuple(shape) != tuple(true_shape):
        ours, theirs = ((h, w, d) for d, h, w in (shape, true_shape))
        raise InputError(f"{file}: shape {ours} differs from the truth's {theirs}; predict on the source's grid")
    depth, height, width = shape
    corners = np.array([[i, j, k, 1] for i in (0, height) for j in (0, width) for k in (0, depth)], dtype=float)
    shift = np.linalg.norm((corners @ (affine - true_affine).T)[:, :3], axis=1).max()
    side = np.linalg.norm(true_affine[:3, :3], axis=0).min()
    if not shift <= 0.1 * side:
        raise InputError(f"{file}: its affine lies {shift:.3g} mm off the truth's; predict on the source's grid")


def some(names: Sequence[str], shown: int = 5) -> str:
    """The first names, and how many there are more."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
