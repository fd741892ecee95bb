import itertools

import numpy as np
import pytest
import torch

from monai_wsss.ops.affinity import affinity_targets, boundary_affinity, pair_targets, path_max
from monai_wsss.ops.pair_paths import pair_offsets, pair_paths


def maps_of(rows, dtype=torch.float32):
    return torch.tensor(rows, dtype=dtype)[None, None]


def affinity_by_loops(boundary: np.ndarray, offsets: list[list[int]]) -> np.ndarray:
    """Pixel by pixel, distances by the cross product."""
    height, width = boundary.shape
    result = np.zeros((len(offsets), height, width))
    for p, (dy, dx) in enumerate(offsets):
        for y, x in np.ndindex(height, width):
            if not (0 <= y + dy < height and 0 <= x + dx < width):
                continue
            rows, columns = sorted((y, y + dy)), sorted((x, x + dx))
            box = itertools.product(range(rows[0], rows[1] + 1), range(columns[0], columns[1] + 1))
            near = [boundary[v, u] for v, u in box if ((v - y) * dx - (u - x) * dy) ** 2 < dy * dy + dx * dx]
            result[p, y, x] = 1 - max(near)
    return result


def test_affinity_by_hand():
    # offsets (0, 1), (1, -1), (1, 0), (1, 1); a diagonal path has all four cells
    affinity = boundary_affinity(maps_of([[0.1, 0.2, 0.0], [0.3, 0.0, 1.0]]), 2)
    expected = [
        [[0.8, 0.8, 0.0], [0.7, 0.0, 0.0]],
        [[0.0, 0.7, 0.0], [0.0, 0.0, 0.0]],
        [[0.7, 0.8, 0.0], [0.0, 0.0, 0.0]],
        [[0.7, 0.0, 0.0], [0.0, 0.0, 0.0]],
    ]
    torch.testing.assert_close(affinity[0], torch.tensor(expected))


@pytest.mark.parametrize(("shape", "radius"), [((9, 7), 5), ((3, 11), 5), ((1, 6), 3), ((6, 2), 10)])
def test_affinity_equals_loops_at_any_size(shape, radius):
    boundary = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    affinity = boundary_affinity(boundary, radius)
    for image, a in zip(boundary, affinity, strict=True):
        expected = affinity_by_loops(image[0].double().numpy(), pair_offsets(radius).tolist())
        np.testing.assert_allclose(a.numpy(), expected, atol=1e-6)


def test_affinity_in_3d():
    boundary = torch.zeros(1, 1, 3, 3, 3)
    boundary[0, 0, 1] = 0.75  # a wall between the first and the last slice
    affinity = boundary_affinity(boundary, 2.5)
    offsets = pair_offsets(2.5, 3).tolist()
    assert affinity.shape == (1, len(offsets), 3, 3, 3)
    for offset, a in zip(offsets, affinity[0, :, 0, 1, 1].tolist(), strict=True):
        inside = all(0 <= o + start < 3 for o, start in zip(offset, (0, 1, 1), strict=True))
        assert a == (0 if not inside else 0.25 if offset[0] else 1), offset


def test_half_precision_is_promoted():
    boundary = torch.rand(1, 1, 6, 6).half()
    affinity = boundary_affinity(boundary, 3)
    assert affinity.dtype == torch.float32
    torch.testing.assert_close(affinity, boundary_affinity(boundary.float(), 3))


def test_no_pair_within_one_pixel():
    boundary = torch.rand(2, 1, 4, 5)
    assert boundary_affinity(boundary, 1).shape == (2, 0, 4, 5)
    assert all(kind.shape == (2, 0, 4, 5) for kind in affinity_targets((boundary > 0.5).byte(), 1))


def test_gradient_of_affinity():
    boundary = torch.rand(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b: boundary_affinity(b, 3), boundary)


def test_gradient_goes_to_the_first_of_equal_cells():
    boundary = torch.full((1, 1, 1, 3), 0.5, requires_grad=True)
    path_max(boundary, (0, 2), ((0, 0), (0, 1), (0, 2))).sum().backward()
    assert boundary.grad.tolist() == [[[[1.0, 0.0, 0.0]]]]


def test_gradient_of_a_path_of_more_cells_than_a_byte_counts():
    x = torch.rand(1, 1, 1, 300, requires_grad=True)
    peak = torch.zeros(1, 1, 1, 300)
    peak[..., 290] = 2
    path_max(x + peak, (0, 299), tuple((0, i) for i in range(300))).sum().backward()
    assert x.grad.flatten().nonzero().flatten().tolist() == [290]


def test_nothing_is_recorded_without_gradient():
    boundary = torch.rand(1, 1, 4, 4, requires_grad=True)
    with torch.no_grad():
        assert not boundary_affinity(boundary, 3).requires_grad


def test_targets_by_hand():
    # 255 is ignored; offsets (0, 1), (1, -1), (1, 0), (1, 1)
    labels = maps_of([[0, 0, 2], [0, 2, 2], [1, 255, 254]], torch.uint8)
    background, foreground, negative = (kind[0].int().tolist() for kind in affinity_targets(labels, 2))
    assert background == [
        [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 1, 0], [0, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ]
    assert foreground == [
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ]
    assert negative == [
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[0, 1, 0], [1, 0, 1], [0, 0, 0]],
        [[1, 1, 0], [0, 1, 0], [0, 0, 0]],
    ]


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 3)])
def test_targets_are_exclusive_and_cover_the_valid_pairs(shape):
    labels = torch.randint(0, 4, (2, 1, *shape), generator=torch.Generator().manual_seed(1)).byte()
    labels[labels == 3] = 255
    kinds = affinity_targets(labels, 3)
    valid = boundary_affinity((labels == 255).float(), 3)  # 1 wherever the pair is inside and its path has no 255
    covered = sum(kind.int() for kind in kinds)
    assert covered.max() == 1
    assert bool((covered[valid > 0] == 1).all())
    full = affinity_targets(torch.zeros_like(labels), 3)
    assert bool((covered <= full[0]).all())
    assert not full[1].any() and not full[2].any()


def test_targets_of_one_offset_are_those_of_all():
    labels = torch.randint(0, 3, (2, 1, 6, 5), generator=torch.Generator().manual_seed(2)).byte()
    for p, (offset, _) in enumerate(pair_paths(4)):
        for ours, every in zip(pair_targets(labels, offset), affinity_targets(labels, 4), strict=True):
            assert ours.sum() == every[:, p].sum()


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64])
def test_labels_of_any_integer_type(dtype):
    labels = torch.tensor([[0, 1, 254, 255]], dtype=torch.uint8)[None, None]
    for ours, bytes_ in zip(affinity_targets(labels.to(dtype), 3), affinity_targets(labels, 3), strict=True):
        assert torch.equal(ours, bytes_)


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (4, 4), (1, 1, 4)])
def test_bad_shapes(shape):
    with pytest.raises(ValueError, match="boundary must be"):
        boundary_affinity(torch.zeros(shape), 3)
    with pytest.raises(ValueError, match="labels must be"):
        affinity_targets(torch.zeros(shape, dtype=torch.uint8), 3)


@pytest.mark.parametrize("value", [-3.0, 1.5, float("nan")])
def test_boundary_must_be_a_probability(value):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        boundary_affinity(torch.full((1, 1, 3, 3), value), 3)
