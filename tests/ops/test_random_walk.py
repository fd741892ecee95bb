import itertools

import numpy as np
import pytest
import torch

from monai_wsss.ops.random_walk import random_walk


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values)[None, None, None]


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def dense_weights(boundary: np.ndarray, radius: float, beta: float) -> np.ndarray:
    """a_ij^beta of all pairs of pixels, (N, N), from distances to the line through both."""
    cells = np.array(list(np.ndindex(boundary.shape)))
    flat = boundary.reshape(-1).astype(np.float64)
    weights = np.eye(len(cells))
    for i, j in itertools.combinations(range(len(cells)), 2):
        line = (cells[j] - cells[i]).astype(float)
        if line @ line >= radius**2:
            continue
        box = np.all((cells >= np.minimum(cells[i], cells[j])) & (cells <= np.maximum(cells[i], cells[j])), axis=1)
        relative = cells[box] - cells[i]
        foot = np.outer(relative @ line / (line @ line), line)
        near = ((relative - foot) ** 2).sum(axis=1) < 1 - 1e-9
        weights[i, j] = weights[j, i] = (1 - flat[box][near].max()) ** beta
    return weights


def dense_walk(
    maps: np.ndarray, boundary: np.ndarray, radius: float, beta: float, doublings: int, multiply: bool = True
) -> np.ndarray:
    """The published form: the column-normalised matrix squared again and again."""
    weights = dense_weights(boundary, radius, beta)
    transition = weights / weights.sum(axis=0, keepdims=True)
    for _ in range(doublings):
        transition = transition @ transition
    start = (maps * (1 - boundary) if multiply else maps).reshape(len(maps), -1).astype(np.float64)
    return (start @ transition).reshape(maps.shape)


@pytest.mark.parametrize(
    ("maps", "boundary", "beta", "steps", "expected"),
    [
        # a_12 = .5, both columns sum to 1.5
        (row(1.0, 0.0), row(0.0, 0.5), 1.0, 0, row(1.0, 0.0)),
        (row(1.0, 0.0), row(0.0, 0.5), 1.0, 1, row(2 / 3, 1 / 3)),
        (row(1.0, 0.0), row(0.0, 0.5), 1.0, 2, row(5 / 9, 4 / 9)),
        (row(1.0, 0.0), row(0.0, 0.5), 2.0, 1, row(0.8, 0.2)),  # .25: sums of 1.25
        # a_12 = 1, a_23 = .5: columns sum to 2, 2.5, 1.5; by rows the middle would get .5 x .5 / 1.5 instead
        (row(0.0, 0.0, 1.0), row(0.0, 0.0, 0.5), 1.0, 1, row(0.0, 0.1, 1 / 3)),
        # a wall of 1 neither keeps nor passes anything
        (row(0.6, 1.0, 0.0), row(0.0, 1.0, 0.0), 1.0, 4, row(0.6, 0.0, 0.0)),
    ],
)
def test_by_hand(maps, boundary, beta, steps, expected):
    torch.testing.assert_close(random_walk(maps, boundary, radius=2, beta=beta, steps=steps), expected)


