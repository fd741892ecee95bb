import json
import random
import re

import numpy as np
import pytest
import torch
from label_map_files import AFFINE, box, write
from monai.metrics import DiceMetric
from sklearn.metrics import f1_score, roc_auc_score

from monai_wsss.errors import InputError
from monai_wsss.workflow.evaluation import evaluate, format_table
from monai_wsss.workflow.label_maps import find_label_maps


def test_literal(simple):
    pred, truth, out = simple
    result = evaluate(pred, truth, out)
    # nine voxels a square. a: TP 9, FP 9; b: TP 9, FN 9: Dice 18/27 both. Positive slices: 1, 1, 0.
    assert result["patients"]["dice"]["mean"] == pytest.approx(2 / 3)
    assert result["positives"]["dice"]["mean"] == pytest.approx(2 / 3)
    assert result["positives"]["iou"]["n"] == 3
    assert result["negatives"]["clean"] == pytest.approx(3 / 4)  # a 0, a 2, b 2 of a 0, a 2, a 3, b 2
    assert result["negatives"]["voxels"] == pytest.approx(9 / 4)
    assert result["lesions"] == {"f1": pytest.approx(0.8), "tp": 2, "fp": 1, "fn": 0}  # b is one lesion of two slices
    assert result["dataset"]["dice"] == pytest.approx(36 / 54)
    assert result["dataset"]["pixel_accuracy"] == pytest.approx(1 - 18 / (48 * 7))
    assert result["papers"] == {
        "miou_positives": pytest.approx(2 / 3),
        "miou_all": pytest.approx(5 / 7),
        "dice_empty_is_one": pytest.approx(5 / 7),
        "all_empty": pytest.approx(4 / 7),
    }
    assert result["labels"] == ["lesion"]
    assert result["counts"] == {
        "patients": 2,
        "patients_empty": 0,
        "cases": 2,
        "slices": 7,
        "positive_slices": 3,
        "missing": 0,
        "unmatched": 0,
        "skipped": 0,
    }


def test_the_table_says_what_an_empty_prediction_scores(simple):
    pred, truth, _ = simple
    result = evaluate(pred, truth, None)
    lines = [" ".join(line.split()) for line in format_table(result).splitlines()]
    start = lines.index("Dice, empty slices = 1 0.714")
    assert lines[start + 1] == "mIoU, empty slices = 1 0.714 (positive slices 0.667)"
    assert lines[start + 2] == "an empty prediction 0.571 (in both)"
    assert {f"papers.{name}" for name in result["papers"]} <= result["definitions"].keys()


def test_the_file_holds_the_result_and_no_nan(simple):
    pred, truth, out = simple
    result = evaluate(pred, truth, out)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(out.read_text(encoding="utf-8"), parse_constant=refuse) == result
    assert result["classification"]["auc"] is None  # no slices.csv
    assert [path.name for path in out.parent.iterdir()] == ["scores.json"]


def test_nothing_is_written_without_a_file(simple, tmp_path):
    pred, truth, out = simple
    evaluate(pred, truth, None)
    assert not out.exists()


