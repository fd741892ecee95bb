import json

import pytest
import torch

from monai_wsss.metrics import count_case, summarise


def volume(*slices):
    return torch.tensor([[[int(digit) for digit in row]] for row in slices])


# Truth and prediction of two patients, slices of four voxels in a row (TP, FP, FN of each slice beside it).
A = count_case(
    "a",
    volume("1000", "0000", "0110"),  # 1 0 1 | 0 0 0 | 0 2 0
    volume("1100", "0000", "0000"),
    1,
    probability=torch.tensor([[0.9], [0.6], [0.2]]),
)
B = count_case(
    "b",
    volume("1111", "0000"),  # 4 0 0 | 0 0 0
    volume("1111", "0000"),
    1,
    probability=torch.tensor([[0.4], [0.1]]),
)


@pytest.fixture(scope="module")
def result():
    return summarise([A, B], ["lesion"])


def test_patients(result):
    # a: TP 1, FP 2, FN 1: 2/5; b: 1. With two patients the interval ends at the two.
    assert result["patients"]["dice"] == {"mean": pytest.approx(0.7), "ci95": [0.4, 1.0], "n": 2, "patients": 2}


def test_positives(result):
    # Dice 2/3 and 1, IoU 1/2 and 1
    scores = result["positives"]
    assert scores["dice"] == {"mean": pytest.approx(5 / 6), "ci95": pytest.approx([2 / 3, 1]), "n": 2, "patients": 2}
    assert scores["iou"] == {"mean": pytest.approx(3 / 4), "ci95": pytest.approx([1 / 2, 1]), "n": 2, "patients": 2}


def test_negatives(result):
    # two of three are clean, 0 + 2 + 0 voxels; no patient is without a lesion
    assert result["negatives"] == {
        "clean": pytest.approx(2 / 3),
        "voxels": pytest.approx(2 / 3),
        "slices": 3,
        "cases_clean": None,
        "cases_voxels": None,
        "cases": 0,
    }


def test_lesions(result):
    # a: its lesion is found, one component in vain; b: found. 4 / (4 + 1)
    assert result["lesions"] == {"f1": pytest.approx(0.8), "tp": 2, "fp": 1, "fn": 0}


def test_dataset_and_papers(result):
    # 20 voxels: TP 5, FP 2, FN 1, TN 12: IoU 5/8 and 12/15, Dice 10/13; slices' Dice 2/3, 1, 0, 1, 1,
    # IoU 1/2, 1, 0, 1, 1; three of five slices are negative
    assert result["dataset"] == {
        "miou": pytest.approx((5 / 8 + 12 / 15) / 2),
        "pixel_accuracy": pytest.approx(17 / 20),
        "dice": pytest.approx(10 / 13),
    }
    assert result["papers"] == {
        "miou_positives": pytest.approx(3 / 4),
        "miou_all": pytest.approx(7 / 10),
        "dice_empty_is_one": pytest.approx(11 / 15),
        "all_empty": pytest.approx(3 / 5),
    }


def test_classification(result):
    # AUC: .9 over .6 .2 .1, .4 over .2 .1: 5 of 6. F1: claimed .9 (right), .6 (wrong), missed .4: 2/4
    # ECE: five probabilities in five bins: (|.9 - 1| + .6 + .2 + |.4 - 1| + .1) / 5
    # position: a lies 2/3, 0, 2/3 off the middle, b 1/2, 1/2: -2/3 and -1/2 against 0, -2/3, -1/2: (1/2 + 3/2) / 6
    assert result["classification"] == {
        "auc": pytest.approx(5 / 6),
        "f1": pytest.approx(0.5),
        "ece": pytest.approx(1.6 / 5),
        "auc_slice_position": pytest.approx(1 / 3),
        "slices": 5,
    }


def test_counts_and_rows(result):
    assert result["counts"] == {
        "patients": 2,
        "patients_empty": 0,
        "cases": 2,
        "slices": 5,
        "positive_slices": 2,
        "missing": 0,
    }
    assert result["per_case"][0] == {
        "case": "a",
        "patient": "a",
        "dice": pytest.approx(0.4),
        "positive_dice": pytest.approx(2 / 3),
        "slices": 3,
        "positive_slices": 1,
        "true_voxels": 2,
        "predicted_voxels": 3,
        "lesions": {"tp": 1, "fp": 1, "fn": 0},
        "missing": False,
    }
    assert "classes" not in result


def test_cases_of_one_patient_are_one():
    left = count_case("left", volume("1100"), volume("1000"), 1, patient="p")  # TP 1, FP 1
    right = count_case("right", volume("0000"), volume("0111"), 1, patient="p")  # FN 3
    result = summarise([left, right], ["lesion"])
    assert result["patients"]["dice"] == {"mean": pytest.approx(2 / 6), "ci95": None, "n": 1, "patients": 1}
    assert (result["counts"]["patients"], result["counts"]["cases"]) == (1, 2)


