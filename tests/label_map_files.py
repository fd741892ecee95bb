"""Small label maps as NIfTI files."""

import nibabel
import numpy as np

AFFINE = np.diag([-0.9, -0.9, 5.0, 1.0])


def write(folder, name, array, affine=AFFINE):
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(array), affine), folder / name)


def box(depth, *slices, shape=(8, 6), size=3, label=1, dtype=np.uint8):
    """A volume (H, W, D) with a square of the label in the given slices."""
    array = np.zeros((*shape, depth), dtype)
    array[:size, :size, list(slices)] = label
    return array
