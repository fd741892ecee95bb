"""Masks go to the grid and back by the way that predictions take."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks.rows.geometry import mask_to_source
from monai_wsss.data import Case
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.truth_on_grid import truth_on_grid

AFFINES = {
    "LPS": np.diag([-1.0, -1.0, 5.0, 1.0]),
    "RAS": np.diag([1.0, 1.0, 5.0, 1.0]),
    "swapped": np.array([[0, -1.0, 0, 7], [1.0, 0, 0, -3], [0, 0, 4.0, 2], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("value", [1, 255])
def test_there_and_back(tmp_path: Path, affine: np.ndarray, value: int) -> None:
    rng = np.random.default_rng(0)
    array = rng.uniform(1, 2, (40, 36, 3)).astype(np.float32)
    array[5:35, 5:31] += 5  # a body
    truth = np.zeros(array.shape, np.uint8)
    truth[10:20, 12:18, 1] = value
    image, mask = tmp_path / "image.nii.gz", tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(array, affine), image)
    nib.save(nib.Nifti1Image(truth, affine), mask)
    preprocess = GridPreprocessing(pixel_spacing=1.0, size=(48, 44))
    case = Case(image=image, case="a", patient="p", classes=(1,), truth=mask)
    on_grid = truth_on_grid(case, preprocess, 1)
    assert on_grid.shape == (3, 48, 44) and on_grid.sum() == 60 and set(np.unique(on_grid)) == {0, 1}
    back = mask_to_source(torch.from_numpy(on_grid), preprocess({"image": str(image)})["image"], preprocess)
    assert np.array_equal(back, truth > 0)
