import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityRange

from monai_wsss.errors import InputError
from monai_wsss.transforms.window_hu import LOWEST, WindowHUd

WINDOWS = [[40, 80], [80, 200], [600, 2800]]


def volume(affine=None):
    """Air, and in rows 6 to 25 and columns 5 to 24 a head of random HU; above the head a thin table."""
    array = np.full((1, 32, 30, 2), -1000, np.float32)
    array[0, 6:26, 5:25] = np.random.default_rng(0).uniform(-150, 1500, (20, 20, 2))
    array[0, 29:31, 2:28] = 100
    affine = torch.eye(4, dtype=torch.float64) if affine is None else affine
    return MetaTensor(torch.from_numpy(array), affine=affine, meta={"filename_or_obj": "v.nii"})


def window(image, windows=WINDOWS, **options):
    return WindowHUd("image", windows, **options)({"image": image})["image"]


@pytest.mark.parametrize(
    ("hu", "expected"),
    [
        # 4 clip((x - lower edge) / width, 0, 1) - 2; lower edges 0, -20, -800
        (0, [-2, 4 * 20 / 200 - 2, 4 * 800 / 2800 - 2]),
        (40, [0, 4 * 60 / 200 - 2, 4 * 840 / 2800 - 2]),
        (70, [1.5, 4 * 90 / 200 - 2, 4 * 870 / 2800 - 2]),
        (180, [2, 2, 4 * 980 / 2800 - 2]),
        (2500, [2, 2, 2]),
        (-150, [-2, -2, 4 * 650 / 2800 - 2]),
    ],
)
def test_by_hand(hu, expected):
    image = volume()
    image[0, 15, 15, 0] = hu
    np.testing.assert_allclose(window(image)[:, 15, 15, 0].numpy(), expected, atol=1e-5)


def test_parity_with_monai_inside_the_head():
    out = window(volume())
    assert out.shape == (3, 32, 30, 2) and out.dtype == torch.float32
    for channel, (level, width) in zip(out, WINDOWS, strict=True):
        monai = ScaleIntensityRange(level - width / 2, level + width / 2, -2, 2, clip=True)(volume()[0])
        torch.testing.assert_close(channel[6:26, 5:25].as_tensor(), monai[6:26, 5:25].as_tensor(), atol=1e-5, rtol=0)


def test_outside_the_head_is_exactly_the_lowest_value_and_the_box_is_the_heads():
    out = window(volume())
    outside = torch.ones(32, 30, dtype=torch.bool)
    outside[6:26, 5:25] = False
    assert LOWEST == -2 and (out.as_tensor()[:, outside] == LOWEST).all()
    assert out.meta["body_box"] == [[6, 25], [5, 24]]
    assert out.meta["filename_or_obj"] == "v.nii" and torch.equal(out.affine, volume().affine)
    whole = window(volume(), inside_head=False)
    assert whole.meta["body_box"] == [[0, 31], [0, 29]]
    assert float(whole[0, 29, 5, 0]) == 2 and float(out[0, 29, 5, 0]) == -2  # the table
    assert torch.equal(whole[:, 6:26, 5:25].as_tensor(), out[:, 6:26, 5:25].as_tensor())


def test_the_scale_is_the_same_for_every_volume():
    """A large bleeding changes no other voxel, as it would with a scale that is taken from the volume."""
    bled = volume()
    bled[0, 10:20, 10:20] = 75
    difference = (window(bled) - window(volume())).abs().amax(0)
    difference[10:20, 10:20] = 0
    assert float(difference.max()) == 0


def test_pixel_size_comes_from_the_affine():
    fine = torch.diag(torch.tensor([0.2, 0.2, 5.0, 1.0], dtype=torch.float64))
    # the head is 4 mm wide now, all of it thinner than the disc; it still is the largest component
    assert window(volume(fine)).meta["body_box"] == [[6, 25], [5, 24]]


@pytest.mark.parametrize("offset", [1000, 1024.0])
def test_what_has_no_hounsfield_units_is_refused(offset):
    with pytest.raises(InputError, match=r"v\.nii: no Hounsfield units .* overlay pictures \(windows: null\)"):
        window(volume() + offset)


def test_air_alone_is_refused():
    with pytest.raises(InputError, match=r"v\.nii: nothing but air"):
        window(MetaTensor(torch.full((1, 8, 8, 2), -1000.0), meta={"filename_or_obj": "v.nii"}))


@pytest.mark.parametrize("windows", [[], [[40]], [[40, 0]], [[40, -80]], [[40, float("nan")]], [[1, 2, 3]]])
def test_windows_must_make_sense(windows):
    with pytest.raises(ValueError, match="windows must be"):
        WindowHUd("image", windows)


def test_a_missing_key_may_be_allowed():
    assert WindowHUd("image", WINDOWS, allow_missing_keys=True)({"case": "c"}) == {"case": "c"}
