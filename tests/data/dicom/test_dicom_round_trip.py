"""From a DICOM series to the network's grid and back to a NIfTI mask: the mask lies where SimpleITK sees the lesion."""

import numpy as np
import pytest
import torch
from dicom_volumes import DIRECTIONS, affine_of, write_series
from monai.data import MetaTensor
from monai.transforms import Invertd

from monai_wsss.transforms import GridPreprocessing, SaveMaskd

SHAPE, SPACING = (44, 40, 4), (1.4, 1.5, 5.0)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_lesion_stays_where_it_is(tmp_path, name):
    sitk = pytest.importorskip("SimpleITK")
    values = np.zeros(SHAPE, "i2")
    values[4:40, 5:36] = 100
    values[26:33, 9:15, 1:3] = 200  # off centre in every direction: a flip or a swap would show
    order = [2, 0, 3, 1]
    folder = write_series(tmp_path / "s", name, order, SPACING, values)
    grid = GridPreprocessing(size=(72, 72), clip=(0, 100))
    item = grid({"image": str(folder), "case": "c"})
    seen = item["image"]
    item["pred"] = MetaTensor(torch.where(seen > 0.75 * seen.max(), 1.0, 0.0).as_tensor())
    item = Invertd("pred", grid, orig_keys="image", nearest_interp=True)(item)
    SaveMaskd("pred", str(tmp_path / "out"))(item)

    mask = sitk.ReadImage(str(tmp_path / "out" / "c.nii.gz"))
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(files)
    assert mask.GetSize() == image.GetSize()
    np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(mask.GetSpacing(), image.GetSpacing(), atol=1e-5)
    found, lesion = sitk.GetArrayFromImage(mask) > 0, sitk.GetArrayFromImage(image) == 200
    assert 2 * (found & lesion).sum() / (found.sum() + lesion.sum()) > 0.85
    np.testing.assert_allclose(np.argwhere(found).mean(0), np.argwhere(lesion).mean(0), atol=0.3)
    centre = affine_of(name, SPACING) @ [*np.argwhere(values == 200).mean(0), 1]
    point = mask.TransformContinuousIndexToPhysicalPoint(np.argwhere(found).mean(0)[::-1].tolist())
    np.testing.assert_allclose(point, centre[:3], atol=0.5)
