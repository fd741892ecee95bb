"""Flips that keep left and right apart."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import RandFlipd, Rotate90d

from monai_wsss.transforms import RandMirrord

SIDES = ["left lesion", "cyst", "right lesion"]  # p = (2, 1, 0)


def item(dtype=torch.float32):
    image = torch.arange(6.0).reshape(1, 2, 3)
    label = torch.tensor([[[0, 1, 2], [3, 255, 1]]], dtype=dtype)
    return {"image": image, "label": label, "classes": np.array([1, 0.3, -1], np.float32), "case": "a"}


def mirror(labels, prob=1.0, spatial_axis=1, **options):
    return RandMirrord(["image", "label"], labels, label_keys="label", prob=prob, spatial_axis=spatial_axis, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
@pytest.mark.parametrize(("axis", "image"), [(0, [[3, 4, 5], [0, 1, 2]]), (1, [[2, 1, 0], [5, 4, 3]])])
def test_by_hand(dtype, axis, image):
    # labels 1 and 3 change places, 0, 2 and 255 stay: [0 1 2; 3 255 1] -> [0 3 2; 1 255 3], then mirrored
    swapped = torch.tensor([[0, 3, 2], [1, 255, 3]], dtype=dtype).flip(axis)
    out = mirror(SIDES, spatial_axis=axis)(item(dtype))
    assert out["image"][0].tolist() == image
    assert out["label"].dtype == dtype and torch.equal(torch.as_tensor(out["label"][0]), swapped)
    np.testing.assert_array_equal(out["classes"], np.array([-1, 0.3, 1], np.float32))
    assert out["case"] == "a"


@pytest.mark.parametrize("labels", [["lesion"], SIDES])
@pytest.mark.parametrize("axis", [0, 1])
def test_flips_like_monais_with_the_same_numbers(labels, axis):
    ours = mirror(labels, prob=0.5, spatial_axis=axis).set_random_state(3)
    monais = RandFlipd(["image", "label"], prob=0.5, spatial_axis=axis).set_random_state(3)
    flipped = 0
    for _ in range(40):
        data = item()
        got, expected = ours(data), monais(data)
        assert torch.equal(got["image"], expected["image"])
        if labels == ["lesion"]:
            assert torch.equal(got["label"], expected["label"]) and got["classes"] is data["classes"]
        flipped += not torch.equal(torch.as_tensor(got["image"]), data["image"])
    assert 5 < flipped < 35


def test_a_side_without_its_partner_is_never_mirrored():
    transform = mirror(["left lesion"], prob=1.0)
    for _ in range(20):
        out = transform(item())
        assert torch.equal(torch.as_tensor(out["image"]), item()["image"])
        assert torch.equal(torch.as_tensor(out["label"]), item()["label"])
        assert out["classes"].tolist() == item()["classes"].tolist()


def test_two_mirrors_are_a_turn_and_leave_the_classes():
    """The reason why a flip along either axis swaps the sides, and a rotation does not."""
    out = mirror(SIDES, spatial_axis=0)(mirror(SIDES, spatial_axis=1)(item()))
    turned = Rotate90d(["image", "label"], k=2)(item())
    for key in ("image", "label"):
        assert torch.equal(torch.as_tensor(out[key]), torch.as_tensor(turned[key]))
    np.testing.assert_array_equal(out["classes"], item()["classes"])


def test_the_item_itself_is_not_changed():
    data = item()
    mirror(SIDES)(data)
    assert torch.equal(data["label"], item()["label"])
    np.testing.assert_array_equal(data["classes"], item()["classes"])


@pytest.mark.parametrize("prob", [0.0, 0.5, 1.0])
def test_inverse(prob):
    data = item()
    data = {**data, "image": MetaTensor(data["image"]), "label": MetaTensor(data["label"])}
    transform = mirror(SIDES, prob=prob).set_random_state(0)
    for _ in range(8):
        back = transform.inverse(transform(data))
        for key in ("image", "label", "classes"):
            np.testing.assert_array_equal(np.asarray(back[key]), np.asarray(data[key]))


def test_classes_of_any_kind_and_none():
    for classes in ([1, 0, -1], (1, 0, -1), torch.tensor([1, 0, -1])):
        out = mirror(SIDES)({**item(), "classes": classes})
        assert np.asarray(out["classes"]).tolist() == [-1, 0, 1]
    data = item()
    del data["classes"]
    assert "classes" not in mirror(SIDES)(data)


def test_absent_keys():
    data = {"image": item()["image"]}
    assert "label" not in mirror(SIDES, allow_missing_keys=True)(data)
    with pytest.raises(KeyError):
        mirror(SIDES)(data)


def test_several_axes_are_refused():
    with pytest.raises(ValueError, match="one axis"):
        mirror(SIDES, spatial_axis=(0, 1))


def test_volumes_too():
    volume = torch.rand(1, 3, 4, 5)
    out = RandMirrord("image", SIDES, prob=1.0, spatial_axis=2)({"image": volume, "classes": np.array([1, 0, 0])})
    assert torch.equal(torch.as_tensor(out["image"]), volume.flip(3)) and out["classes"].tolist() == [0, 0, 1]
