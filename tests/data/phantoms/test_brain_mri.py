import numpy as np
import pytest
from scipy import ndimage

from monai_wsss.data.phantoms import PHANTOMS, Phantom


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return [PHANTOMS["brain_mri"].draw(np.random.default_rng([5, n]), "train", True, 96, 6) for n in range(6)]


def contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Median of the lesions over the median of a ring around them."""
    plane = np.ones((3, 3, 1), bool)
    ring = ndimage.binary_dilation(mask, plane, iterations=4) & ~ndimage.binary_dilation(mask, plane)
    return float(np.median(image[mask]) / np.median(image[ring]))


def test_t1_hardly_shows_the_lesion(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        mask = phantom.mask > 0
        assert contrast(phantom.image, mask) > 1.3
        # .62 in white matter of .66 and beside a cortex of .48, which a ring may mostly be
        assert 0.85 < contrast(phantom.extra["t1"], mask) < 1.25


def test_t1_is_the_same_head(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        outlines = [image > 0.25 * np.percentile(image, 95) for image in (phantom.image, phantom.extra["t1"])]
        filled = [np.stack([ndimage.binary_fill_holes(s) for s in np.moveaxis(o, -1, 0)], -1) for o in outlines]
        assert 2 * np.sum(filled[0] & filled[1]) / (filled[0].sum() + filled[1].sum()) > 0.97
        assert phantom.extra["t1"].dtype == np.int16 and phantom.extra["t1"].shape == phantom.image.shape


def test_the_second_contrast_changes_no_number_of_the_first() -> None:
    # The first numbers that this generator ever wrote: studies made with older versions stay comparable.
    phantom = PHANTOMS["brain_mri"].draw(np.random.default_rng([0, 0]), "train", True, 96, 10)
    assert (int(phantom.image.sum()), int(phantom.mask.sum())) == (14869326, 1149)
