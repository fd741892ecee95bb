import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from monai_wsss.ops.boundary_labels import BACKGROUND, BOUNDARY, FOREGROUND, UNCERTAIN, boundary_labels

LETTERS = {BACKGROUND: ".", FOREGROUND: "f", BOUNDARY: "B", UNCERTAIN: "u"}


def read(result: torch.Tensor) -> str:
    return "".join(LETTERS[value] for value in result.tolist())


def columns(text: str, height: int = 15) -> torch.Tensor:
    """An image whose columns are the text's labels, `x` for ignored."""
    row = [255 if letter == "x" else int(letter) for letter in text.replace(" ", "")]
    return torch.tensor(row, dtype=torch.uint8).repeat(1, 1, height, 1)


def random_labels(*shape: int, num_labels: int = 3, seed: int = 0, patch: int = 6) -> torch.Tensor:
    """Patches of one label each, some ignored, so that all kinds of boundary label occur."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, num_labels + 1, (2, 1, *(-(-n // patch) for n in shape)), generator=generator)
    for axis in range(len(shape)):
        coarse = coarse.repeat_interleave(patch, dim=axis + 2)
    coarse = coarse[(..., *(slice(n) for n in shape))]
    return coarse.masked_fill(coarse == num_labels, 255).byte()


def disc(radius: float, size: int = 41) -> torch.Tensor:
    y, x = torch.meshgrid(*[torch.arange(size) - size // 2] * 2, indexing="ij")
    return (y**2 + x**2 <= radius**2).byte()[None, None]


@pytest.mark.parametrize(
    ("labels", "window", "options", "expected"),
    [
        # A straight edge, w = 13. From the edge on, of 13 columns: 7 : 6 differ by 1/13 < .10, boundary; 8 : 5 by 3/13
        # and 9 : 4 (.69, not above .70) are uncertain; 10 : 3 (.77, .54 apart) is clear. So two columns of boundary,
        # two uncertain on each side
        ("0" * 10 + "1" * 10, 13, {}, "......." + "uu" + "BB" + "uu" + "fffffff"),
        # the class does not matter
        ("0" * 10 + "7" * 10, 13, {}, "......." + "uu" + "BB" + "uu" + "fffffff"),
        # w = 5: 3 : 2 differ by .2, 4 : 1 (.8 > .7) by .6: no boundary. With theta_diff .25 there is one, and 4 : 1
        # stays clear, for .6 >= .5
        ("00000 11111", 5, {}, "....uuffff"),
        ("00000 11111", 5, {"theta_diff": 0.25}, "....BBffff"),
        # 6 : 7 is .4615, above .45; clear is from .90 on, 12 : 1 (.92). With .47 there is no boundary; clear is 13 : 0
        ("0" * 10 + "1" * 10, 13, {"theta_scale": 0.45}, "....." + "uuuu" + "BB" + "uuuu" + "fffff"),
        ("0" * 10 + "1" * 10, 13, {"theta_scale": 0.47}, "...." + "uuuuuu" + "uuuuuu" + "ffff"),
        # Edge of the image, w = 3: the first window has two columns, 1 : 1, though Eq. 2 would give .33 : .33, below
        # .35. Then 1 : 2 is uncertain, 0 : 3 clear
        ("0111", 3, {}, "Buff"),
        # ignored pixels count in the size: 1 : 1 of 3 is .33, below .35; beside the image's edge 1 of 2, not above .70
        ("0x1", 3, {}, "uuu"),
        ("000xx111", 3, {}, "..uuuuff"),
        # of 13 columns 6 : 6 beside one ignored; next 7 : 5, .15 apart; 8 : 4; 9 : 3, .69; 10 : 2
        ("0" * 10 + "x" + "1" * 10, 13, {}, "......." + "uuu" + "B" + "uuu" + "fffffff"),
        # a band of 3 ignored columns leaves 5 : 5 of 13, .38 each; one of 4 leaves 5 : 4, .31, below .35. Beside the
        # image's edge 9 of 12 are clear, further in 9 of 13 (.69) are not
        ("0" * 9 + "xxx" + "1" * 9, 13, {}, "......" + "uuuu" + "B" + "uuuu" + "ffffff"),
        ("0" * 9 + "xxxx" + "1" * 9, 13, {}, "......" + "uuuuu" + "uuuuu" + "ffffff"),
        # two classes share a side: at best .2 of 5 beside the background's .4
        ("000 1 2 000", 5, {"theta_diff": 0.25}, "..uuuu.."),
        # class beside class is foreground or open to the paper, and a boundary by the other rule
        ("1" * 10 + "2" * 10, 13, {}, "f" * 7 + "uuuuuu" + "f" * 7),
        ("1" * 10 + "2" * 10, 13, {"foreground_pairs": True}, "f" * 7 + "uu" + "BB" + "uu" + "f" * 7),
        ("0" * 10 + "2" * 10, 13, {"foreground_pairs": True}, "." * 7 + "uu" + "BB" + "uu" + "f" * 7),
        ("0" * 9, 5, {}, "." * 9),
        ("3" * 9, 5, {}, "f" * 9),
        ("x" * 9, 5, {}, "u" * 9),
    ],
)
def test_columns_by_hand(labels, window, options, expected):
    result = boundary_labels(columns(labels), 8, window, **options)
    assert result.dtype == torch.uint8
    assert [read(line) for line in result[0, 0]] == [expected] * 15


def test_a_tie_is_no_more_and_no_less():
    # 7 of 10 in a window of 5 x 2: .7 is not above 2 x .35; 6 of 10 and 4 of 10 are .2 apart, not less than .2
    labels = torch.ones(1, 1, 2, 5, dtype=torch.uint8)
    labels[0, 0, 1, :3] = 0
    assert boundary_labels(labels, 2, 5)[0, 0, 0, 2] == UNCERTAIN  # 7 : 3
    labels[0, 0, 0, 0] = 0
    assert boundary_labels(labels, 2, 5, theta_diff=0.2)[0, 0, 0, 2] == UNCERTAIN  # 6 : 4
    assert boundary_labels(labels, 2, 5, theta_diff=0.21)[0, 0, 0, 2] == BOUNDARY
    # exactly 2 theta_diff apart is enough: 7 : 3 is .4
    labels[0, 0, 0, 0] = 1
    assert boundary_labels(labels, 2, 5, theta_scale=0.31, theta_diff=0.2)[0, 0, 0, 2] == FOREGROUND


def test_a_window_must_suit_the_object():
    # 49 pixels are .29 of 13 x 13; half of the window needs more than .45, that is 76 pixels
    small = disc(4)
    assert small.sum() == 49
    assert not (boundary_labels(small, 2, 13) == BOUNDARY).any()
    assert (boundary_labels(disc(12), 2, 13) == BOUNDARY).any()
    assert not (boundary_labels(small, 2, 11) == BOUNDARY).any()  # .40 of 121 pixels
    assert (boundary_labels(small, 2, 9) == BOUNDARY).any()  # .60 of 81
    # a window of its size: a ring around a kernel
    scaled = boundary_labels(small, 2, 5, theta_diff=1.3 / 5)[0, 0]
    distance = ((scaled == BOUNDARY).nonzero() - 20).float().norm(dim=1)
    assert len(distance) >= 12 and distance.min() >= 3 and distance.max() <= 5.5
    assert scaled[20, 20] == FOREGROUND and scaled[0, 0] == BACKGROUND


@pytest.mark.parametrize(("window", "found"), [(3, False), (5, False), (9, False), (11, True), (13, True)])
def test_a_straight_edge_needs_a_wide_window_or_a_wide_theta_diff(window, found):
    labels = columns("0" * 10 + "1" * 10)
    assert (boundary_labels(labels, 2, window) == BOUNDARY).any() == found
    scaled = boundary_labels(labels, 2, window, theta_diff=1.3 / window)[0, 0, 0]
    assert (scaled == BOUNDARY).nonzero().flatten().tolist() == ([9, 10] if window > 3 else [])


@pytest.mark.parametrize("foreground_pairs", [False, True])
@pytest.mark.parametrize(("shape", "window"), [((40, 53), 13), ((40, 53), 5), ((11, 12, 14), 5)])
def test_interior_equals_the_formula_with_uniform_filter(shape, window, foreground_pairs):
    labels = random_labels(*shape)
    result = boundary_labels(labels, 3, window, foreground_pairs=foreground_pairs)
    inner = (slice(window // 2, -(window // 2)),) * len(shape)
    seen = set()
    for got, image in zip(result[:, 0].numpy(), labels[:, 0].numpy(), strict=True):
        share = np.stack([uniform_filter((image == c).astype(np.float64), window) for c in range(3)])
        share = np.round(share * window ** len(shape)) / window ** len(shape)
        first, second = np.maximum(share[1], share[2]), np.minimum(share[1], share[2])
        expected = np.full(image.shape, 255)
        expected[(share[0] > 0.7) & (share[0] - first >= 0.2)] = 0
        expected[(first > 0.7) & (first - share[0] >= 0.2)] = 1
        expected[(np.minimum(first, share[0]) > 0.35) & (np.abs(first - share[0]) < 0.1)] = 2
        if foreground_pairs:
            expected[(second > 0.35) & (first - second < 0.1)] = 2
        np.testing.assert_array_equal(got[inner], expected[inner])
        seen |= set(expected[inner].ravel().tolist())
    assert seen == {0, 1, 2, 255}


def test_edge_of_the_image_equals_the_mean_over_what_is_there():
    labels = random_labels(17, 14)
    result = boundary_labels(labels, 3, 7)
    for b, y, x in itertools.product(range(2), range(17), range(14)):
        part = labels[b, 0, max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4].double()
        bg, one, two = ((part == c).double().mean() for c in range(3))
        fg = torch.maximum(one, two)
        boundary = torch.minimum(bg, fg) > 0.35 and (bg - fg).abs() < 0.1
        clear = {BACKGROUND: bg > 0.7 and bg - fg >= 0.2, FOREGROUND: fg > 0.7 and fg - bg >= 0.2}
        expected = BOUNDARY if boundary else next((k for k, yes in clear.items() if yes), UNCERTAIN)
        assert result[b, 0, y, x] == expected


def test_the_same_in_every_slice_is_the_same_in_3d():
    labels = random_labels(20, 24)
    volume = labels[:, :, None].repeat(1, 1, 5, 1, 1)
    result = boundary_labels(volume, 3, 7)
    for z in range(5):
        assert torch.equal(result[:, :, z], boundary_labels(labels, 3, 7))


def test_any_number_of_classes():
    # label 254 beside background, far from label 17 beside background
    labels = columns("0" * 40, height=40)
    labels[..., 10:20] = 254
    labels[..., 30:] = 17
    same = labels.clone().masked_fill_(labels > 0, 1)
    assert torch.equal(boundary_labels(labels, 255, 5), boundary_labels(same, 2, 5))


def test_flips_transposition_and_batch():
    labels = random_labels(30, 37)
    result = boundary_labels(labels, 3, 9, foreground_pairs=True)
    for axis in (2, 3):
        assert torch.equal(boundary_labels(labels.flip(axis), 3, 9, foreground_pairs=True), result.flip(axis))
    assert torch.equal(boundary_labels(labels.mT, 3, 9, foreground_pairs=True), result.mT)
    for b in range(2):
        assert torch.equal(boundary_labels(labels[b : b + 1], 3, 9, foreground_pairs=True), result[b : b + 1])


def test_classes_are_interchangeable_and_background_is_not():
    labels = random_labels(30, 37)
    swapped = torch.where((labels == 1) | (labels == 2), 3 - labels, labels)
    assert torch.equal(boundary_labels(labels, 3, 9), boundary_labels(swapped, 3, 9))
    one = labels.masked_fill(labels == 2, 1)  # of one class: background for foreground swaps the two labels
    other = torch.where(one == 255, one, 1 - one)
    result, mirror = boundary_labels(one, 2, 9), boundary_labels(other, 2, 9)
    assert torch.equal(mirror, torch.where(result < 2, 1 - result, result))


def test_image_smaller_than_the_window():
    labels = columns("0011", height=3)
    assert (boundary_labels(labels, 2, 13) == BOUNDARY).all()  # every window is the whole image, half and half


def test_autocast_and_other_integers():
    labels = random_labels(60, 60, patch=20)
    expected = boundary_labels(labels, 3, 51)  # 2601 pixels: more than half precision can count
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(boundary_labels(labels.int(), 3, 51), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": torch.zeros(1, 2, 4, 5)}, "labels must be"),
        ({"labels": torch.zeros(1, 1, 5)}, "labels must be"),
        ({"labels": torch.full((1, 1, 4, 5), 2)}, r"0 to 1 or 255, got \[2\]"),
        ({"labels": torch.full((1, 1, 4, 5), -1)}, r"\[-1\]"),
        ({"num_labels": 1}, "num_labels"),
        ({"num_labels": 256}, "256"),
        ({"window": 4}, "odd"),
        ({"window": 1}, "got 1"),
        ({"theta_scale": 0.5}, "theta_scale"),
        ({"theta_scale": float("nan")}, "theta_scale"),
        ({"theta_diff": 0.0}, "theta_diff"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        boundary_labels(**{"labels": torch.zeros(1, 1, 4, 5, dtype=torch.uint8), "num_labels": 2, **arguments})
