"""Whether a NIfTI file's voxel sizes are measurements."""

from typing import Any

import nibabel as nib

UNKNOWN = b"voxel size unknown"
"""Written as description of our own files whose voxel sizes are defaults: their affine still says what lies where."""


def voxel_size_is_known(header: Any) -> bool:
    """False where the voxel sizes are defaults: NIfTI with qform and sform codes of 0, or described as `UNKNOWN`."""
    if not isinstance(header, nib.Nifti1Header):
        return True
    if bytes(header["descrip"]).rstrip(b"\0") == UNKNOWN:
        return False
    return int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