@pytest.mark.parametrize(
    ("shape", "radius"),
    [((9, 13), 5), ((13, 9), 5), ((3, 17), 5), ((17, 1), 5), ((2, 2), 10), ((4, 3, 5), 3)],
)
def test_equals_the_dense_formula(shape, radius):
    maps, boundary = rand(2, 2, *shape), rand(2, 1, *shape, seed=1) ** 3
    walked = random_walk(maps, boundary, radius=radius, beta=10, steps=256)
    for ours, m, b in zip(walked, maps.numpy(), boundary.numpy(), strict=True):
        np.testing.assert_allclose(ours.numpy(), dense_walk(m, b[0], radius, 10, 8), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize("beta", [5, 10])
def test_maps_multiplied_or_not_as_in_the_dense_formula(beta, multiply):
    maps, boundary = rand(2, 2, 8, 11), rand(2, 1, 8, 11, seed=1) ** 3
    walked = random_walk(maps, boundary, radius=5, beta=beta, steps=16, multiply_edge=multiply)
    for ours, m, b in zip(walked, maps.numpy(), boundary.numpy(), strict=True):
        np.testing.assert_allclose(ours.numpy(), dense_walk(m, b[0], 5, beta, 4, multiply), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(walked, random_walk(maps, boundary, 5, beta, 16, not multiply), atol=1e-2)


@pytest.mark.parametrize(
    ("maps", "boundary", "beta", "steps", "expected"),
    [
        (row(0.0, 1.0), row(0.0, 0.5), 1.0, 0, row(0.0, 1.0)),
        (row(0.0, 1.0), row(0.0, 0.5), 1.0, 1, row(1 / 3, 2 / 3)),  # a_12 = .5, columns sum to 1.5
        (row(0.0, 1.0), row(0.0, 0.5), 5.0, 1, row(1 / 33, 32 / 33)),  # .5^5 = 1 / 32
        (row(0.6, 1.0, 0.0), row(0.0, 1.0, 0.0), 1.0, 4, row(0.6, 1.0, 0.0)),  # a wall keeps what stands on it
    ],
)
def test_by_hand_without_multiplying(maps, boundary, beta, steps, expected):
    walked = random_walk(maps, boundary, radius=2, beta=beta, steps=steps, multiply_edge=False)
    torch.testing.assert_close(walked, expected)
    assert walked.data_ptr() != maps.data_ptr()


def test_a_constant_stays_whatever_the_boundary_if_not_multiplied():
    walked = random_walk(torch.full((1, 1, 9, 8), 0.7), rand(1, 1, 9, 8) ** 2, multiply_edge=False)
    torch.testing.assert_close(walked, torch.full((1, 1, 9, 8), 0.7))


def test_weighted_mass_is_kept_and_a_constant_stays():
    boundary = rand(1, 1, 8, 9) ** 2
    weight = torch.from_numpy(dense_weights(boundary[0, 0].numpy(), 4, 3).sum(axis=0)).reshape(8, 9)
    maps = torch.cat([rand(1, 1, 8, 9, seed=1), 0.5 / (1 - boundary)], dim=1)
    walked = random_walk(maps, boundary, radius=4, beta=3, steps=100)
    start = maps * (1 - boundary)
    torch.testing.assert_close((walked * weight).sum(dim=(2, 3)), (start * weight).sum(dim=(2, 3)))
    torch.testing.assert_close(walked[:, 1], torch.full((1, 8, 9), 0.5))


def test_no_value_leaves_the_range():
    maps, boundary = rand(1, 1, 20, 31), rand(1, 1, 20, 31, seed=1)
    start = maps * (1 - boundary)
    spread = 1.0
    for steps in (1, 10, 200):
        walked = random_walk(maps, boundary, steps=steps)
        assert start.min() <= walked.min() and walked.max() <= start.max()
        assert walked.max() - walked.min() < spread
        spread = float(walked.max() - walked.min())


def test_a_closed_boundary_holds_the_map_and_fills_the_room():
    boundary = torch.zeros(1, 1, 12, 14)
    boundary[..., 2:10, 3] = boundary[..., 2:10, 11] = 1
    boundary[..., 2, 3:12] = boundary[..., 9, 3:12] = 1
    maps = torch.zeros(1, 1, 12, 14)
    maps[..., 5, 6] = 1
    walked = random_walk(maps, boundary)
    room = torch.zeros(12, 14, dtype=torch.bool)
    room[3:9, 4:11] = True
    assert walked[0, 0][~room].abs().max() == 0
    # weighted by the number of neighbours, as the mass is: corners count less than the middle, their value is the same
    inside = walked[0, 0][room]
    torch.testing.assert_close(inside, torch.full_like(inside, float(inside[0])), rtol=0.02, atol=0)
    assert inside[0] > 1 / 42


@pytest.mark.parametrize("axis", [2, 3])
def test_flipped_image_flipped_result(axis):
    maps, boundary = rand(1, 2, 131, 67), rand(1, 1, 131, 67, seed=1) ** 4
    walked = random_walk(maps, boundary, steps=20)
    torch.testing.assert_close(random_walk(maps.flip(axis), boundary.flip(axis), steps=20), walked.flip(axis))


def test_transposed_image_transposed_result():
    maps, boundary = rand(1, 2, 21, 34), rand(1, 1, 21, 34, seed=1) ** 4
    torch.testing.assert_close(random_walk(maps.mT, boundary.mT), random_walk(maps, boundary).mT)


def test_batch_equals_singles_and_classes_do_not_mix():
    maps, boundary = rand(3, 2, 11, 10), rand(3, 1, 11, 10, seed=1)
    maps[1, 0] = 0
    walked = random_walk(maps, boundary)
    for b, k in itertools.product(range(3), range(2)):
        alone = random_walk(maps[b : b + 1, k : k + 1], boundary[b : b + 1])
        torch.testing.assert_close(walked[b : b + 1, k : k + 1], alone)
    assert walked[1, 0].abs().max() == 0


@pytest.mark.parametrize(("radius", "boundary"), [(1, 0.25), (5, 1.0)])
def test_without_partners_values_stay(radius, boundary):
    maps = rand(1, 1, 6, 7)
    walked = random_walk(maps, torch.full((1, 1, 6, 7), boundary), radius=radius)
    torch.testing.assert_close(walked, maps * (1 - boundary))


def test_weights_that_underflow_are_no_trouble():
    walked = random_walk(rand(1, 1, 9, 9), torch.full((1, 1, 9, 9), 1 - 2**-20), beta=10, steps=256)
    torch.testing.assert_close(walked, rand(1, 1, 9, 9) * 2**-20)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_walked_in_float32(dtype):
    maps, boundary = rand(1, 2, 12, 9).to(dtype), rand(1, 1, 12, 9, seed=1).to(dtype)
    expected = random_walk(maps.float(), boundary.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        walked = random_walk(maps, boundary)
    assert walked.dtype == torch.float32
    torch.testing.assert_close(walked, expected)


def test_inputs_are_left_alone_and_no_gradient_is_recorded():
    maps, boundary = rand(1, 1, 5, 6).requires_grad_(), rand(1, 1, 5, 6)
    before = maps.detach().clone(), boundary.clone()
    walked = random_walk(maps, boundary)
    assert not walked.requires_grad
    assert torch.equal(maps, before[0]) and torch.equal(boundary, before[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boundary": torch.zeros(1, 1, 4, 6)}, "maps must be"),
        ({"boundary": torch.zeros(2, 1, 4, 5)}, "maps must be"),
        ({"boundary": torch.zeros(1, 2, 4, 5)}, "boundary must be"),
        ({"boundary": torch.full((1, 1, 4, 5), 2.0)}, "boundary must be"),
        ({"maps": torch.full((1, 2, 4, 5), float("nan"))}, "finite"),
        ({"beta": 0.0}, "beta"),
        ({"steps": -1}, "-1"),
        ({"radius": 0}, "radius"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        random_walk(**{"maps": torch.zeros(1, 2, 4, 5), "boundary": torch.zeros(1, 1, 4, 5), **arguments})
