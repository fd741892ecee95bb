"""Volumes of any kind as MetaTensors."""

import numpy as np
import pytest
import torch
from dicom_volumes import SHAPE, values_of, write_series
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, EnsureTyped
from PIL import Image

from monai_wsss.data.writers import write_image
from monai_wsss.errors import InputError
from monai_wsss.transforms import LoadVolumed


@pytest.fixture
def sources(tmp_path):
    write_image(tmp_path / "x.nii.gz", values_of(), np.diag([-2.0, -2, 3, 1]))
    Image.fromarray(np.arange(6, dtype="u1").reshape(2, 3)).save(tmp_path / "x.png")
    folder = write_series(tmp_path / "s")
    return {"nifti": tmp_path / "x.nii.gz", "picture": tmp_path / "x.png", "dicom": folder}


@pytest.mark.parametrize(
    ("kind", "shape", "known"), [("nifti", SHAPE, True), ("picture", (3, 2, 1), False), ("dicom", SHAPE, True)]
)
def test_tensor_and_metadata(sources, kind, shape, known):
    source = sources[kind]
    items = {"image": source, "other": source}
    image = LoadVolumed("image")(items)["image"]
    assert isinstance(image, MetaTensor) and image.dtype == torch.float32 and tuple(image.shape) == (1, *shape)
    assert items["image"] is source and image.affine.dtype == torch.float64
    first = source / "000.dcm" if kind == "dicom" else source
    assert image.meta["filename_or_obj"] == str(first)
    assert image.meta["spacing_known"] is known and image.meta["spatial_shape"] == shape
    assert torch.equal(image.affine, image.meta["original_affine"])
    image.affine[:] = 0
    assert image.meta["original_affine"].any()
    assert set(image.meta) == {
        *("filename_or_obj", "original_affine", "spatial_shape", "space", "original_channel_dim"),
        *("spacing_known", "affine"),
    }


def test_options(tmp_path, sources):
    (sources["dicom"] / "002.dcm").unlink()
    with pytest.raises(InputError, match="1 slice is missing"):
        LoadVolumed("image")({"image": sources["dicom"]})
    image = LoadVolumed("image", resample=True)({"image": sources["dicom"]})["image"]
    assert tuple(image.shape) == (1, *SHAPE)
    with pytest.raises(InputError, match="no series fits"):
        LoadVolumed("image", series="Modality=PT")({"image": [sources["dicom"] / "000.dcm"]})
    assert LoadVolumed("image", allow_missing_keys=True)({}) == {}


@pytest.mark.parametrize("batch", [1, 2])
def test_whether_the_spacing_is_known_survives_a_loader(tmp_path, batch):
    for name, known in (("a", True), ("b", False)):
        write_image(tmp_path / f"{name}.nii.gz", values_of(), np.eye(4), known)
    items = [{"image": str(tmp_path / f"{name}.nii.gz")} for name in "ab"]
    loader = DataLoader(Dataset(items, Compose([LoadVolumed("image"), EnsureTyped("image")])), batch_size=batch)
    found = [item["image"] for batch in loader for item in decollate_batch(batch)]
    assert [bool(image.meta["spacing_known"]) for image in found] == [True, False]


def test_three_channels(tmp_path, sources):
    Image.fromarray(np.arange(18, dtype="u1").reshape(2, 3, 3)).save(tmp_path / "c.png")
    image = LoadVolumed("image", channels=3)({"image": tmp_path / "c.png"})["image"]
    assert tuple(image.shape) == (3, 3, 2, 1) and image.meta["spatial_shape"] == (3, 2, 1)
    assert image[:, 1, 0, 0].tolist() == [3, 4, 5] and image[0, :, :, 0].tolist() == [[0, 9], [3, 12], [6, 15]]
    for source in sources.values():
        grey, colours = (LoadVolumed("image", channels=channels)({"image": source})["image"] for channels in (1, 3))
        assert torch.equal(colours.as_tensor(), grey.as_tensor().expand(3, -1, -1, -1))
    with pytest.raises(ValueError, match=r"channels must be 1 \(grey\) or 3"):
        LoadVolumed("image", channels=4)
