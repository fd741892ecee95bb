"""Several classes in one image: a class without a true positive scores 0, one that is nowhere scores nothing."""

import json

import numpy as np
import pytest
import torch
from label_map_files import write
from sklearn.metrics import jaccard_score

from monai_wsss.errors import InputError
from monai_wsss.metrics import confusion, count_case, dice, iou, mean_iou, summarise
from monai_wsss.workflow.evaluation import evaluate

NAMES = ["a", "b", "c"]


def volume(*slices):
    """Slices of one row of pixels each, a digit a pixel; 9 stands for 255."""
    labels = torch.tensor([[[int(digit) for digit in row]] for row in slices])
    return labels.masked_fill(labels == 9, 255)


# Two patients; b and c lie in one slice beside a. c is never found.
#   background: TP 2 + 6 + 5 = 13, FP (truth not 0, called 0) 1 + 1 + 0, FN (called otherwise) 0 + 0 + 1
#   a: TP 2 + 1, FP 0, FN 0 + 1      b: TP 1 + 0 + 2, FP 2 + 0 + 1, FN 1      c: TP 0, FP 0, FN 2
TRUTH = {"p": ("01122330", "00110000"), "q": ("00002200",)}
PRED = {"p": ("01120220", "00100000"), "q": ("00002220",)}
MATRIX = torch.tensor([[13, 0, 1, 0], [1, 3, 0, 0], [1, 0, 3, 0], [0, 0, 2, 0]])


def counted(names=NAMES, truth=TRUTH, pred=PRED):
    return [count_case(case, volume(*pred[case]), volume(*truth[case]), len(names)) for case in truth]


@pytest.fixture(scope="module")
def result():
    return summarise(counted(), NAMES)


def test_the_matrix_by_hand():
    assert torch.equal(sum(case.matrices.sum(0) for case in counted()), MATRIX)


def test_a_class_without_a_true_positive_counts_as_zero(result):
    # IoU: background 13/16, a 3/4, b 3/7, c 0/2. Averaged over the classes with a true positive alone it were 0.664
    expected = (13 / 16 + 3 / 4 + 3 / 7 + 0) / 4
    assert iou(MATRIX).tolist() == pytest.approx([13 / 16, 3 / 4, 3 / 7, 0])
    assert float(mean_iou(MATRIX)) == pytest.approx(expected) == pytest.approx(0.4978, abs=1e-4)
    # Dice: a 6/7, b 6/10, c 0; 19 of 24 pixels are right
    assert result["dataset"] == {
        "miou": pytest.approx(expected),
        "pixel_accuracy": pytest.approx(19 / 24),
        "dice": pytest.approx((6 / 7 + 6 / 10 + 0) / 3),
    }
    assert [result["classes"][name]["dataset"]["iou"] for name in NAMES] == pytest.approx([3 / 4, 3 / 7, 0])


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        # c in vain: called once, never true. Background 50/59, a 6/12, b 0/4, c 0/1
        ([[50, 2, 0, 0], [4, 6, 0, 0], [3, 0, 0, 1], [0, 0, 0, 0]], (50 / 59 + 1 / 2) / 4),
        # c true and called, but never both at once: 0/(3 + 2)
        ([[5, 0, 0, 2], [0, 4, 0, 0], [0, 0, 4, 0], [3, 0, 0, 0]], (5 / 10 + 1 + 1 + 0) / 4),
        # c neither true nor called anywhere: left out
        ([[5, 0, 0, 0], [0, 4, 0, 0], [1, 0, 3, 0], [0, 0, 0, 0]], (5 / 6 + 1 + 3 / 4) / 3),
        # all called background
        ([[5, 0, 0, 0], [4, 0, 0, 0], [4, 0, 0, 0], [3, 0, 0, 0]], (5 / 16) / 4),
        # classes exchanged: everything wrong but the background
        ([[5, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 4], [0, 4, 0, 0]], 1 / 4),
    ],
)
def test_mean_iou_by_hand(matrix, expected):
    assert float(mean_iou(torch.tensor(matrix))) == pytest.approx(expected)


