import math

import numpy as np
import pytest
import torch
from skimage.segmentation import find_boundaries

from monai_wsss.metrics.boundary_quality import THRESHOLDS, boundary_counts, boundary_scores


def disc(radius=12, label=1, size=48):
    y, x = np.mgrid[:size, :size] - size // 2
    return torch.from_numpy(np.where(x**2 + y**2 <= radius**2, label, 0).astype(np.uint8))[None, None]


def edges(truth):
    return torch.from_numpy(find_boundaries(truth[0, 0].numpy(), mode="thick").astype(np.float32))[None, None]


def split(width=12, height=5, at=6):
    """Label 1 from column `at` on: true boundary pixels are columns at - 1 and at, `height` each."""
    truth = torch.zeros(1, 1, height, width, dtype=torch.uint8)
    truth[..., at:] = 1
    return truth


def line(column, value=1.0, width=12, height=5):
    boundary = torch.zeros(1, 1, height, width)
    boundary[..., column] = value
    return boundary


# right, predicted, found, true: a line of one pixel, which thinning leaves alone, beside the true columns 5 and 6
@pytest.mark.parametrize(
    ("column", "tolerance", "expected"),
    [
        (5, 0, (5, 5, 5, 10)),  # on one of both
        (5, 1, (5, 5, 10, 10)),
        (4, 0, (0, 5, 0, 10)),
        (4, 1, (5, 5, 5, 10)),  # column 6 is 2 away
        (4, 2, (5, 5, 10, 10)),
        (9, 2, (0, 5, 0, 10)),
        (9, 3, (5, 5, 5, 10)),
    ],
)
def test_counts_by_hand(column, tolerance, expected):
    assert boundary_counts(line(column), split(), tolerance, [0.5]).tolist() == [[list(expected)]]


def test_distance_is_euclidean():
    """One predicted pixel, one corner of label 1: true pixels are (0, 1), (1, 0) and the corner (0, 0) itself."""
    truth, boundary = torch.zeros(1, 1, 6, 6, dtype=torch.uint8), torch.zeros(1, 1, 6, 6)
    truth[..., 0, 0], boundary[..., 2, 2] = 1, 1.0
    # distances to (2, 2): 2.83 from (0, 0), 2.24 from the others
    counts = [boundary_counts(boundary, truth, t, [0.5])[0, 0].tolist() for t in (2.2, 2.3, 2.9)]
    assert counts == [[0, 1, 0, 3], [1, 1, 2, 3], [1, 1, 3, 3]]


@pytest.mark.parametrize("labels", [[0, 1], [0, 2], [1, 2], [2, 1], [7, 254]])
def test_any_two_labels_have_a_boundary(labels):
    truth = torch.tensor(labels, dtype=torch.uint8)[split().long()]
    assert boundary_counts(line(5), truth, 1, [0.5]).tolist() == [[[5, 5, 10, 10]]]


def test_true_boundaries_are_those_of_scikit_image():
    truth = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (6, 1, 9, 7)).astype(np.uint8))
    counts = boundary_counts(torch.zeros(6, 1, 9, 7), truth, 1, [0.5])
    assert counts[:, 0, 3].tolist() == [find_boundaries(mask[0], mode="thick").sum() for mask in truth.numpy()]


def test_ignored_pixels_neither_count_nor_match():
    truth = split()
    truth[..., 0, :], truth[..., 9] = 255, 255
    boundary = torch.maximum(line(5), line(9))
    # rows 1 to 4 remain of the edge; the prediction at column 9 is ignored: neither wrong, nor does it find column 6
    assert boundary_counts(boundary, truth, 3, [0.5]).tolist() == [[[4, 4, 8, 8]]]
    assert boundary_counts(line(9), truth, 3, [0.5]).tolist() == [[[0, 0, 0, 8]]]
    assert not boundary_counts(boundary, torch.full_like(truth, 255), 3).any()


def test_an_ignored_border_hides_the_boundary():
    truth = split()
    truth[..., 5:7] = 255
    assert boundary_counts(line(5), truth, 3, [0.5]).tolist() == [[[0, 0, 0, 0]]]


def test_thick_lines_are_thinned():
    """Three columns become one: precision does not pay for the width."""
    boundary = line(5)
    boundary[..., 4:7] = 1.0
    (counts,) = boundary_counts(boundary, split(), 1, [0.5])[0].tolist()
    assert counts[1] <= 5 and counts[0] == counts[1]


@pytest.mark.parametrize("radius", [5, 12, 20])
def test_a_perfect_map_gives_one(radius):
    truth = disc(radius)
    for tolerance in (1, 2):
        scores = boundary_scores(boundary_counts(edges(truth), truth, tolerance))
        assert scores == {"precision": 1.0, "recall": 1.0, "max_f": 1.0, "threshold": 0.05}


