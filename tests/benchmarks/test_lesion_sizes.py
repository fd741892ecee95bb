"""Voxels of 4 x 4 x 6 mm: 16 mm2 a pixel, 0.096 ml a voxel."""

import json

import numpy as np
import pytest
import torch

from benchmarks.sizes import Item, _bins, _lesions, _slices, size_curve
from benchmarks.tables.curve_tables import sizes_table
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.metrics import count_case, dice, lesion_counts

AFFINE = np.diag([-4.0, -4.0, 6.0, 1.0])


def volume(*boxes, depth=3):
    """Boxes of slices z0:z1, rows x0:x1 and columns y0:y1."""
    mask = np.zeros((8, 8, depth), np.uint8)
    for z0, z1, x0, x1, y0, y1, *value in boxes:
        mask[x0:x1, y0:y1, z0:z1] = value or 1
    return mask


# P: a lesion of 2 x 2 pixels in two slices, and one pixel apart from it; Q: one of 4 x 4 pixels in one slice.
TRUTHS = {"a": volume((0, 2, 0, 2, 0, 2), (2, 3, 6, 7, 6, 7)), "b": volume((1, 2, 0, 4, 0, 4))}
# Dice of the slices 2 * 2 / (2 + 4), 1, 0, and 2 * 8 / (16 + 16).
HALVES = {"a": volume((0, 1, 0, 1, 0, 2), (1, 2, 0, 2, 0, 2)), "b": volume((1, 2, 2, 6, 0, 4))}
PATIENTS = {"a": "P", "b": "Q"}


@pytest.fixture
def place(tmp_path, write_volume):
    """Writes masks into a folder, and a prepared folder with the true ones."""

    def write(name, masks, affine=AFFINE):
        for case, mask in masks.items():
            write_volume(tmp_path / name / f"{case}.nii.gz", mask, affine)
        return tmp_path / name

    def prepare(masks, labels=("lesion",), affine=AFFINE):
        folder = write("truth", masks, affine)
        files = {case: folder / f"{case}.nii.gz" for case in masks}
        cases = [Case(file, case, PATIENTS[case], (1,) * len(labels), truth=file) for case, file in files.items()]
        PreparedDataset(tuple(labels), test=tuple(cases)).write(tmp_path)
        return tmp_path

    return write, prepare


