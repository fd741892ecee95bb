import itertools
import math

import pytest
import torch

from monai_wsss.ops.pair_paths import pair_offsets, pair_paths, pair_view, path_cells


@pytest.mark.parametrize(("radius", "pairs", "cells", "lengths"), [(5, 34, 242, 9), (10, 152, 2134, 20)])
def test_counts_of_the_published_graphs(radius, pairs, cells, lengths):
    sizes = [len(path_cells(offset)) for offset in pair_offsets(radius)]
    assert (len(sizes), sum(sizes), len(set(sizes))) == (pairs, cells, lengths)


@pytest.mark.parametrize(
    ("radius", "expected"),
    [
        (1, []),
        (1.1, [[0, 1], [1, 0]]),
        (2, [[0, 1], [1, -1], [1, 0], [1, 1]]),  # (0, 2) is not nearer than 2
    ],
)
def test_offsets_by_hand(radius, expected):
    offsets = pair_offsets(radius)
    assert offsets.tolist() == expected
    assert offsets.shape == (len(expected), 2)


@pytest.mark.parametrize(("radius", "dims"), [(5, 2), (3, 3)])
def test_each_pair_comes_once(radius, dims):
    ours = [tuple(d) for d in pair_offsets(radius, dims).tolist()]
    mirrored = [tuple(-v for v in d) for d in ours]
    ball = {d for d in itertools.product(range(-6, 7), repeat=dims) if 0 < math.dist(d, (0,) * dims) < radius}
    assert len(ours) + len(mirrored) == len(ball)
    assert {*ours, *mirrored} == ball


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ([0, 0], [[0, 0]]),
        ([0, 2], [[0, 0], [0, 1], [0, 2]]),
        ([1, -1], [[0, -1], [0, 0], [1, -1], [1, 0]]),  # the corners are 1 / sqrt 2 away
        ([2, 2], [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2], [2, 1], [2, 2]]),  # and here sqrt 2: out
        # |4 y - 3 x| / 5 < 1; (2, 1) and (1, 3) are exactly 1 away: out
        ([3, 4], [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2], [2, 2], [2, 3], [2, 4], [3, 3], [3, 4]]),
        ([0, 1, 0], [[0, 0, 0], [0, 1, 0]]),
        # squared distances from the diagonal are 2/3 for all but the ends
        ([1, 1, 1], [[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)]),
    ],
)
def test_path_by_hand(offset, expected):
    assert path_cells(torch.tensor(offset)).tolist() == expected


def test_path_is_the_same_from_the_other_end():
    for offset, cells in pair_paths(6):
        back = path_cells(-torch.tensor(offset)) + torch.tensor(offset)
        assert {tuple(c) for c in back.tolist()} == set(cells)


@pytest.mark.parametrize(
    ("offset", "cell", "expected"),
    [
        ((0, 1), (0, 0), [[0, 1], [3, 4]]),
        ((0, 1), (0, 1), [[1, 2], [4, 5]]),
        ((1, -1), (0, 0), [[1, 2]]),
        ((1, -1), (1, -1), [[3, 4]]),
        ((1, -1), (0, -1), [[0, 1]]),
        ((2, 0), (0, 0), []),
        ((0, -3), (0, -3), [[], []]),
    ],
)
def test_view(offset, cell, expected):
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    view = pair_view(x, offset, cell)
    assert view[0, 0].tolist() == expected
    assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


@pytest.mark.parametrize(("radius", "dims"), [(0, 2), (-1, 2), (math.nan, 2), (math.inf, 2), (5, 1), (5, 4)])
def test_bad_arguments(radius, dims):
    with pytest.raises(ValueError, match=str(dims if dims != 2 else radius)):
        pair_offsets(radius, dims)