def test_thresholds_are_inclusive_and_pooled_over_images():
    """Image 1: a line of .6 on the edge and one of .3 far off. Image 2: nothing is found of 10 true pixels."""
    boundary = torch.cat([torch.maximum(line(5, 0.6), line(10, 0.3)), line(0, 0.0)])
    truth, thresholds = torch.cat([split(), split()]), [0.3, 0.5, 0.6, 0.7]
    counts = boundary_counts(boundary, truth, 1, thresholds)
    assert counts.tolist() == [
        [[5, 10, 10, 10], [5, 5, 10, 10], [5, 5, 10, 10], [0, 0, 0, 10]],
        [[0, 0, 0, 10]] * 4,
    ]
    # F of .3: P 1/2, R 1/2 -> 1/2; of .5 and .6: P 1, R 1/2 -> 2/3; the lower of the two is given
    scores = boundary_scores(counts, thresholds)
    assert scores == {"precision": 1.0, "recall": 0.5, "max_f": pytest.approx(2 / 3), "threshold": 0.5}
    assert boundary_scores(counts.sum(0), thresholds) == scores
    assert boundary_scores(counts[:, [2, 0, 3, 1]], [0.6, 0.3, 0.7, 0.5]) == scores


@pytest.mark.parametrize(
    ("boundary", "truth", "expected"),
    [
        (line(5, 0.0), split(), (None, 0.0, 0.0, 0.05)),  # nothing predicted
        (line(0), split(), (0.0, 0.0, 0.0, 0.05)),  # nothing right
        (line(5), torch.zeros_like(split()), (0.0, None, None, None)),  # no boundary to be found
        (line(5, 0.0), torch.zeros_like(split()), (None, None, None, None)),
        (line(5, 0.0)[:0], split()[:0], (None, None, None, None)),  # no image
    ],
)
def test_undefined_scores(boundary, truth, expected):
    scores = boundary_scores(boundary_counts(boundary, truth, 1))
    assert tuple(scores.values()) == expected
    assert all(value is None or math.isfinite(value) for value in scores.values())


def test_negatives_lower_precision():
    """An image without any label, where a boundary is claimed, beside a perfect one: P 1/2, R 1 -> F 2/3."""
    counts = boundary_counts(torch.cat([line(5), line(5)]), torch.cat([split(), torch.zeros_like(split())]), 1, [0.5])
    scores = boundary_scores(counts, [0.5])
    assert (scores["precision"], scores["recall"], scores["max_f"]) == (0.5, 1.0, pytest.approx(2 / 3))


@pytest.fixture(scope="module")
def several():
    """Noisy boundary maps of discs and their truths, one of them with two labels and ignored pixels."""
    torch.manual_seed(0)
    truth = torch.cat([disc(8), disc(14, 3), disc(5, 2)])
    truth[1, 0, :, 24:][truth[1, 0, :, 24:] > 0] = 1
    maps = torch.cat([edges(t[None]) for t in truth]) * 0.6 + 0.4 * torch.rand(3, 1, 48, 48)
    truth[2, 0, :22] = 255
    return maps, truth


def test_batch_is_what_single_images_give(several):
    maps, truth = several
    single = [boundary_counts(maps[i : i + 1], truth[i : i + 1], 2) for i in range(3)]
    counts = boundary_counts(maps, truth, 2)
    assert counts.dtype == torch.int64 and counts.shape == (3, len(THRESHOLDS), 4)
    assert torch.equal(counts, torch.cat(single)) and counts[:, :, 0].sum() > 0
    order = [2, 0, 1]
    assert torch.equal(boundary_counts(maps[order], truth[order], 2), counts[order])


@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3)])
def test_flips(several, axes):
    """Exact for lines of one pixel; a skeleton may choose the other of two middles, which the tolerance takes up."""
    maps, truth = several
    lines, wall = torch.maximum(line(3, 0.5), line(8, 0.9)), split()
    assert torch.equal(boundary_counts(lines.flip(axes), wall.flip(axes), 1), boundary_counts(lines, wall, 1))
    one, two = (
        boundary_scores(boundary_counts(m, t, 2)) for m, t in ((maps, truth), (maps.flip(axes), truth.flip(axes)))
    )
    assert two["max_f"] == pytest.approx(one["max_f"], abs=0.01) and 0.5 < one["max_f"] <= 1


def test_a_wider_tolerance_never_lowers_a_count(several):
    counts = torch.stack([boundary_counts(*several, tolerance) for tolerance in (0, 1, 2, 4)])
    assert (counts.diff(dim=0)[..., [0, 2]] >= 0).all() and not counts.diff(dim=0)[..., [1, 3]].any()


def test_half_precision_and_other_label_types(several):
    maps, truth = several
    steps = (maps * 16).round() / 16  # exact in half precision
    expected = boundary_counts(steps, truth, 2)
    assert torch.equal(boundary_counts(steps.half(), truth, 2), expected)
    assert torch.equal(boundary_counts(steps.double(), truth.long(), 2), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boundary": line(5)[0]}, r"must be \(B, 1, H, W\), got \(1, 5, 12\)"),
        ({"truth": split(width=11)}, "must be"),
        ({"boundary": line(5, 1.2)}, r"in \[0, 1\]"),
        ({"boundary": line(5, math.nan)}, "NaN"),
        ({"tolerance": -1.0}, "tolerance must be >= 0"),
        ({"thresholds": []}, "one threshold or more"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        boundary_counts(**{"boundary": line(5), "truth": split(), "tolerance": 1.0} | change)


def test_counts_of_other_thresholds_are_refused():
    with pytest.raises(ValueError, match=r"counts must be \(\.\.\., 19, 4\), got \(1, 1, 4\)"):
        boundary_scores(boundary_counts(line(5), split(), 1, [0.5]))
