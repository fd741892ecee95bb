"""Write masks as NIfTI."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_wsss.data.atomic import atomic_path
from monai_wsss.errors import InputError


def write_mask(path: str | Path, mask: np.ndarray, source: str | Path) -> None:
    """Write a label map as uint8 NIfTI with the shape and the affine (codes included) of the volume it belongs to.

    Nothing else of the source's header is copied, so that its free-text fields stay behind.

    Args:
        path: `.nii.gz` or `.nii` file, replaced whole.
        mask: labels 0..255, of the source's shape up to axes of length 1.
        source: the NIfTI volume.

    Raises:
        InputError: `path` is the volume itself.
        ValueError: another number of voxels.
    """
    if Path(path).resolve() == Path(source).resolve():
        raise InputError(f"{path}: the volume itself, the mask would replace it; choose another output folder")
    volume: Any = nib.load(source)
    labels = np.asarray(mask).astype(np.uint8).reshape(volume.shape)
    image = nib.Nifti1Image(labels, volume.affine)
    header = volume.header
    if isinstance(header, nib.Nifti1Header):
        image.header.set_xyzt_units(*header.get_xyzt_units())
        image.set_sform(header.get_sform(), code=int(header["sform_code"]))
        image.set_qform(header.get_qform(), code=int(header["qform_code"]))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(Path(path)) as part:
        nib.save(image, part)


def spacing_is_known(source: str | Path) -> bool:
    """False for a NIfTI file whose qform and sform codes are both 0: its voxel sizes are defaults, not measurements."""
    header = nib.load(source).header
    if not isinstance(header, nib.Nifti1Header):
        return True
    return int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
