"""The relative run-length code: each gap is counted from the end of the run before."""

import numpy as np
import pytest
from siim_acr_files import encode

from monai_wsss.data.formats.run_length import decode_runs, union_of_runs


@pytest.mark.parametrize(
    ("code", "rows"),
    [
        # 3 columns of 4 rows. Pixels run down the columns: 0 1 2 3 | 4 5 6 7 | 8 9 10 11.
        ("0 1", ["#..", "...", "...", "..."]),
        ("1 2", ["...", "#..", "#..", "..."]),  # pixels 1, 2
        ("3 2", [".#.", "...", "...", "#.."]),  # pixels 3, 4: on at the top of the next column
        ("1 2 3 2", ["...", "#..", "##.", ".#."]),  # 1, 2; the next starts at 3 + 3 = 6, and not at 3: 6, 7
        ("1 1 0 2 7 1", ["...", "#..", "#..", "#.#"]),  # 1; gap 0: 2, 3; 4 + 7 = 11, the last pixel
        ("0 12", ["###"] * 4),
        ("  4   1 \t", [".#.", "...", "...", "..."]),
    ],
)
def test_hand_worked_codes(code, rows):
    mask = decode_runs(code, (3, 4))
    assert mask.dtype == bool
    assert ["".join("#" if on else "." for on in row) for row in mask.T] == rows


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("11 2", "reaches past the image of 3 x 4 pixels"),  # pixels 11, 12 of 0..11
        ("0 1 12 1", "reaches past the image of 3 x 4 pixels"),
        ("999999999 1", "reaches past the image"),
        ("9" * 30 + " 1", "something other than whole numbers"),  # no number of any image
        ("3", "a gap without a length"),
        ("0 1 3", "a gap without a length"),
        ("0 0", "a run of length 0"),
        ("", "something other than whole numbers"),
        ("-1", "something other than whole numbers"),
        ("1 -2", "something other than whole numbers"),
        ("1.5 2", "something other than whole numbers"),
        ("1 two", "something other than whole numbers"),
        ("1_0 1", "something other than whole numbers"),
        ("٣ 1", "something other than whole numbers"),
    ],
)
def test_codes_that_mark_nothing(code, reason):
    with pytest.raises(ValueError, match=reason):
        decode_runs(code, (3, 4))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (5, 7), (1, 9), (16, 16)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_round_trip_with_an_encoder_that_loops_over_pixels(shape, share):
    mask = np.random.default_rng(3).random(shape) < share
    mask.flat[0] = True  # a code marks something
    assert np.array_equal(decode_runs(encode(mask.T), shape), mask)


def test_lesions_of_one_image_are_joined_where_they_overlap():
    # pixels 1..4 and 3..6 of 2 columns of 4 rows: 1..6
    joined = union_of_runs(["1 4", "3 4"], (2, 4))
    assert joined.astype(int).tolist() == [[0, 1, 1, 1], [1, 1, 1, 0]]
    assert not union_of_runs([], (2, 4)).any()
    with pytest.raises(ValueError, match="reaches past"):
        union_of_runs(["1 4", "7 2"], (2, 4))