def test_parity_with_monai_on_3d_random_maps(folders):
    pred, truth, _ = folders
    rng = np.random.default_rng(0)
    expected = []
    for index in range(4):
        p, t = (rng.random((7, 6, 5)) > 0.6 for _ in range(2))
        write(pred, f"{index}.nii.gz", p.astype(np.uint8))
        write(truth, f"{index}.nii.gz", t.astype(np.uint8))
        one_hot = [torch.from_numpy(np.stack([~m, m]))[None].float() for m in (p, t)]
        expected.append(float(DiceMetric(include_background=False)(*one_hot)))
    result = evaluate(pred, truth, None)
    assert [row["dice"] for row in result["per_case"]] == pytest.approx(expected)
    assert result["patients"]["dice"]["mean"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("value", [1, 255])
def test_stored_value_and_type_do_not_matter(simple, folders, value, dtype, tmp_path):
    pred, truth, _ = simple
    write(tmp_path / "other", "a.nii.gz", box(4, 1, label=value, dtype=dtype))
    write(tmp_path / "other", "b.nii.gz", box(3, 0, 1, label=value, dtype=dtype))
    assert evaluate(pred, tmp_path / "other", None) == evaluate(pred, truth, None)


def test_void_of_the_truths_is_no_label_and_is_not_counted(folders):
    """Two labels that nobody names. One slice of 48 voxels: label 1 on 9, label 2 on 9, 255 on 6 of the others."""
    pred, truth, _ = folders
    true = box(1, 0)
    true[3:6, 3:6], true[7, :] = 2, 255
    guess = true.copy()
    guess[7, :] = 1  # wrong, if void were background
    guess[3, 3:6] = 0
    write(truth, "a.nii.gz", true)
    write(pred, "a.nii.gz", guess)
    result = evaluate(pred, truth, None)
    assert result["labels"] == ["class 1", "class 2"]
    # of 42 voxels: background 24 of 27 claimed, label 1 all right, label 2 six of nine
    assert result["dataset"]["miou"] == pytest.approx((24 / 27 + 1 + 6 / 9) / 3)
    assert result["dataset"]["pixel_accuracy"] == pytest.approx(39 / 42)
    assert "255" in result["definitions"]["void"]


@pytest.mark.parametrize(
    ("predicted", "true", "values"),
    [
        ([1], [1, 255], "1, 255"),  # one label: 255 is no void, and which of the two is the lesion is not known
        ([1, 2, 255], [1, 2], "1, 2, 255"),  # no void in a prediction
        ([1], [3, 255], "1, 3"),  # between void and label, the gap is named
    ],
)
def test_values_that_are_no_labels_are_named(folders, predicted, true, values):
    pred, truth, _ = folders
    for folder, labels in ((pred, predicted), (truth, true)):
        array = np.zeros((8, 6, 1), np.uint8)
        array[: len(labels), 0, 0] = labels
        write(folder, "a.nii.gz", array)
    with pytest.raises(InputError, match=f"hold the values {values}; expected"):
        evaluate(pred, truth, None)


def test_planes(folders):
    pred, truth, _ = folders
    write(pred, "a.nii.gz", box(1, 0)[..., 0])  # (H, W)
    write(truth, "a.nii.gz", box(1, 0)[..., None])  # (H, W, 1, 1)
    result = evaluate(pred, truth, None)
    assert result["patients"]["dice"]["mean"] == 1 and result["counts"]["slices"] == 1


def test_missing_counts_as_empty_and_is_listed(simple):
    pred, truth, _ = simple
    write(truth, "c.nii.gz", box(2, 0))
    result = evaluate(pred, truth, None)
    assert result["missing"] == ["c"] and result["counts"]["missing"] == 1
    assert [row["dice"] for row in result["per_case"]] == pytest.approx([2 / 3, 2 / 3, 0])
    assert result["per_case"][2]["missing"]


def test_unmatched_is_listed_and_not_scored(simple):
    pred, truth, _ = simple
    before = evaluate(pred, truth, None)
    write(pred, "z.nii.gz", box(2, 0))
    result = evaluate(pred, truth, None)
    assert result["unmatched"] == ["z"] and result["counts"]["unmatched"] == 1
    assert result["patients"] == before["patients"] and result["counts"]["cases"] == 2


@pytest.mark.parametrize(
    ("array", "affine", "reason"),
    [
        (box(5, 0), AFFINE, r"z.nii.gz: shape \(8, 6, 5\) differs from the truth's \(8, 6, 2\)"),
        (box(2, 0), np.diag([0.9, -0.9, 5.0, 1.0]), "its affine lies 14.4 mm off"),  # mirrored: 2 * 0.9 * 8 mm
        (box(2, 0, label=0.5, dtype=np.float32), AFFINE, "not whole numbers"),
        (box(2, 0, label=np.nan, dtype=np.float32), AFFINE, "not whole numbers"),
        (box(2, 0) + box(2, 1, label=254), AFFINE, "holds the values 1, 254, but the labels are 0..1"),
        (box(2, 0, label=-1, dtype=np.int16), AFFINE, "holds the values -1"),
        (np.zeros((8, 6, 2, 3), np.uint8), AFFINE, "is not a label map"),
        (box(2, 0, label=1j, dtype=np.complex64), AFFINE, "is not a label map"),
    ],
)
def test_a_bad_case_is_skipped_and_the_others_scored(simple, array, affine, reason):
    pred, truth, _ = simple
    before = evaluate(pred, truth, None, labels=["lesion"])
    write(pred, "z.nii.gz", array, affine)
    write(truth, "z.nii.gz", box(2, 0))
    result = evaluate(pred, truth, None, labels=["lesion"])
    assert [item["file"] for item in result["skipped"]] == [str(pred / "z.nii.gz")]
    assert re.search(reason, result["skipped"][0]["reason"])
    assert "\n" not in result["skipped"][0]["reason"]
    assert result["patients"] == before["patients"] and result["counts"]["skipped"] == 1
    assert result["skipped"][0]["reason"] in format_table(result)


def test_corrupt_files_are_skipped(simple):
    pred, truth, _ = simple
    for name in ("x", "y"):
        write(truth, f"{name}.nii.gz", box(2, 0))
        write(pred, f"{name}.nii.gz", box(2, 0))
    (pred / "x.nii.gz").write_bytes((pred / "x.nii.gz").read_bytes()[:60])
    (truth / "y.nii.gz").write_bytes(b"not a NIfTI")
    result = evaluate(pred, truth, None)
    assert [item["file"].split("/")[-1] for item in result["skipped"]] == ["x.nii.gz", "y.nii.gz"]
    assert result["counts"]["cases"] == 2


def test_an_affine_off_by_rounding_is_accepted(simple):
    pred, truth, _ = simple
    write(pred, "a.nii.gz", box(4, 1, 3), AFFINE + 1e-4)
    assert evaluate(pred, truth, None)["skipped"] == []


def test_patients_group_cases(simple):
    pred, truth, _ = simple
    result = evaluate(pred, truth, None, patients={"a": "p", "b": "p"})
    # TP 18, FP 9, FN 9: 36/54
    assert result["patients"]["dice"] == {"mean": pytest.approx(2 / 3), "ci95": None, "n": 1, "patients": 1}
    assert result["counts"]["patients"] == 1 and result["counts"]["cases"] == 2


def test_truth_as_a_list_of_files(simple):
    pred, truth, _ = simple
    result = evaluate(pred, {"a": truth / "a.nii.gz"}, None)
    assert [row["case"] for row in result["per_case"]] == ["a"] and result["unmatched"] == ["b"]


def test_slices_csv(simple):
    pred, truth, _ = simple
    rows = {("a", 0): 0.1, ("a", 1): 0.9, ("a", 2): 0.3, ("a", 3): 0.7, ("b", 0): 0.6, ("b", 1): 0.2, ("b", 2): 0.4}
    lines = [f"{case},{index},tumour,{value},0" for (case, index), value in rows.items()]
    random.Random(0).shuffle(lines)
    (pred / "slices.csv").write_text("\n".join(["case,slice,class,probability,voxels", *lines]), encoding="utf-8")
    result = evaluate(pred, truth, None)
    target = [0, 1, 0, 0, 1, 1, 0]
    scores = result["classification"]
    assert result["labels"] == ["tumour"]
    assert scores["auc"] == pytest.approx(roc_auc_score(target, list(rows.values())))
    assert scores["f1"] == pytest.approx(f1_score(target, [value >= 0.5 for value in rows.values()]))
    assert scores["slices"] == 7
    assert "Classifier AUC" in format_table(result)


def test_slices_without_probability_are_unknown(simple):
    pred, truth, _ = simple
    text = "case,slice,class,probability,voxels\na,0,tumour,,0\na,1,tumour,,9\n"
    (pred / "slices.csv").write_text(text, encoding="utf-8")
    result = evaluate(pred, truth, None)
    assert result["classification"]["auc"] is None and result["classification"]["slices"] == 0


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("case,slice,class,voxels\na,0,tumour,0", "slices.csv: has no column probability"),
        ("", "slices.csv: has no column case"),
        ("case,slice,class,probability\na,0,tumour,1.5", "slices.csv: line 2 needs"),
        ("case,slice,class,probability\na,0,tumour,nan", "slices.csv: line 2 needs"),
        ("case,slice,class,probability\na,0,tumour,0.5\na,first,tumour,0.5", "slices.csv: line 3 needs"),
        ("case,slice,class,probability\na\n", "slices.csv: line 2 needs"),
        ("case,slice,class,probability\na,0,stroke,0.5", "slices.csv: class stroke is not one of the labels tumour"),
    ],
)
def test_bad_slices_csv(simple, text, match):
    pred, truth, _ = simple
    (pred / "slices.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=match):
        evaluate(pred, truth, None, labels=["tumour"])


def test_slices_csv_of_a_longer_volume_skips_the_case(simple):
    pred, truth, _ = simple
    (pred / "slices.csv").write_text("case,slice,class,probability\na,9,tumour,0.5", encoding="utf-8")
    result = evaluate(pred, truth, None)
    assert "a has 4 slices, but a row for slice 9" in result["skipped"][0]["reason"]


def test_several_classes(folders):
    pred, truth, _ = folders
    write(pred, "a.nii.gz", box(3, 0) + box(3, 1, label=2))
    write(truth, "a.nii.gz", box(3, 0, 2) + box(3, 1, label=2))
    result = evaluate(pred, truth, None, labels=["core", "oedema"])
    # core: TP 9, FN 9: 2/3; oedema: 1
    assert result["classes"]["core"]["patients"]["dice"]["mean"] == pytest.approx(2 / 3)
    assert result["classes"]["oedema"]["patients"]["dice"]["mean"] == 1
    assert result["patients"]["dice"]["mean"] == pytest.approx(5 / 6)
    assert result["dataset"]["miou"] == pytest.approx((0.5 + 1 + (48 * 3 - 27) / (48 * 3 - 18)) / 3)
    assert evaluate(pred, truth, None)["labels"] == ["class 1", "class 2"]
    assert "oedema, per patient" in format_table(result)


def test_values_with_a_gap_need_labels(folders):
    pred, truth, _ = folders
    write(pred, "a.nii.gz", box(3, 0, label=4))
    write(truth, "a.nii.gz", box(3, 0) + box(3, 1, label=4))
    with pytest.raises(InputError, match="hold the values 1, 4"):
        evaluate(pred, truth, None)


@pytest.mark.parametrize("truth_slices", [(), (0, 1, 2)])
@pytest.mark.parametrize("pred_slices", [(), (0, 1, 2)])
def test_all_or_nothing(folders, pred_slices, truth_slices):
    pred, truth, _ = folders
    write(pred, "a.nii.gz", box(3, *pred_slices, size=8))
    write(truth, "a.nii.gz", box(3, *truth_slices, size=8))
    result = evaluate(pred, truth, None)
    assert result["patients"]["dice"]["mean"] == float(pred_slices == truth_slices)
    assert (result["positives"]["dice"]["mean"] is None) == (not truth_slices)
    assert (result["negatives"]["clean"] is None) == bool(truth_slices)
    json.dumps(result, allow_nan=False)
    assert "undefined" in format_table(result)


def test_bad_folders(simple, tmp_path):
    pred, truth, out = simple
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "._a.nii.gz").touch()
    for call, match in (
        (lambda: evaluate(tmp_path / "nowhere", truth, out), "nowhere: no such folder"),
        (lambda: evaluate(empty, truth, out), "empty: holds no label map"),
        (lambda: evaluate(pred, empty, out), "empty: holds no label map"),
        (lambda: evaluate(pred, {}, out), "no file name in common with the given truths"),
    ):
        with pytest.raises(InputError, match=match):
            call()
    write(tmp_path / "other", "c.nii.gz", box(3, 0))
    with pytest.raises(InputError, match="no file name in common"):
        evaluate(tmp_path / "other", truth, out)
    assert not out.exists()