def test_bins_of_slices_and_lesions(place):
    """Areas 16, 64, 64 of P and 256 mm2 of Q: the lower half ends at 64. Lesions of 1, 8 and 16 voxels alike."""
    write, prepare = place
    data = prepare(TRUTHS)
    found = size_curve(data, {"n": write("n", TRUTHS), "m": write("m", HALVES)}, bins=2)
    assert found["counts"] == {"patients": 2, "cases": 2, "slices": 4, "lesions": 3}
    assert (found["slices"]["unit"], found["lesions"]["unit"]) == ("mm2", "ml")
    small, large = found["slices"]["bins"]
    assert [small[key] for key in ("low", "high", "median", "n", "patients")] == [16, 64, 64, 3, 1]
    assert [large[key] for key in ("low", "high", "median", "n", "patients")] == [256, 256, 256, 1, 1]
    assert small["methods"]["m"]["mean"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert small["methods"]["m"]["ci95"] is None  # one patient
    assert large["methods"]["m"]["mean"] == pytest.approx(1 / 2)
    assert large["methods"]["m"]["difference"]["mean"] == pytest.approx(1 - 1 / 2)
    assert large["methods"]["n"]["mean"] == 1 and large["methods"]["n"]["difference"]["mean"] == 0
    small, large = found["lesions"]["bins"]
    assert [small["low"], small["high"], large["high"]] == pytest.approx([0.096, 0.768, 1.536])
    assert (small["methods"]["m"]["mean"], large["methods"]["m"]["mean"]) == (1 / 2, 1)


def test_intervals_draw_patients_with_all_of_their_slices(place):
    """P, P; P, Q; Q, Q: means 5/9, 13/24 and 1/2, differences to 1 alike."""
    write, prepare = place
    found = size_curve(prepare(TRUTHS), {"n": write("n", TRUTHS), "m": write("m", HALVES)}, bins=1)
    score = found["slices"]["bins"][0]["methods"]["m"]
    assert score["mean"] == pytest.approx(13 / 24) and score["ci95"] == pytest.approx([1 / 2, 5 / 9])
    assert score["difference"]["ci95"] == pytest.approx([4 / 9, 1 / 2])


def test_folds_are_pooled_and_order_does_not_matter(place):
    write, prepare = place
    data = prepare(TRUTHS)
    whole = size_curve(data, {"m": write("m", HALVES)}, bins=3)
    parts = [write(f"fold_{case}", {case: HALVES[case]}) for case in "ba"]
    assert size_curve(data, {"m": parts}, bins=3) == whole


def test_films_are_measured_by_area_and_unknown_spacing_by_pixels(place):
    write, prepare = place
    films = {"a": volume((0, 1, 0, 2, 0, 2), depth=1), "b": volume((0, 1, 0, 4, 0, 4), depth=1)}
    found = size_curve(prepare(films), {"m": write("m", films)}, bins=1)
    assert found["lesions"]["unit"] == "mm2" and found["lesions"]["bins"][0]["high"] == 256
    found = size_curve(prepare(films, affine=None), {"m": write("m", films, None)}, bins=1)
    assert found["slices"]["unit"] == found["lesions"]["unit"] == "pixels"
    assert found["slices"]["bins"][0]["high"] == 16


def test_every_label_counts_and_void_does_not(place):
    """Label 2 is missed; what is claimed over void pixels is no mistake."""
    write, prepare = place
    truth = volume((0, 1, 0, 2, 0, 2), (0, 1, 2, 4, 0, 2, 255), (1, 2, 0, 2, 0, 2, 2))
    data = prepare({"a": truth}, ("x", "y"))
    found = size_curve(data, {"m": write("m", {"a": volume((0, 1, 0, 4, 0, 2))})}, bins=1)
    (only,) = found["slices"]["bins"]
    assert only["n"] == 2 and only["methods"]["m"]["mean"] == 0.5


def test_scores_are_those_of_the_metrics():
    rng = np.random.default_rng(0)
    truth, mask = (torch.from_numpy(rng.random((6, 16, 16)) < share) for share in (0.08, 0.05))
    truth[3] = False
    counts = count_case("c", mask.int(), truth.int(), 1)
    positive = counts.matrices[:, 1].sum(1) > 0
    items = list(_slices(truth, [mask], 1.0, "p"))
    assert [item.scores[0] for item in items] == pytest.approx(dice(counts.matrices)[positive, 1].tolist())
    assert [item.size for item in items] == truth.sum((1, 2))[positive].tolist()
    lesions = list(_lesions(truth, [mask], 0.5, "p"))
    tp, _, fn = lesion_counts(mask[None], truth[None])[0].tolist()
    assert (len(lesions), sum(item.scores[0] for item in lesions)) == (tp + fn, tp) and tp and fn
    assert sum(item.size for item in lesions) == 0.5 * int(truth.sum())


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([1, 2, 3, 4], [2, 1, 1]),  # a third of 4 ends at the second, two thirds at the third
        ([5, 5, 5], [3]),
        ([1, 2], [1, 1]),
        ([1, 1, 1, 1, 9, 9], [4, 2]),
        (list(range(300)), [100, 100, 100]),
    ],
)
def test_bins_are_never_empty_and_hold_every_item(sizes, counts):
    items = [Item(size, f"p{n}", (1.0,)) for n, size in enumerate(sizes)]
    assert [found["n"] for found in _bins(items, ["m"], 3)] == counts


def test_the_table_prints(place):
    write, prepare = place
    found = size_curve(prepare(TRUTHS), {"n": write("n", TRUTHS), "m": write("m", HALVES)}, bins=2)
    lines = sizes_table(json.loads(json.dumps(found, allow_nan=False))).splitlines()
    assert lines[0] == "|  | size | n | patients | n | m | n minus m |"
    assert lines[2] == "| Dice of slices | 16 to 64 mm2 | 3 | 1 | 1.000 | 0.556 | +0.444 |"
    assert lines[5] == "| lesions found | 1.536 to 1.536 ml | 1 | 1 | 1.000 | 1.000 | +0.000 |"
    assert lines[-1].startswith("2 test patients; 4 positive slices, 3 lesions. Mean")


def test_what_cannot_be_measured(place):
    write, prepare = place
    data = prepare(TRUTHS)
    with pytest.raises(InputError, match="m: 1 cases are not in both"):
        size_curve(data, {"n": write("n", TRUTHS), "m": write("m", {"a": TRUTHS["a"]})})
    with pytest.raises(InputError, match="case z has no true mask"):
        size_curve(data, {"z": write("z", {"z": TRUTHS["a"]})})
    with pytest.raises(InputError, match="mm off"):
        size_curve(data, {"o": write("o", TRUTHS, np.diag([4.0, 4.0, 6.0, 1.0]))})
    with pytest.raises(ValueError, match="got 0"):
        size_curve(data, {"n": write("n", TRUTHS)}, bins=0)
    with pytest.raises(InputError, match="no true lesion in 1 cases"):
        size_curve(prepare({"a": volume()}), {"e": write("e", {"a": volume()})})