def test_order_of_cases_changes_nothing():
    others = [count_case(str(i), volume("0110"), volume(f"{i:04b}"), 1) for i in range(6)]
    assert summarise([A, B, *others], ["lesion"]) == summarise([*others[::-1], B, A], ["lesion"])


def test_no_positive_at_all():
    cases = [count_case("a", volume("0000"), volume("0000"), 1), count_case("b", volume("0011"), volume("0000"), 1)]
    result = summarise(cases, ["lesion"])
    assert result["patients"]["dice"]["mean"] == 0.5  # a: both empty, so 1; b: 0
    assert result["counts"]["patients_empty"] == 1
    assert result["positives"]["dice"] == {"mean": None, "ci95": None, "n": 0, "patients": 0}
    assert result["negatives"]["cases_clean"] == 0.5 and result["negatives"]["cases_voxels"] == 1
    assert result["dataset"]["dice"] == 0
    assert result["classification"] == {"auc": None, "f1": None, "ece": None, "auc_slice_position": None, "slices": 0}
    json.dumps(result, allow_nan=False)


def test_nothing_true_and_nothing_claimed():
    probability = torch.tensor([[0.1]])
    result = summarise([count_case("a", volume("0000"), volume("0000"), 1, probability=probability)], ["lesion"])
    assert result["lesions"]["f1"] is None and result["dataset"]["dice"] is None
    assert result["dataset"]["miou"] == 1 and result["papers"]["dice_empty_is_one"] == 1
    assert result["classification"]["auc"] is None and result["classification"]["ece"] == pytest.approx(0.1)
    json.dumps(result, allow_nan=False)


def test_no_negative_at_all():
    result = summarise([count_case("a", volume("1000"), volume("1111"), 1)], ["lesion"])
    assert (result["negatives"]["clean"], result["negatives"]["voxels"], result["negatives"]["slices"]) == (
        None,
        None,
        0,
    )
    json.dumps(result, allow_nan=False)


@pytest.fixture(scope="module")
def several():
    generator = torch.Generator().manual_seed(0)
    cases = []
    for index in range(5):
        truth, pred = (torch.randint(3, (4, 6, 5), generator=generator) for _ in range(2))
        truth[0] = pred[1] = 0
        truth[2][truth[2] == 2] = 0
        cases.append((str(index), pred, truth, torch.rand(4, 2, generator=generator)))
    return cases


def test_several_labels_are_scored_as_each_alone(several):
    whole = summarise([count_case(n, p, t, 2, probability=s) for n, p, t, s in several], ["core", "oedema"])
    for label, name in ((1, "core"), (2, "oedema")):
        alone = summarise(
            [count_case(n, p == label, t == label, 1, probability=s[:, label - 1 : label]) for n, p, t, s in several],
            [name],
        )
        for table in ("patients", "positives", "negatives", "lesions", "papers", "classification"):
            assert whole["classes"][name][table] == alone[table]
        assert whole["classes"][name]["dataset"]["dice"] == alone["dataset"]["dice"]


def test_headline_is_the_mean_over_labels(several):
    whole = summarise([count_case(n, p, t, 2, probability=s) for n, p, t, s in several], ["core", "oedema"])
    parts = list(whole["classes"].values())
    for path in (
        ("patients", "dice", "mean"),
        ("positives", "dice", "mean"),
        ("positives", "iou", "mean"),
        ("negatives", "clean"),
        ("negatives", "voxels"),
        ("lesions", "f1"),
        ("dataset", "dice"),
        ("papers", "dice_empty_is_one"),
        ("papers", "miou_positives"),
        ("papers", "miou_all"),
        ("papers", "all_empty"),
        ("classification", "auc"),
        ("classification", "ece"),
    ):
        values = []
        for table in (whole, *parts):
            for key in path:
                table = table[key]
            values.append(table)
        assert values[0] == pytest.approx((values[1] + values[2]) / 2), path
    low, high = whole["positives"]["dice"]["ci95"]
    assert low < whole["positives"]["dice"]["mean"] < high
    assert len(whole["per_case"][0]["dice_of_labels"]) == 2


def test_unknown_probabilities_are_left_out():
    case = count_case(
        "a", volume("1", "0", "0"), volume("1", "0", "1"), 1, probability=torch.tensor([[0.9], [0.2], [torch.nan]])
    )
    scores = summarise([case], ["lesion"])["classification"]
    assert (scores["slices"], scores["auc"], scores["f1"]) == (2, 1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: summarise([], ["lesion"]), "no case"),
        (lambda: summarise([A], ["core", "oedema"]), "counts of a do not have 2 labels"),
        (lambda: count_case("a", volume("1")[0], volume("1")[0], 1), "D, H, W"),
        (
            lambda: count_case("a", volume("1"), volume("1"), 1, probability=torch.zeros(2, 1)),
            r"\(1, 1\), got \(2, 1\)",
        ),
        (lambda: count_case("a", volume("2"), volume("1"), 1), "outside 0..1"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
