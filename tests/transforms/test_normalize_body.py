from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor

from monai_wsss.errors import InputError
from monai_wsss.ops import body_mask
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


def film():
    """Shoulders and abdomen bright, lungs as dark as the air beside the neck, and open to it: no holes to fill."""
    array = np.random.default_rng(0).uniform(180, 200, (1, 40, 40, 1)).astype(np.float32)
    array[0, :, :6] = 5
    array[0, 4:16, 6:28] = array[0, 24:36, 6:28] = 5
    array[0, 6:14, 8:26], array[0, 26:34, 8:26] = 20, 30
    return array


def test_lungs_of_a_chest_film_keep_their_grey_values():
    inside, whole = normalize(film()), normalize(film(), inside_body=False)
    # the body mask leaves the lungs out, so that clipping makes them one black: this is why projections do without
    assert inside[0, 8, 10, 0] == inside[0, 28, 10, 0] == inside.min()
    air, first, second = whole[0, 20, 0, 0], whole[0, 8, 10, 0], whole[0, 28, 10, 0]
    assert air < first < second
    assert whole.meta["body_box"] == [[0, 39], [0, 39]]
    array = film().astype(np.float64)
    clipped = np.clip(array, *np.percentile(array, (0.5, 99.5)))
    np.testing.assert_allclose(whole.numpy(), (clipped - clipped.mean()) / clipped.std(), atol=1e-4)


FILMS = sorted((Path(__file__).parents[2] / "../shared/data/cxr_nih/dicom").glob("*.dcm"))


@pytest.mark.skipif(not FILMS, reason="shared/data/cxr_nih is not there")
def test_real_chest_films_keep_their_lungs():
    for path in FILMS[::40]:
        pixels = pydicom.dcmread(path).pixel_array.astype(np.float32)
        out = normalize(np.ascontiguousarray(pixels.T)[None, ..., None], inside_body=False)
        # at most the .5 % that clipping takes and a black frame are at the lowest value
        black = float((pixels <= np.percentile(pixels, 0.5)).mean())
        assert float((out == out.min()).float().mean()) == pytest.approx(black, abs=1e-3)
        assert float(out.mean()) == pytest.approx(0, abs=1e-3) and float(out.std()) == pytest.approx(1, abs=1e-3)


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


@pytest.mark.parametrize("inside_body", [True, False])
def test_colours_share_one_scale(inside_body):
    colours = np.concatenate([head(), 2 * head(), 0.5 * head()])  # their mean has the body of the grey head
    found = normalize(colours, inside_body=inside_body)
    body = body_mask(torch.from_numpy(head())[None])[0, 0].numpy() if inside_body else np.ones(colours.shape[1:], bool)
    low, high = np.percentile(colours[:, body], (0.5, 99.5))
    clipped = colours.clip(low, high)
    inner = clipped[:, body].astype(np.float64)
    np.testing.assert_allclose(found.numpy(), (clipped - inner.mean()) / inner.std(), atol=1e-4)
    assert found.meta["body_box"] == normalize(head(), inside_body=inside_body).meta["body_box"]