def test_scores_of_slices_and_patients(result):
    # p: a 6/7, b 2 * 1 / (2 + 2 + 1) = 2/5, c 0; q: a and c rightly empty, so 1, b 4/5
    assert result["patients"]["dice"]["mean"] == pytest.approx(((6 / 7 + 2 / 5 + 0) / 3 + (1 + 4 / 5 + 1) / 3) / 2)
    assert result["counts"]["patients_empty"] == 2
    # slices that hold the class: a 2/2 and 1/2, b 1/4 and 2/3, c 0
    expected = ((1 + 1 / 2) / 2 + (1 / 4 + 2 / 3) / 2 + 0) / 3
    assert result["positives"]["iou"]["mean"] == pytest.approx(expected)
    assert result["papers"]["miou_positives"] == pytest.approx(expected)
    # 5 (slice, class) pairs hold it, 4 do not: a in q, b in p's second slice, c in that and in q; none is claimed
    assert (result["positives"]["iou"]["n"], result["negatives"]["slices"]) == (5, 4)
    assert (result["negatives"]["clean"], result["negatives"]["voxels"]) == (1.0, 0.0)


def test_lesions_of_several_classes(result):
    # a: one lesion through both slices, found. b: p's and q's found, and p's second component in vain. c: missed
    assert [result["classes"][name]["lesions"] for name in NAMES] == [
        {"f1": 1.0, "tp": 1, "fp": 0, "fn": 0},
        {"f1": pytest.approx(4 / 5), "tp": 2, "fp": 1, "fn": 0},
        {"f1": 0.0, "tp": 0, "fp": 0, "fn": 1},
    ]
    assert result["lesions"] == {"f1": pytest.approx((1 + 4 / 5 + 0) / 3), "tp": 3, "fp": 1, "fn": 1}


def test_a_class_that_is_nowhere_is_undefined_and_changes_no_mean_over_the_data_set(result):
    names = [*NAMES, "nowhere"]
    wider = summarise(counted(names), names)
    assert wider["dataset"] == result["dataset"]
    assert wider["classes"]["nowhere"]["dataset"] == {"iou": None, "dice": None}
    assert wider["classes"]["nowhere"]["positives"]["dice"]["mean"] is None
    assert wider["classes"]["nowhere"]["lesions"]["f1"] is None
    for path in (("positives", "iou", "mean"), ("lesions", "f1"), ("papers", "miou_positives")):
        found = [wider, result]
        for key in path:
            found = [table[key] for table in found]
        assert found[0] == found[1], path
    # of a patient, though, it is rightly empty: 1 beside three others
    assert wider["patients"]["dice"]["mean"] == pytest.approx((3 * result["patients"]["dice"]["mean"] + 1) / 4)
    json.dumps(wider, allow_nan=False)


def test_one_false_pixel_of_an_absent_class_costs_its_share():
    names = [*NAMES, "nowhere"]
    pred = PRED | {"q": ("40002220",)}  # a background pixel called so: background 12/16
    found = summarise(counted(names, pred=pred), names)
    assert found["dataset"]["miou"] == pytest.approx((12 / 16 + 3 / 4 + 3 / 7 + 0 + 0) / 5)
    assert found["classes"]["nowhere"]["dataset"] == {"iou": 0.0, "dice": 0.0}


def test_void_beside_three_classes():
    # p's first slice: the pixels of c are void, so c is nowhere, and b's two false ones there do not count
    truth = TRUTH | {"p": ("01122990", "00110000")}
    found = summarise(counted(truth=truth), NAMES)
    assert found["dataset"]["miou"] == pytest.approx((13 / 16 + 3 / 4 + 3 / 5) / 3)
    assert found["classes"]["c"]["dataset"]["iou"] is None


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_the_order_of_the_classes_changes_nothing(result, order):
    """Class k becomes class order[k]."""
    place = torch.tensor([0, *(k + 1 for k in order)])
    cases = [count_case(c, place[volume(*PRED[c])], place[volume(*TRUTH[c])], 3) for c in TRUTH]
    names = [""] * 3
    for old, new in enumerate(order):
        names[new] = NAMES[old]
    other = summarise(cases, names)
    assert other["dataset"] == {key: pytest.approx(value) for key, value in result["dataset"].items()}
    for name in NAMES:
        assert other["classes"][name]["dataset"] == result["classes"][name]["dataset"]
        assert other["classes"][name]["lesions"] == result["classes"][name]["lesions"]


