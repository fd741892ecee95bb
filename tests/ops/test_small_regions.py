"""Small regions with low confidence are noise; small or weak alone is not."""

import pytest
import torch
from skimage.measure import label as skimage_label

from monai_wsss.ops.small_regions import drop_small_regions


def image(*rows):
    return torch.tensor(rows, dtype=torch.uint8)[None, None]


# Regions of class 1: A 5 pixels at .4 (large), B 2 pixels at .3 and .7 (small, peak .7), C 1 pixel at .4 (small, weak),
# diagonal D 2 pixels at .2 (small, weak)
LABELS = image([1, 1, 1, 0, 1], [1, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 1, 0], [0, 0, 0, 0, 1])
MAP = torch.tensor([[0.4, 0.4, 0.4, 0, 0.3], [0.4, 0.4, 0, 0, 0.7], [0] * 5, [0.4, 0, 0, 0.2, 0], [0, 0, 0, 0, 0.2]])


@pytest.mark.parametrize(
    ("min_size", "min_confidence", "kept"),
    [
        (5, 0.5, "AB"),
        (6, 0.5, "B"),  # A has 5 pixels, fewer than 6
        (6, 0.4, "ABC"),  # at the threshold is confident enough
        (6, 0.8, ""),
        (2, 0.5, "ABD"),  # corners connect: D has 2 pixels, not fewer than 2
        (1, 1.0, "ABCD"),
        (0, 1.0, "ABCD"),  # off
        (6, 0.0, "ABCD"),  # off
    ],
)
@pytest.mark.parametrize("fill", [0, 255])
def test_table(min_size, min_confidence, kept, fill):
    places = {
        "A": [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)],
        "B": [(0, 4), (1, 4)],
        "C": [(3, 0)],
        "D": [(3, 3), (4, 4)],
    }
    expected = LABELS.clone()
    for name, cells in places.items():
        for y, x in cells:
            expected[0, 0, y, x] = 1 if name in kept else fill
    before = LABELS.clone()
    found = drop_small_regions(LABELS, MAP[None, None], min_size, min_confidence, fill)
    assert torch.equal(found, expected) and found.dtype == torch.uint8
    assert torch.equal(LABELS, before)  # not in place


def test_a_class_looks_at_its_own_map_and_touching_classes_are_two_regions():
    """One pixel of class 1 beside one of class 2; map 1 is strong at both, map 2 weak at both."""
    found = drop_small_regions(image([1, 2]), torch.tensor([[[[0.9, 0.9]], [[0.1, 0.1]]]]), 2, 0.5)
    assert found.flatten().tolist() == [1, 0]


def test_ignored_pixels_are_no_region_and_stay():
    labels = image([255, 1, 0])
    assert drop_small_regions(labels, torch.zeros(1, 1, 1, 3), 9, 0.5).flatten().tolist() == [255, 0, 0]


def test_images_of_a_batch_do_not_touch():
    """The same pixel in two images: together they would be 2 pixels."""
    labels = image([1, 0]).repeat(2, 1, 1, 1)
    assert not drop_small_regions(labels, torch.zeros(2, 1, 1, 2), 2, 0.5).any()


def test_slices_of_a_volume_touch_also_by_a_corner():
    labels = torch.zeros(1, 1, 2, 2, 2, dtype=torch.uint8)
    labels[0, 0, 0, 0, 0] = labels[0, 0, 1, 1, 1] = 1
    weak = torch.zeros(1, 1, 2, 2, 2)
    assert drop_small_regions(labels, weak, 2, 0.5).sum() == 2
    assert drop_small_regions(labels, weak, 3, 0.5).sum() == 0


def naive(labels, confidence, min_size, min_confidence):
    """Region by region, with another package's components."""
    out = labels.clone()
    for b in range(len(labels)):
        for k in range(confidence.shape[1]):
            regions = torch.from_numpy(skimage_label((labels[b, 0] == k + 1).numpy(), connectivity=labels.ndim - 2))
            for number in range(1, int(regions.max()) + 1):
                region = regions == number
                if region.sum() < min_size and confidence[b, k][region].max() < min_confidence:
                    out[b, 0][region] = 0
    return out


@pytest.mark.parametrize("shape", [(12, 13), (6, 7, 5)])
def test_equals_a_loop_over_regions_and_flips(shape):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (3, 1, *shape), generator=generator, dtype=torch.uint8)
    labels *= (torch.rand(labels.shape, generator=generator) < 0.5).to(torch.uint8)
    confidence = torch.rand(3, 3, *shape, generator=generator)
    found = drop_small_regions(labels, confidence, 4, 0.8)
    assert torch.equal(found, naive(labels, confidence, 4, 0.8)) and not torch.equal(found, labels)
    assert torch.equal(drop_small_regions(labels.flip(-1), confidence.flip(-1), 4, 0.8).flip(-1), found)
    half = confidence.half()
    assert torch.equal(drop_small_regions(labels, half, 4, 0.8), naive(labels, half.float(), 4, 0.8))


def test_nothing_to_drop_and_nothing_at_all():
    assert not drop_small_regions(image([0, 0]), torch.zeros(1, 1, 1, 2), 9, 1.0).any()
    assert drop_small_regions(torch.zeros(0, 1, 4, 4, dtype=torch.uint8), torch.zeros(0, 1, 4, 4), 9, 1.0).numel() == 0


@pytest.mark.parametrize(
    ("labels", "confidence"),
    [
        (torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5)),
        (torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4)),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)),
        (torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, 4)),
        (torch.full((1, 1, 4, 4), 2), torch.zeros(1, 1, 4, 4)),  # a label without a map
    ],
)
def test_other_shapes_are_refused(labels, confidence):
    with pytest.raises(ValueError, match="must be"):
        drop_small_regions(labels.to(torch.uint8), confidence, 2, 0.5)
