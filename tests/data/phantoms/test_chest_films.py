from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from monai_wsss.data.phantoms import PHANTOMS
from monai_wsss.data.phantoms.chest import Chest
from monai_wsss.data.phantoms.chest_look_alikes import (
    companion_shadows,
    devices,
    emphysema,
    marker,
    skin_folds,
    spots,
)

SIZE, FILMS = 128, 12


def film(kind: str, number: int, diseased: bool = True, lesions: str = "usual") -> tuple[np.ndarray, np.ndarray, Chest]:
    """Image and mask, and the chest that they show: its numbers are the first that the generator draws."""
    phantom = PHANTOMS[kind].draw(np.random.default_rng([9, number]), "train", diseased, SIZE, 1, lesions)
    return (
        phantom.image[..., 0].astype(float),
        phantom.mask[..., 0] > 0,
        Chest(np.random.default_rng([9, number]), SIZE),
    )


def test_a_place_in_mm_is_found_again_in_pixels() -> None:
    chest = Chest(np.random.default_rng(0), SIZE)
    for column, row in ((20, 30), (64, 64), (100, 110)):
        found = chest.locate(chest.x[column, row], chest.y[column, row])
        np.testing.assert_allclose(found, (column, row), atol=5 / chest.pixel)  # the warp's 1.2 mm, four times over


def test_anatomy() -> None:
    for number in range(4):
        image, _, chest = film("cxr_tuberculosis", number, diseased=False)
        lungs, middle = image[chest.inside > 8], image[(np.abs(chest.x) < 12) & (np.abs(chest.y - 200) < 40)]
        outside = image[chest.skin < -8]
        assert np.median(outside) < np.median(lungs) < 0.75 * np.median(middle)
        assert 0 <= image.min() and image.max() <= 4095
        right, left = chest.lungs
        assert (right.inside > 0).sum() > (left.inside > 0).sum()  # the heart takes room on the left
        assert right.side == -1 and chest.x[right.inside > 0].max() < 0  # and the right lung is on the film's left


@pytest.mark.parametrize("kind", ["cxr_pneumothorax", "cxr_tuberculosis"])
@pytest.mark.parametrize("lesions", ["usual", "tiny", "scattered"])
def test_disease_lies_in_the_lungs(kind: str, lesions: str) -> None:
    for number in range(FILMS):
        _, mask, chest = film(kind, number, lesions=lesions)
        assert chest.inside[mask].min() > 0


def test_pleural_air_has_no_markings_and_a_line_at_its_border() -> None:
    quiet, bright, darker = [], [], []
    for number in range(FILMS):
        image, mask, chest = film("cxr_pneumothorax", number)
        inner = ndimage.binary_erosion(mask, iterations=2)
        if inner.sum() < 40:
            continue
        fine = image - ndimage.gaussian_filter(image, 1)
        near = ndimage.binary_dilation(mask, iterations=8) & ~ndimage.binary_dilation(mask, iterations=3)
        near &= chest.inside > 6
        quiet.append(fine[inner].std() / fine[near].std())
        darker.append(np.median(image[inner]) / np.median(image[near]))
        border = ndimage.binary_dilation(mask) & ~mask & (chest.inside > 6)
        bright.append(np.median(fine[border]) / fine[near].std())
    assert len(quiet) >= 8
    assert np.median(quiet) < 0.85 and np.median(darker) < 0.95 and np.median(bright) > 0.3


def test_tuberculosis_is_brighter_than_the_lung_around_it_and_high_up() -> None:
    ratios = []
    for number in range(FILMS):
        image, mask, chest = film("cxr_tuberculosis", number)
        around = ndimage.binary_dilation(mask, iterations=6) & ~ndimage.binary_dilation(mask, iterations=2)
        ratios.append(image[mask].mean() / image[around & (chest.inside > 4)].mean())
        for lung in chest.lungs:
            here = mask & (lung.inside > 0)
            assert not here.any() or np.median(lung.height[here]) < 0.55  # 0 at the apex, 1 at the base
    assert np.mean(ratios) > 1.1 and min(ratios) > 0.95


@pytest.mark.parametrize(
    ("look_alike", "often", "bright"),
    [
        (spots, (0.95, 1.0), (0.06, 0.45)),  # vessels seen end on are on every film
        (skin_folds, (0.25, 0.75), (0.02, 0.12)),  # half of all
        (companion_shadows, (0.75, 1.0), (0.01, 0.12)),  # 1 - (.4 x .6)^2 = .94
        (devices, (0.35, 0.8), (0.05, 0.7)),  # 1 - .7 x .8 x .88 x .8 = .61
        (emphysema, (0.2, 0.7), (0.5, 1.0)),  # a share of the lung: .45
        (marker, (0.7, 1.0), (1.0, 1.0)),  # .85
    ],
)
def test_look_alikes(
    look_alike: Callable[[Chest], np.ndarray], often: tuple[float, float], bright: tuple[float, float]
) -> None:
    drawn = [look_alike(Chest(np.random.default_rng([2, n]), 64)) for n in range(40)]
    present = [image for image in drawn if image.max() > 1e-3]
    assert often[0] <= len(present) / len(drawn) <= often[1]
    assert bright[0] <= np.median([image.max() for image in present]) <= bright[1]
