import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_wsss.errors import InputError
from monai_wsss.transforms import NormalizeBodyd


def head(scale=1.0, shift=0.0):
    """A 40 x 32 x 4 volume of air (0) with a body in rows 8 to 31 and columns 10 to 25, values 100 to 200."""
    array = np.zeros((1, 40, 32, 4), np.float32)
    array[0, 8:32, 10:26] = np.random.default_rng(0).uniform(100, 200, (24, 16, 4))
    return array * scale + shift


def normalize(array, **options):
    item = {"image": MetaTensor(torch.from_numpy(array), meta={"filename_or_obj": "v.nii"})}
    return NormalizeBodyd("image", **options)(item)["image"]


def test_formula():
    body = head()[0, 8:32, 10:26].ravel().astype(np.float64)
    low, high = np.percentile(body, [5, 90])
    clipped = np.clip(body, low, high)
    out = normalize(head(), clip=(5, 90))
    expected = (np.clip(head(), low, high) - clipped.mean()) / clipped.std()
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-4)
    inside = out[0, 8:32, 10:26]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-4)
    assert float(inside.std(correction=0)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("scale", "shift"), [(7.0, 0.0), (0.01, 0.0), (1.0, -1024.0)])
def test_gain_and_offset_do_not_matter(scale, shift):
    np.testing.assert_allclose(normalize(head(scale, shift)).numpy(), normalize(head()).numpy(), atol=2e-3)


def test_one_metal_voxel_does_not_set_the_scale():
    metal = head()
    metal[0, 16, 16, 0] = 1e6
    difference = (normalize(metal) - normalize(head())).abs()
    difference[0, 16, 16, 0] = 0
    assert float(difference.max()) < 0.1


def test_body_box():
    assert normalize(head()).meta["body_box"] == [[8, 31], [10, 25]]


def test_binary_volume_stays_finite():
    array = np.zeros((1, 8, 8, 1), np.float32)
    array[0, 2:6, 2:6] = 1
    assert torch.isfinite(normalize(array)).all()


def test_constant_volume_is_refused():
    with pytest.raises(InputError, match=r"v\.nii: all voxels have the value 3"):
        normalize(np.full((1, 4, 4, 2), 3, np.float32))


@pytest.mark.parametrize("clip", [(5, 5), (-1, 50), (0, 101)])
def test_percentiles_must_make_sense(clip):
    with pytest.raises(ValueError, match="percentiles"):
        NormalizeBodyd("image", clip=clip)
