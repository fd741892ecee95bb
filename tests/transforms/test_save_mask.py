"""Masks of sources of any kind."""

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_volumes import values_of, write_series
from PIL import Image

from monai_wsss.data.voxel_size import voxel_size_is_known
from monai_wsss.data.writers import write_image
from monai_wsss.transforms import LoadVolumed, SaveMaskd


@pytest.mark.parametrize("kind", ["nifti", "unknown nifti", "picture", "dicom"])
def test_the_mask_lies_where_its_source_lies(tmp_path, kind):
    if kind == "dicom":
        source = write_series(tmp_path / "s", "oblique")
    elif kind == "picture":
        source = tmp_path / "x.png"
        Image.fromarray(np.arange(6, dtype="u1").reshape(2, 3)).save(source)
    else:
        source = tmp_path / "x.nii.gz"
        write_image(source, values_of(), np.diag([-2.0, -2, 3, 1]), spacing_known=kind == "nifti")
    item = LoadVolumed("pred")({"pred": source, "case": "p7"})
    known = item["pred"].meta["spacing_known"]
    assert known == (kind in ("nifti", "dicom"))
    item["pred"] = (item["pred"] > item["pred"].median()).to(torch.uint8)
    expected = item["pred"][0].numpy()
    assert SaveMaskd("pred", str(tmp_path / "out"))(item).keys() == item.keys()
    mask = nib.load(tmp_path / "out" / "p7.nii.gz")
    assert np.array_equal(mask.dataobj, expected) and expected.any()
    np.testing.assert_allclose(mask.affine, item["pred"].affine, atol=1e-5)
    assert voxel_size_is_known(mask.header) == known
