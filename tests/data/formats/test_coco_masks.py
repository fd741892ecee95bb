"""Polygons and run-length codes become one label map."""

from array import array

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from monai_wsss.data.formats.coco_masks import Instance, expand_counts, instance_mask, label_map


def polygon(*numbers):
    return array("d", numbers)


def square(left, top, side):
    return [polygon(left, top, left + side, top, left + side, top + side, left, top + side)]


def rows_of(mask):
    """A mask (columns, rows) as text, one string a row."""
    return ["".join(str(int(value)) for value in row) for row in mask.T]


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([polygon(1, 1, 4, 1, 4, 3, 1, 3)], ["00000", "01110", "01110", "00000"]),
        # two parts of one object
        ([polygon(0, 0, 1, 0, 1, 2, 0, 2), polygon(3, 2, 5, 2, 5, 4, 3, 4)], ["10000", "10000", "00011", "00011"]),
        ([polygon(-2, -2, 3, -2, 3, 2, -2, 2)], ["11100", "11100", "00000", "00000"]),  # cut by the border
        ([polygon(1, 1, 4, 3)], ["00000"] * 4),  # two points enclose nothing
        # columns of four: 5 pixels not, 2 marked, 2 not, 2 marked, 9 not
        ({"size": [4, 5], "counts": array("q", [5, 2, 2, 2, 9])}, ["00000", "01100", "01100", "00000"]),
        ({"size": [4, 5], "counts": array("q", [0, 1, 18, 1])}, ["10000", "00000", "00000", "00001"]),
        # the same: 18 = 0b10010 has its sign bit, so two characters; 1 is the difference to 1, 0
        ({"size": [4, 5], "counts": "01b00"}, ["10000", "00000", "00000", "00001"]),
    ],
)
def test_instance_literals(segmentation, expected):
    assert rows_of(instance_mask(segmentation, (5, 4))) == expected


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        ("", []),
        ("23[1", [2, 3, 43]),  # "[" is 43 = 32 + 11: 11 and more follow; "1": 11 + 32 * 1
        ("2342n0", [2, 3, 4, 5, 34]),  # 5 - 3 = 2; 34 - 4 = 30 has the sign bit: 32 + 30 is "n", then "0"
        ("09n0JXO", [0, 9, 30, 3, 6]),  # 3 - 9 = -6: 26 is "J"; 6 - 30 = -24: 8 + 32 is "X", 31 is "O"
    ],
)
def test_compressed_literals(code, counts):
    assert expand_counts(code) == counts


def test_parity_of_compressed_codes_with_cocos_own():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        mask = rng.random((37, 61)) < share
        code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        code["counts"] = code["counts"].decode("ascii")
        assert np.array_equal(instance_mask(code, (61, 37)), mask.T)


def test_parity_of_polygons_with_cocos_own():
    """The union of the parts, which overlap here."""
    parts = np.random.default_rng(0).uniform(-3, 30, (4, 10))
    alone = [coco_mask.decode(coco_mask.frPyObjects([part.tolist()], 24, 32))[..., 0] for part in parts]
    whole = instance_mask([polygon(*part) for part in parts], (32, 24))
    assert whole.any() and np.array_equal(whole, np.any(alone, axis=0).T)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        (None, "neither polygons nor a run-length code"),
        ("1 2 3", "neither polygons nor a run-length code"),
        ([], "no segmentation"),
        ([None], "something other than numbers"),
        ([polygon(1, 1, 4, 1, 4)], "an x without a y"),
        ([polygon(1, 1, 4, 1, 4, float("nan"))], "far outside the image of 5 x 4 pixels"),
        ([polygon(1, 1, 4, 1, 1e9, 1)], "far outside"),
        ([polygon(1, 1, 4, 1, float("-inf"), 1)], "far outside"),
        ({"size": [5, 4], "counts": array("q", [20])}, "not for an image of 5 x 4 pixels"),
        ({"counts": array("q", [20])}, "not for an image"),
        ({"size": [4, 5]}, "something other than whole numbers"),
        ({"size": [4, 5], "counts": None}, "something other than whole numbers"),
        ({"size": [4, 5], "counts": array("q", [])}, "does not fill the image of 5 x 4 pixels"),
        ({"size": [4, 5], "counts": array("q", [5, 2])}, "does not fill"),
        ({"size": [4, 5], "counts": array("q", [5, 20])}, "does not fill"),
        ({"size": [4, 5], "counts": array("q", [5, -2, 17])}, "does not fill"),
        ({"size": [4, 5], "counts": array("q", [2**62, 2**62, 2**62, 2**62, 20])}, "does not fill"),  # 20 in 64 bits
        ({"size": [4, 5], "counts": ""}, "does not fill"),
        ({"size": [4, 5], "counts": "5\x00"}, "cannot be read"),
        ({"size": [4, 5], "counts": "5é"}, "cannot be read"),
        ({"size": [4, 5], "counts": "o" * 100000}, "cannot be read"),
        ({"size": [4, 5], "counts": "5o"}, "cut short"),
    ],
)
def test_what_is_wrong_with_a_segmentation(segmentation, words):
    with pytest.raises(ValueError, match=words):
        instance_mask(segmentation, (5, 4))


def test_the_smaller_instance_lies_on_top_whatever_the_order():
    large, small = Instance(1, False, square(0, 0, 4)), Instance(2, False, square(1, 1, 2))
    expected = ["11110", "12210", "12210", "11110"]
    assert rows_of(label_map([large, small], (5, 4))) == expected
    assert rows_of(label_map([small, large], (5, 4))) == expected


def test_of_two_equal_ones_the_later_lies_on_top():
    first, second = Instance(1, False, square(0, 0, 2)), Instance(2, False, square(1, 0, 2))
    assert rows_of(label_map([first, second], (4, 2))) == ["1220", "1220"]
    assert rows_of(label_map([second, first], (4, 2))) == ["1120", "1120"]


def test_a_crowd_lies_below_everything_and_has_its_class():
    crowd, other, single = (
        Instance(3, True, square(0, 0, 1)),
        Instance(4, True, square(0, 0, 3)),
        Instance(1, False, square(0, 0, 2)),
    )
    assert rows_of(label_map([crowd, single], (3, 3))) == ["110", "110", "000"]
    assert rows_of(label_map([crowd, other], (3, 3))) == ["344", "444", "444"]
    assert rows_of(label_map([single, other, crowd], (3, 3))) == ["114", "114", "444"]


def test_nothing_and_the_highest_label():
    empty = label_map([], (3, 2))
    assert empty.dtype == np.uint8 and empty.shape == (3, 2) and not empty.any()
    assert rows_of(label_map([Instance(254, False, square(0, 0, 1))], (2, 1))) == ["2540"]