def test_no_case_left_is_an_error(folders):
    pred, truth, out = folders
    write(pred, "a.nii.gz", box(3, 0))
    write(truth, "a.nii.gz", box(4, 0))
    with pytest.raises(InputError, match="none of 1 cases could be scored"):
        evaluate(pred, truth, out)
    assert not out.exists()


def test_two_files_of_one_case(tmp_path):
    write(tmp_path, "a.nii.gz", box(3, 0))
    write(tmp_path, "a.nii", box(3, 0))
    with pytest.raises(InputError, match=r"a\.nii\.gz and a\.nii are of the same case a"):
        find_label_maps(tmp_path)


def test_progress(simple):
    pred, truth, _ = simple
    seen = []
    evaluate(pred, truth, None, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_format_table(simple):
    pred, truth, _ = simple
    for index in range(7):
        write(truth, f"c{index}.nii.gz", box(2, 0))
    write(pred, "z.nii.gz", box(2, 0))
    lines = format_table(evaluate(pred, truth, None)).splitlines()
    assert lines[0] == "9 patients, 9 cases, 21 slices (10 positive)"
    assert lines[1].startswith("Dice per patient        0.148 [")  # 2 * 2/3 of nine
    assert lines[1].endswith("(9 patients)")
    assert lines[-2] == "7 without a prediction, scored as empty: c0, c1, c2, c3, c4 and 2 more"
    assert lines[-1] == "1 without a truth, not scored: z"
    assert max(len(line) for line in lines) < 120
