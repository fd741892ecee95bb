import numpy as np
import pytest
from scipy import ndimage

from monai_wsss.data.phantoms import PHANTOMS, Phantom
from monai_wsss.data.phantoms.ct_look_alikes import calcifications
from monai_wsss.data.phantoms.haemorrhage import haemorrhage
from monai_wsss.data.phantoms.head import Head

PATIENTS = 12


@pytest.fixture(scope="module")
def well() -> list[Phantom]:
    return [draw(n, False) for n in range(PATIENTS)]


@pytest.fixture(scope="module")
def ill() -> list[Phantom]:
    return [draw(n, True) for n in range(PATIENTS)]


def draw(number: int, diseased: bool, split: str = "train") -> Phantom:
    return PHANTOMS["brain_ct"].draw(np.random.default_rng([3, number]), split, diseased, 96, 6)


def inside_skull(image: np.ndarray) -> np.ndarray:
    """Largest hole in the bone of each slice, without the pixels that bone partly fills."""
    holes = [ndimage.binary_fill_holes(bone) & ~bone for bone in np.moveaxis(image > 300, -1, 0)]
    labelled = [ndimage.label(hole)[0] for hole in holes]
    largest = [labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) for labels in labelled]
    return np.stack([ndimage.binary_erosion(part, iterations=3) for part in largest], -1)


def test_hounsfield_units(well: list[Phantom]) -> None:
    for phantom in well:
        image, brain = phantom.image, inside_skull(phantom.image)
        assert abs(np.median(image[:6, :6]) + 1000) < 10  # air in the corner
        assert 27 < np.median(image[brain]) < 38  # white 30 on the whole, grey 37, and fluid between
        assert np.percentile(ndimage.gaussian_filter(image.astype(float), (1, 1, 0))[brain], 1) < 22  # ventricles
        bone = image[image > 400]
        assert 600 < np.median(bone) < 1500 and 1000 < np.percentile(bone, 95) < 1600  # marrow and tables
        fat = ndimage.gaussian_filter(image.astype(float), (0.5, 0.5, 0))
        assert ((fat > -130) & (fat < -60)).mean() > 0.02  # scalp


def test_blood_is_as_dense_as_acute_blood(ill: list[Phantom]) -> None:
    # The plateau is 60 to 75; partial volume at the edge of thin layers takes some.
    levels = [np.median(p.image[p.mask > 0]) for p in ill]
    assert min(levels) > 45 and max(levels) < 80 and 55 < np.median(levels) < 75


def test_healthy_brains_have_denser_spots_than_blood(well: list[Phantom]) -> None:
    dense = [int(np.sum(p.image[inside_skull(p.image)] > 100)) for p in well]
    assert np.mean(np.array(dense) > 0) >= 0.75  # most have a calcification
    assert max(dense) < 0.01 * 96 * 96 * 6  # and it is small


def test_the_holder_lies_behind_the_head(well: list[Phantom]) -> None:
    for phantom in well:
        column = phantom.image[40:56, 80:, :]
        assert ((column > -700) & (column < -100)).any()
        assert not (phantom.image[40:56, :4] > -700).any()


@pytest.mark.parametrize("kind", ["intraparenchymal", "subdural", "subarachnoid", "tiny"])
def test_kinds_of_haemorrhage(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_wsss.data.phantoms.haemorrhage.KINDS", {kind: 1.0})
    for seed in range(6):
        head = Head(np.random.default_rng(seed), 96, 6)
        tissue = head.tissue()
        blood, oedema = haemorrhage(head, tissue, "usual")
        mask = blood > 0.5
        assert mask.any() and head.depth[mask].min() > -1.3  # within the skull, whose inner surface is at -0.6
        assert oedema.any() == (kind == "intraparenchymal")
        if kind == "intraparenchymal":
            assert np.median(head.depth[mask]) > 5
        elif kind == "subdural":  # on one side, along the skull
            assert head.depth[mask].max() < 8 and np.median(head.depth[mask]) < 3
            assert (head.u[mask] > 0).all() or (head.u[mask] < 0).all()
        elif kind == "subarachnoid":  # where fluid is otherwise
            assert tissue.cisterns[mask].min() > 0.4
        else:
            assert mask.sum((0, 1)).max() <= 2 * np.pi * 4**2  # two foci of at most 4 pixels


def test_calcifications_stay_inside_the_brain() -> None:
    for seed in range(6):
        head = Head(np.random.default_rng(seed), 96, 6)
        dense = calcifications(head, head.tissue())
        assert dense.max() < 450 and not dense[head.depth < 1].any()


def test_a_tilted_head_shows_its_sides_at_different_heights() -> None:
    straight, tilted = (Head(np.random.default_rng(0), 64, 4, tilt=tilt) for tilt in ((0, 0), (0.1, 0)))
    left, right = tilted.z[50, 32, 1], tilted.z[14, 32, 1]
    assert straight.z[50, 32, 1] == straight.z[14, 32, 1] == pytest.approx(1 / 3)
    assert left > 1 / 3 > right