def test_parity_with_sklearn_where_every_class_occurs_or_is_claimed():
    """A class without a true positive is 0 there too."""
    generator = torch.Generator().manual_seed(0)
    truth, pred = (torch.randint(4, (1, 200), generator=generator) for _ in range(2))
    pred[truth == pred] = torch.where(pred[truth == pred] == 2, 0, pred[truth == pred])  # class 2 is never right
    matrix = confusion(pred, truth, 4)[0]
    expected = jaccard_score(truth[0], pred[0], average=None)
    assert expected[2] == 0 and iou(matrix).tolist() == pytest.approx(expected.tolist())
    assert float(mean_iou(matrix)) == pytest.approx(expected.mean())


@pytest.mark.parametrize(("classes", "dtype"), [(200, torch.uint8), (254, torch.uint8), (254, torch.int64)])
def test_many_classes(classes, dtype):
    """One pixel a label; the two last labels are exchanged, so each has no true positive; then void."""
    labels = torch.cat([torch.arange(classes + 1), torch.tensor([255, 255])])
    pred = labels.clone()
    pred[[classes - 1, classes]] = torch.tensor([classes, classes - 1])
    pred[-2:] = torch.tensor([classes, 0])
    truth, pred = labels.to(dtype).view(1, 1, -1), pred.to(dtype).view(1, 1, -1)
    case = count_case("many", pred, truth, classes)
    matrix = case.matrices.sum(0)
    assert int(matrix.sum()) == classes + 1 and matrix[classes - 1, classes] == matrix[classes, classes - 1] == 1
    assert float(mean_iou(matrix)) == pytest.approx((classes - 1) / (classes + 1))
    assert dice(matrix)[-3:].tolist() == [1.0, 0.0, 0.0]
    assert case.lesions[-3:].tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 1]]


def row_file(folder, name, labels, dtype=np.uint8):
    """A slice of one row."""
    write(folder, f"{name}.nii.gz", np.asarray(labels, dtype)[None, :, None])


def test_evaluate_of_files_with_three_classes_is_the_same(result, tmp_path):
    pred, truth, out = tmp_path / "pred", tmp_path / "truth", tmp_path / "scores.json"
    for case in TRUTH:
        for folder, table in ((pred, PRED), (truth, TRUTH)):
            write(folder, f"{case}.nii.gz", volume(*table[case]).movedim(0, -1).numpy().astype(np.uint8))
    found = evaluate(pred, truth, out, labels=NAMES)
    assert found["counts"] == result["counts"] | {"unmatched": 0, "skipped": 0}
    assert {key: found[key] for key in result} == result | {"counts": found["counts"]}
    assert json.loads(out.read_text()) == found


def test_evaluate_of_200_classes_and_of_label_254(tmp_path):
    pred, truth, out = tmp_path / "pred", tmp_path / "truth", tmp_path / "scores.json"
    names = [f"c{k}" for k in range(1, 255)]
    row_file(truth, "case", [0, 0, 200, 254, 254, 1, 255])
    row_file(pred, "case", [0, 0, 200, 254, 253, 0, 254])
    found = evaluate(pred, truth, out, labels=names)
    # background 2/3, 200 is right, 254 one of two (the pixel on void does not count), 253 in vain, 1 missed
    assert found["dataset"]["miou"] == pytest.approx((2 / 3 + 1 + 1 / 2 + 0 + 0) / 5)
    assert found["dataset"]["dice"] == pytest.approx((1 + 2 / 3 + 0 + 0) / 4)
    scores = {name: found["classes"][name]["dataset"]["iou"] for name in ("c1", "c2", "c200", "c253", "c254")}
    assert scores == {"c1": 0.0, "c2": None, "c200": 1.0, "c253": 0.0, "c254": 0.5}


@pytest.mark.parametrize(
    ("predicted", "true", "words"),
    [
        ([0, 4], [0, 3], "holds the values 4, but the labels are 0..3"),
        ([0, 255], [0, 3], "holds the values 255, but the labels are 0..3"),  # void is the truth's alone
        ([0, 3], [0, 254], "holds the values 254, but the labels are 0..3"),
    ],
)
def test_labels_outside_are_refused_with_their_value(tmp_path, predicted, true, words):
    pred, truth, out = tmp_path / "pred", tmp_path / "truth", tmp_path / "scores.json"
    row_file(pred, "case", predicted)
    row_file(truth, "case", true)
    with pytest.raises(InputError, match=words):
        evaluate(pred, truth, out, labels=NAMES)
