"""From the file to the network's grid and back with MONAI's Invertd: shape, affine and place must survive."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Invertd
from scipy.spatial.transform import Rotation

from monai_wsss.transforms import GridPreprocessing

AXIAL, CORONAL, SAGITTAL = np.eye(3), np.eye(3)[:, [0, 2, 1]], np.eye(3)[:, [1, 2, 0]]
OBLIQUE = Rotation.from_euler("xyz", [17, -23, 31], degrees=True).as_matrix()


def flips(*signs):
    return np.diag(np.array(signs, dtype=float))


CASES = {
    "axial LPS, 1 mm": (AXIAL @ flips(-1, -1, 1), (1, 1, 1), (64, 64, 7)),
    "axial RAS, odd sizes": (AXIAL, (0.9, 0.9, 5), (61, 73, 5)),
    "axial, slices downwards": (AXIAL @ flips(-1, 1, -1), (0.9, 0.9, 5), (61, 73, 5)),
    "coronal": (CORONAL, (0.8, 0.8, 4), (71, 60, 6)),
    "coronal, flipped": (CORONAL @ flips(1, -1, -1), (0.8, 0.8, 4), (71, 60, 6)),
    "sagittal": (SAGITTAL, (0.8, 0.8, 4), (60, 71, 6)),
    "sagittal, flipped": (SAGITTAL @ flips(-1, -1, -1), (0.8, 0.8, 4), (60, 71, 6)),
    "rows and columns swapped": (AXIAL[:, [1, 0, 2]], (0.7, 1.3, 3), (80, 50, 4)),
    "oblique": (OBLIQUE, (0.9, 0.9, 5), (64, 65, 5)),
    "oblique sagittal, flipped": (OBLIQUE @ SAGITTAL @ flips(1, -1, -1), (0.9, 0.9, 5), (64, 65, 5)),
    "pixels not square": (AXIAL, (0.6, 1.4, 5), (90, 47, 4)),
    "fine pixels, shrunk": (AXIAL @ flips(-1, -1, 1), (0.33, 0.33, 2), (160, 151, 3)),
    "coarse pixels, enlarged": (AXIAL @ flips(-1, -1, 1), (2.1, 2.1, 6), (40, 43, 4)),
    "one slice": (AXIAL @ flips(-1, -1, 1), (0.9, 0.9, 5), (61, 73, 1)),
    "larger than the grid": (AXIAL, (1, 1, 5), (110, 97, 3)),
}


def place(shape, spacing, centre, radius_mm):
    grid = np.indices(shape).transpose(1, 2, 3, 0)
    return (((grid - centre) * spacing) ** 2)[..., :2].sum(-1) <= radius_mm**2


@pytest.mark.parametrize("pixel_spacing", [1.0, None])  # None fits the image
@pytest.mark.parametrize("name", CASES)
def test_round_trip(tmp_path, name, pixel_spacing):
    rotation, spacing, shape = CASES[name]
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = -83.1, 40.7, 1033.9
    middle = (np.array(shape) - 1) / 2
    blob = place(shape, spacing, middle + np.array([5.0, -7.0, 0]) / spacing, 7)
    blob[..., 0] &= shape[2] == 1  # not in the first slice: a flip through the slices would show
    image = 2.0 * place(shape, spacing, middle, 22) + 1.0 * blob
    nib.save(nib.Nifti1Image(image.astype(np.float32), affine), tmp_path / "v.nii.gz")
    source = nib.load(tmp_path / "v.nii.gz")

    grid = GridPreprocessing(pixel_spacing=pixel_spacing, size=(72, 72), clip=(0, 100), inside_body=True)
    item = grid({"image": str(tmp_path / "v.nii.gz")})
    seen = item["image"]
    assert seen.shape == (1, 72, 72, shape[2]) and seen.dtype == torch.float32
    found = torch.where(seen > seen.max() * 0.5, 1.0, 0.0)
    item["pred"] = MetaTensor(found.as_tensor())
    # to the nearest pixel and back, on a grid about as fine as the source, can add up to half a pixel
    nearest = pixel_spacing is not None
    back = Invertd("pred", grid, orig_keys="image", nearest_interp=nearest)(item)["pred"]

    assert tuple(back.shape) == (1, *source.shape)
    assert np.array_equal(back.affine.numpy(), source.affine)
    mask = back[0].numpy() > 0.5
    expected, given = np.argwhere(blob).mean(0), np.argwhere(mask).mean(0)
    pixel = pixel_spacing or max(np.multiply(shape, spacing)[:2]) / 72
    tolerance_mm = 0.35 * max(pixel, *spacing[:2])  # a shift by half a pixel would show
    np.testing.assert_allclose((given - expected) * spacing, 0, atol=tolerance_mm)
    assert 2 * (mask & blob).sum() / (mask.sum() + blob.sum()) > 0.9


@pytest.mark.parametrize("pixel_spacing", [1.0, None])
@pytest.mark.parametrize("name", CASES)
def test_the_grid_knows_where_it_is(tmp_path, name, pixel_spacing):
    """A blob of intensity, seen on the grid through the grid's affine, lies where the file's affine puts it."""
    rotation, spacing, shape = CASES[name]
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    middle = (np.array(shape) - 1) / 2
    blob = place(shape, spacing, middle + np.array([5.0, -7.0, 0]) / spacing, 7)
    image = 2.0 * place(shape, spacing, middle, 22) + 1.0 * blob
    nib.save(nib.Nifti1Image(image.astype(np.float32), affine), tmp_path / "v.nii")
    grid = GridPreprocessing(pixel_spacing=pixel_spacing, size=(72, 72), clip=(0, 100), inside_body=True)
    seen = grid({"image": str(tmp_path / "v.nii")})["image"]
    bright = np.argwhere(seen[0].numpy() > float(seen.max()) / 2).mean(0)
    world = (seen.affine.numpy() @ [*bright, 1])[:3]
    np.testing.assert_allclose(world, (affine @ [*np.argwhere(blob).mean(0), 1])[:3], atol=0.3)


@pytest.mark.parametrize("pixel_spacing", [1.0, None])
def test_probabilities_come_back_too(tmp_path, pixel_spacing):
    nib.save(
        nib.Nifti1Image(np.random.default_rng(0).random((20, 24, 3), np.float32), np.diag([2.0, 2, 5, 1])),
        tmp_path / "v.nii",
    )
    grid = GridPreprocessing(pixel_spacing=pixel_spacing, size=(64, 64))
    item = grid({"image": str(tmp_path / "v.nii")})
    item["pred"] = MetaTensor(torch.full((2, 64, 64, 3), 0.7))
    back = Invertd("pred", grid, orig_keys="image", nearest_interp=False)(item)["pred"]
    assert tuple(back.shape) == (2, 20, 24, 3)
    np.testing.assert_allclose(back.numpy(), 0.7, atol=1e-5)


def test_through_a_data_loader_with_workers(tmp_path):
    for name, depth in (("a", 3), ("b", 2)):
        array = np.random.default_rng(depth).random((21, 24, depth), np.float32)
        nib.save(nib.Nifti1Image(array, np.diag([-2.0, 2, 5, 1])), tmp_path / f"{name}.nii")
    grid = GridPreprocessing(size=(64, 64))
    items = [{"image": str(tmp_path / f"{name}.nii"), "case": name} for name in "ab"]
    loader = DataLoader(Dataset(items, grid), batch_size=1, num_workers=1, multiprocessing_context="fork")
    for batch, depth in zip(loader, (3, 2), strict=True):
        batch["pred"] = MetaTensor(torch.ones(1, 1, 64, 64, depth))
        (item,) = [Invertd("pred", grid, orig_keys="image")(i) for i in decollate_batch(batch)]
        assert tuple(item["pred"].shape) == (1, 21, 24, depth) and item["pred"].min() == 1


@pytest.mark.parametrize("outputs", [1, 3, 21])
def test_round_trip_of_a_picture_in_colour(tmp_path, outputs):
    from monai_wsss.data.writers import write_image

    colours = np.full((61, 47, 1, 3), 100, np.float32)
    colours[10:31, 20:41] = 30, 200, 60
    affine = np.array([[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    write_image(tmp_path / "v.nii.gz", colours, affine, spacing_known=False)
    grid = GridPreprocessing(pixel_spacing=None, size=(40, 40), channels=3)
    item = grid({"image": str(tmp_path / "v.nii.gz")})
    assert item["image"].shape == (3, 40, 40, 1)
    found = (item["image"][1] - item["image"][0] > 1).float()
    item["pred"] = MetaTensor(torch.stack([found.as_tensor()] * outputs))
    back = Invertd("pred", grid, orig_keys="image", nearest_interp=False)(item)["pred"]
    assert tuple(back.shape) == (outputs, 61, 47, 1) and np.array_equal(back.affine.numpy(), affine)
    blob = colours[..., 1] == 200
    for channel in back.numpy() > 0.5:
        assert 2 * (channel & blob).sum() / (channel.sum() + blob.sum()) > 0.9
