"""Erasure: what a map is worth, without a mask."""

import shutil

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.erasure import erase, erasure_table
from benchmarks.tables.erasure_table import format_erasure
from monai_wsss.errors import InputError

BODY = np.zeros((8, 8), bool)
BODY[1:7, 1:7] = True  # 36 pixels
IMAGE = np.where(BODY, 5.0, 0.0)[None].astype(np.float32)
IMAGE[0, 2, 2] = 50.0


@pytest.mark.parametrize(("area", "pixels"), [(0.0, 0), (1 / 36, 1), (4 / 36, 4), (0.5, 18)])
def test_as_much_is_erased_as_is_asked_for(area, pixels):
    strength = np.where(BODY, np.arange(64.0).reshape(8, 8), -1.0)
    (erased,) = erase(np.zeros((1, 8, 8)) - np.where(BODY, 0.0, 64.0), strength, BODY, [area])
    # The median of the body is 0, so that the soft mask m turns -64 outside it to -64 (1 - m), and leaves the inside.
    assert not erased[0][BODY].any()
    image = np.full((1, 8, 8), 1.0)
    image[0, 3, 3:5] = 0.0  # the median stays 1
    image[0, 1, 1] = 2.0
    strength[1, 1] = 1e3  # first in the order
    (found,) = erase(image, strength, BODY, [area])
    top = np.zeros(64)
    top[np.argsort(-strength, axis=None)[:pixels]] = 1
    soft = ndimage.gaussian_filter(top.reshape(8, 8), 1.0)
    assert found[0] == pytest.approx(image[0] * (1 - soft) + soft)


def test_the_lesion_goes_where_the_map_points_and_stays_where_it_does_not():
    right, wrong = np.zeros((8, 8)), np.zeros((8, 8))
    right[2, 2] = wrong[5, 5] = 1
    (hit,), (missed,) = (erase(IMAGE, strength, BODY, [1 / 36])[0] for strength in (right, wrong))
    share = ndimage.gaussian_filter(right, 1.0)[2, 2]  # the edge is soft
    assert hit[2, 2] == pytest.approx(50 - 45 * share)
    assert missed[2, 2] == pytest.approx(50, rel=1e-2)
    assert erase(IMAGE, right, BODY, [0.0])[0] == pytest.approx(IMAGE)


def test_maps_of_a_run_beside_maps_that_say_nothing(whole, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(whole.run, other)
    for file in (other / "seeds").glob("*.npy"):
        np.save(file, np.zeros_like(np.load(file)))
    table = erasure_table(whole.data, {"own": whole.run, "flat": other}, areas=(0.05, 0.2), device="cpu")
    assert (table["base"], table["classifiers"], table["split"]) == ("own", 2, "validation")
    own, flat = (table["rows"][name] for name in ("own", "flat"))
    assert own["difference"]["mean"] == 0
    assert flat["difference"]["mean"] == pytest.approx(own["score"]["mean"] - flat["score"]["mean"])
    assert own["curve"] != flat["curve"]
    assert all(0 <= value <= 1 for row in (own, flat) for value in row["curve"])
    text = format_erasure(table)
    assert "| own | " in text
    assert "no mask is read" in text


def test_no_mask_is_read(whole, prepare_study, tmp_path):
    data = prepare_study(whole.study, tmp_path / "data", masks=False)
    table = erasure_table(data, {"own": whole.run}, areas=(0.1,), device="cpu")
    assert (
        table["rows"]["own"] == erasure_table(whole.data, {"own": whole.run}, areas=(0.1,), device="cpu")["rows"]["own"]
    )


def test_a_split_without_a_positive_slice_is_refused(whole, write_study, prepare_study, tmp_path):
    study = write_study(tmp_path / "study", positive=lambda split, number: split != "val")
    data = prepare_study(study, tmp_path / "data")
    with pytest.raises(InputError, match="no slice of validation is labelled positive"):
        erasure_table(data, {"own": whole.run}, device="cpu")
