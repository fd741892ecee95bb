import pytest

from benchmarks.tables.layouts import LAYOUTS


def score(mean):
    return {"mean": mean, "ci95": [mean - 0.1, mean + 0.1]}


def text(mean, sign=""):
    return f"{mean:{sign}.3f} [{mean - 0.1:{sign}.3f}, {mean + 0.1:{sign}.3f}]"


def mask_row(value):
    return {
        "patients": {"dice": score(value)},
        "positives": {"dice": score(value + 0.1), "iou": score(value - 0.05)},
        "negatives": {"clean": None},
        "dataset": {"pixel_accuracy": 0.99, "miou": 0.6, "dice": 0.45},
        "difference": score(0.2),
    }


MASKS = {"base": "Mixed-UNet", "rows": {"FCN": mask_row(0.3), "Mixed-UNet": mask_row(0.5)}}


def test_segmenters_have_the_papers_three_scores_first():
    head, _, fcn, own = LAYOUTS["segmenters"](MASKS).splitlines()
    assert head == (
        "| row | pixel accuracy | data-set mIoU | data-set Dice | Dice, positive slices | Dice per patient | "
        "Mixed-UNet minus row | clean negative slices |"
    )
    assert fcn == f"| FCN | 0.990 | 0.600 | 0.450 | {text(0.4)} | {text(0.3)} | {text(0.2, '+')} | - |"
    assert own == f"| Mixed-UNet | 0.990 | 0.600 | 0.450 | {text(0.6)} | {text(0.5)} |  | - |"


def test_masks_have_the_papers_two_scores_first():
    head, _, fcn, _ = LAYOUTS["masks"](MASKS).splitlines()
    assert head.startswith("| row | pixel accuracy | data-set mIoU | IoU, positive slices | Dice, positive slices |")
    assert fcn == f"| FCN | 0.990 | 0.600 | {text(0.25)} | {text(0.4)} | {text(0.3)} | {text(0.2, '+')} |"


def classifier_row(value, **more):
    scores = {name: score(value) for name in ("accuracy", "auc", "sensitivity", "specificity", "difference")}
    return {**scores, "f1": 0.7, "ece": None, "counts": {"patients_without": 0}, **more}


def test_classifiers_stand_beside_what_needs_no_finding():
    table = {
        "base": "ResNet50",
        "rows": {"ResNet50": classifier_row(0.9), "AlexNet": classifier_row(0.8)},
        "nuisance": {"slice position": {"auc": score(0.86)}},
    }
    lines = LAYOUTS["classifiers"](table).splitlines()
    assert lines[0] == ("| row | accuracy | ResNet50 minus row | AUC | F1 | sensitivity | specificity | ECE |")
    assert lines[2] == f"| ResNet50 | {text(0.9)} |  | {text(0.9)} | 0.700 | {text(0.9)} | {text(0.9)} | - |"
    assert lines[3].split(" | ")[2] == text(0.8, "+")
    assert f"| slice position alone | {text(0.86)} |" in lines
    assert lines[-1].startswith("Every test patient has the finding: specificity is of the other slices")


@pytest.mark.parametrize(("without", "lines"), [(0, 5), (1, 3)])
def test_specificity_is_explained_where_no_patient_is_without(without, lines):
    rows = {"a": classifier_row(0.5, counts={"patients_without": without})}
    assert len(LAYOUTS["classifiers"]({"base": "a", "rows": rows}).splitlines()) == lines


def test_cost_stands_beside_the_papers():
    def row(seconds, ratio):
        spreads = [{"median": m, "quartiles": [m / 2, 2 * m]} for m in (seconds, ratio)]
        sizes = {"parameters": 12437057, "weights_mib": 47.5, "forward_mib": 85.4, "training_mib": 620.0}
        return {**sizes, "seconds": spreads[0], "ratio": spreads[1]}

    table = {
        "base": "Mixed-UNet",
        "size": [256, 128],
        "in_channels": 3,
        "batch_size": 1,
        "repeats": 20,
        "device": "cpu, a model",
        "threads": 1,
        "versions": {"torch": "2.13.0"},
        "definitions": {"forward_mib": "so and so"},
        "paper": {"Mixed-UNet": {"parameters": 10303105, "megabytes": 50, "seconds": 1.153}},
        "rows": {"Mixed-UNet": row(0.5, 1), "other": row(1, 2)},
    }
    lines = LAYOUTS["cost"](table).splitlines()
    assert lines[2] == (
        "| Mixed-UNet | 12,437,057 | 48 | 85 | 620 | 500.0 [250.0, 1000.0] | 1 | 10,303,105 | 50 | 1.153 |"
    )
    assert lines[3].endswith("| 1000.0 [500.0, 2000.0] | 2.00 [1.00, 4.00] | - | - | - |")
    assert lines[-1].startswith("Images of 256 x 128 pixels, 3 channels, 1 at once. Median [quartiles] of 20 turns")
    assert "(cpu, a model, 1 CPU thread(s), torch 2.13.0)" in lines[-1] and lines[-1].endswith("Peaks: so and so.")
