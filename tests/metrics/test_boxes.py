import pytest
import torch
from torch import nan

from monai_wsss.metrics.boxes import best_box_iou, component_boxes, pointing_hits

NONE = [nan, nan, nan, nan]


def one(array):
    return torch.as_tensor(array)[None, None]


def point_map(*points, shape=(8, 6), value=2.0):
    maps = torch.zeros(shape)
    for point in points:
        maps[point] = value
    return maps


@pytest.mark.parametrize(
    ("points", "boxes", "tolerance", "hit"),
    [
        ([(2, 4)], [[2, 4, 3, 5]], 0, 1),  # the box is that pixel
        ([(2, 4)], [[4, 2, 5, 3]], 0, 0),  # axes changed over
        ([(2, 4)], [[2.5, 4.5, 3, 5]], 0, 1),  # its centre lies on the corner
        ([(2, 4)], [[2.6, 4, 3, 5]], 0, 0),
        ([(2, 4)], [[2.6, 4, 3, 5]], 0.2, 1),
        ([(2, 4)], [[5.5, 0.5, 6, 0.6]], 4.8, 0),  # 3 and 3.9 off: distance 4.92, less than either sum or 2 x 2.4
        ([(2, 4)], [[5.5, 0.5, 6, 0.6]], 5.0, 1),
        ([(2, 4)], [[0, 0, 1, 1], [2, 4, 3, 5]], 0, 1),  # any box
        ([(2, 4)], [[2, 4, 3, 5], NONE], 0, 1),
        ([(2, 4), (6, 1)], [[2, 4, 3, 5]], 0, 0.5),  # two maxima, one of them inside
        ([(2, 4), (6, 1), (0, 0)], [[2, 4, 3, 5], [6, 1, 7, 2]], 0, 2 / 3),
        ([], [[0, 0, 4, 3]], 0, 0.25),  # flat: 12 of 48 pixels
    ],
)
def test_pointing(points, boxes, tolerance, hit):
    assert pointing_hits(one(point_map(*points)), one(boxes).float(), tolerance).item() == pytest.approx(hit)


def test_pointing_without_a_box_is_undefined():
    assert pointing_hits(one(point_map((1, 1))), one([NONE])).isnan().all()
    assert pointing_hits(one(point_map((1, 1))), torch.zeros(1, 1, 0, 4)).isnan().all()


def test_pointing_in_3d():
    maps = torch.zeros(1, 1, 4, 5, 6)
    maps[0, 0, 1, 2, 5] = 1
    inside, beside = [1, 2, 5, 2, 3, 6], [1, 2, 0, 2, 3, 5]
    assert pointing_hits(maps.half(), one([inside])).item() == 1 and pointing_hits(maps, one([beside])).item() == 0


@pytest.mark.parametrize("change", [lambda m: 3 * m - 7, lambda m: m.half(), lambda m: (2 * m).to(torch.uint8)])
def test_pointing_does_not_depend_on_scale_or_type(change):
    maps = point_map((2, 4), (6, 1))
    assert pointing_hits(one(change(maps)), one([[2, 4, 3, 5]])).item() == 0.5


def test_a_batch_is_its_images_and_channels():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(6, (3, 2, 8, 6), generator=generator)
    low = torch.randint(4, (3, 2, 2, 2), generator=generator).double()
    boxes = torch.cat([low, low + 2], -1)
    boxes[0, 0, 1] = nan
    hits, found = pointing_hits(maps, boxes), component_boxes(maps, 4)
    overlap = best_box_iou(found, boxes)
    for b in range(3):
        for c in range(2):
            assert pointing_hits(one(maps[b, c]), one(boxes[b, c])).item() == hits[b, c]
            assert torch.equal(component_boxes(one(maps[b, c]), 4)[0, 0], found[b, c])
            assert best_box_iou(one(found[b, c]), one(boxes[b, c])).item() == overlap[b, c]


def test_mirrored_map_and_box_score_the_same():
    maps, box = point_map((2, 4), (3, 4), (6, 1)), torch.tensor([[2.0, 4, 3, 6]])
    mirrored = torch.tensor([[8 - 3.0, 4, 8 - 2, 6]])
    assert pointing_hits(one(maps), one(box)) == pointing_hits(one(maps.flip(0)), one(mirrored)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("points", "box"),
    [
        ([(2, 4)], [2, 4, 3, 5]),
        ([(1, 1), (2, 2), (3, 1), (6, 5)], [1, 1, 4, 3]),  # corners touch
        ([(0, 0), (5, 4), (6, 4)], [5, 4, 7, 5]),
        ([], NONE),
    ],
)
def test_component_box(points, box):
    for mask in (point_map(*points), point_map(*points) > 0):
        assert component_boxes(one(mask))[0, 0].tolist() == pytest.approx(box, nan_ok=True)


def test_component_box_threshold_is_on_the_maps_scale_and_strict():
    maps = torch.tensor([[0.2, 0.5, 0.9, 0.6]])
    assert component_boxes(one(maps), 0.5)[0, 0].tolist() == [0, 2, 1, 4]
    assert component_boxes(one(maps), 0.4)[0, 0].tolist() == [0, 1, 1, 4]


def test_component_box_in_3d():
    maps = torch.zeros(1, 1, 4, 5, 6)
    maps[0, 0, 1:3, 2, 3:6] = 1
    assert component_boxes(maps)[0, 0].tolist() == [1, 2, 3, 3, 3, 6]


@pytest.mark.parametrize(
    ("box", "boxes", "overlap"),
    [
        ([0, 0, 2, 2], [[1, 1, 3, 3]], 1 / 7),
        ([0, 0, 2, 2], [[1, 1, 3, 3], [0, 0, 2, 4]], 1 / 2),  # the better of two
        ([0, 0, 2, 2], [[2, 2, 3, 3]], 0),
        ([0, 0, 2.5, 2], [[0, 0, 2.5, 2]], 1),
        (NONE, [[1, 1, 3, 3]], 0),  # nothing found
        ([0, 0, 2, 2], [NONE, [1, 1, 3, 3]], 1 / 7),
    ],
)
def test_box_iou(box, boxes, overlap):
    assert best_box_iou(one(box).float(), one(boxes).float()).item() == pytest.approx(overlap, abs=1e-6)


def test_box_iou_without_a_true_box_is_undefined():
    assert best_box_iou(one([0.0, 0, 2, 2]), one([NONE])).isnan().all()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: pointing_hits(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 6)), "boxes"),
        (lambda: pointing_hits(torch.zeros(1, 1, 4), torch.zeros(1, 1, 2, 2)), "maps"),
        (lambda: pointing_hits(torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 2, 4)), "boxes"),
        (lambda: pointing_hits(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 4), -1), "tolerance"),
        (lambda: pointing_hits(torch.full((1, 1, 4, 4), nan), torch.zeros(1, 1, 2, 4)), "finite"),
        (lambda: best_box_iou(torch.zeros(1, 1, 4), torch.zeros(1, 1, 2, 6)), "boxes"),
    ],
)
def test_bad_arguments(call, match):
    with pytest.raises(ValueError, match=match):
        call()
