"""Which slices train the segmenter, and which train the classifier."""

from collections import Counter

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from monai_wsss.errors import InputError
from monai_wsss.networks import ResNetClassifier
from monai_wsss.workflow import ClassifyStage, pseudo_mask_items


@pytest.fixture
def items(write_cached, place, grid, tmp_path):
    """Cases are (labels, which slices have a refined mask)."""

    def make(cases, split="training", labels="ab", missing=(), **options):
        found = {name: (np.zeros((len(rows), 1, 8, 8)), rows) for name, (rows, _) in cases.items()}
        write_cached(labels, **{split: found})
        for kind in ("refined", "crf"):
            (tmp_path / "run" / "pseudo_masks" / kind).mkdir(parents=True)
            for name, (rows, marked) in cases.items():
                mask = np.zeros((len(rows), 8, 8), np.uint8)
                mask[list(marked), 3, 3] = 1
                if name not in missing:
                    np.save(tmp_path / "run" / "pseudo_masks" / kind / f"{name}.npy", mask)
        return pseudo_mask_items(place["dataset_dir"], place["output_dir"], split, grid, **options)

    return make


def names(found):
    return sorted((item["case"], item["slice"]) for item in found)


def test_kept_are_pure_negatives_and_positives_with_a_mask(items):
    rows = [[0, 0], [1, 0], [1, 0], [0, 1], [-1, 0], [-1, 1], [-1, -1]]
    found = items({"c": (rows, [1, 3, 5])})
    # 0: negative; 1, 3, 5: positive with a mask; 2: positive without; 4, 6: unknown
    assert names(found) == [("c", 0), ("c", 1), ("c", 3), ("c", 5)]
    item = found[0]
    (refined, first), (crf, second) = item["label"]
    assert first == second == item["image"][1] == item["slice"]
    assert refined.endswith("pseudo_masks/refined/c.npy") and crf.endswith("pseudo_masks/crf/c.npy")


def test_soft_labels_are_positive_from_one_half_and_negative_at_zero_alone(items):
    rows = [[0.5, 0], [0.4, 0.9], [0.4, 0], [0, 0], [0.1, 0.1], [0.7, -1], [0.3, -1], [0.6, 0]]
    found = items({"c": (rows, range(7))})
    # 0, 1, 5: a class from .5 on; 3: all absent; 2, 4, 6: in between; 7: positive without a mask
    assert names(found) == [("c", 0), ("c", 1), ("c", 3), ("c", 5)]


@pytest.mark.parametrize("kind", ["refined", "crf"])
def test_a_positive_slice_with_one_empty_mask_is_left_out(items, place, tmp_path, grid, kind):
    assert names(items({"c": ([[1, 0], [1, 0], [0, 0]], [0, 1])})) == [("c", 0), ("c", 1), ("c", 2)]
    path = tmp_path / "run" / "pseudo_masks" / kind / "c.npy"
    mask = np.load(path)
    mask[1] = 0  # the CRF took the whole seed away, say
    np.save(path, mask)
    found = pseudo_mask_items(place["dataset_dir"], place["output_dir"], "training", grid)
    assert names(found) == [("c", 0), ("c", 2)]


def test_other_folders_and_ignored_pixels(items, place, tmp_path, grid):
    """Slice 0 has a lesion pixel, 1 has ignored pixels alone, 2 is all ignored, 3 empty, 4 a negative with some."""
    items({"c": ([[1, 0]] * 4 + [[0, 0]], [])} | {"d": ([[0, 1]], [0])})
    for case, count in (("c", 5), ("d", 1)):
        mask = np.zeros((count, 8, 8), np.uint8)
        mask[0, 2, 2] = 2
        if case == "c":
            mask[0, 3], mask[1, 3], mask[2], mask[4, 3] = 255, 255, 255, 255
        (tmp_path / "run" / "pseudo_masks" / "walk").mkdir(exist_ok=True)
        np.save(tmp_path / "run" / "pseudo_masks" / "walk" / f"{case}.npy", mask)
    where = (place["dataset_dir"], place["output_dir"], "training", grid)
    found = pseudo_mask_items(*where, folders=["pseudo_masks/walk"])
    assert names(found) == [("c", 0), ("c", 4), ("d", 0)]
    assert found[0].keys() == {"image", "label", "classes", "case", "slice"}
    assert found[0]["label"][0][0].endswith("pseudo_masks/walk/c.npy") and len(found[0]["label"]) == 1
    two = ["pseudo_masks/walk", "pseudo_masks/crf"]
    both = pseudo_mask_items(place["dataset_dir"], place["output_dir"], "training", grid, folders=two)
    assert names(both) == [("c", 4), ("d", 0)]
    with pytest.raises(InputError, match="run: no mask of c in relabelled; run the stage that writes it first"):
        pseudo_mask_items(place["dataset_dir"], place["output_dir"], "training", grid, folders=["relabelled"])


@pytest.mark.parametrize(("ratio", "negatives"), [(None, 9), (2.0, 4), (0.5, 1), (0.0, 0), (100.0, 9)])
def test_negatives_for_each_positive(items, ratio, negatives):
    rows = [[1, 0]] * 2 + [[0, 0]] * 9
    found = items({"c": (rows, [0, 1])}, negatives_per_positive=ratio)
    counts = Counter("positive" if item["slice"] < 2 else "negative" for item in found)
    assert (counts["positive"], counts["negative"]) == (2, negatives)
    assert len(set(names(found))) == len(found)


def test_the_draw_is_the_seeds(items, place, grid):
    first = names(items({"c": ([[1, 0]] + [[0, 0]] * 40, [0])}, negatives_per_positive=5, seed=1))
    again = [place["dataset_dir"], place["output_dir"], "training", grid, 5]
    assert names(pseudo_mask_items(*again, seed=1)) == first
    assert names(pseudo_mask_items(*again, seed=2)) != first


def test_a_split_without_a_mask_on_a_positive_is_refused(items):
    with pytest.raises(InputError, match="no positive slice of validation has a mask in pseudo_masks/refined, pseudo"):
        items({"c": ([[1, 0], [0, 0]], [1])}, split="validation")


def test_missing_masks_are_named(items):
    with pytest.raises(InputError, match="no mask of d in pseudo_masks/refined; run the stage that writes it first"):
        items({"c": ([[1, 0]], [0]), "d": ([[0, 0]], [])}, missing=["d"])


class Mean(torch.nn.Module):
    """The logit is the mean of the slice."""

    def forward(self, image):
        return image.mean(dim=(2, 3))


class Mean2(Mean):
    """The same for two classes."""

    def forward(self, image):
        return super().forward(image).expand(-1, 2)


@pytest.fixture
def classify(write_cached, place):
    def make(training, validation):
        cases = {"training": training, "validation": validation}
        splits = {k: {k: (np.zeros((len(rows), 1, 8, 8)), rows)} if rows else {} for k, rows in cases.items()}
        write_cached(["a", "b"], **splits)
        network = ResNetClassifier(in_channels=1, num_classes=2, depth=18)
        stage = ClassifyStage(network, Compose([]), 1, 2, 0.1, labels=["a", "b"], **place)
        return [names(stage.items("training")), names(stage.items("validation"))]

    return make


def test_the_classifier_takes_every_slice_with_a_known_label(classify):
    training, validation = classify([[1, 0], [0, 1], [-1, 0], [-1, -1]], [[1, 1]])
    assert training == [("training", 0), ("training", 1), ("training", 2)] and validation == [("validation", 0)]


def test_the_classifier_takes_soft_labels(classify):
    training, validation = classify([[0.6, 0], [0, 0.5], [0.2, -1], [-1, -1]], [[0.9, 0.1]])
    assert training == [("training", 0), ("training", 1), ("training", 2)] and validation == [("validation", 0)]


def test_validation_scores_count_hard_labels_alone(write_cached, place):
    """Mean intensity is the logit. Hard are -2 absent and 1 present; the others would spoil every score."""
    values, rows = (-2.0, 1.0, 3.0, -5.0, 4.0), [[0], [1], [0.4], [0.6], [-1]]
    volume = np.ones((5, 1, 8, 8)) * np.reshape(values, (5, 1, 1, 1))
    write_cached(["a"], training={"t": (volume, rows)}, validation={"v": (volume, rows)})
    stage = ClassifyStage(Mean(), Compose([]), 1, 2, 0.1, labels=["a"], **place)
    scores = stage._validation_scores(stage.items("validation"))
    # sigmoid(-2) = .1192, sigmoid(1) = .7311: gaps .1192 and .2689
    assert scores["val_auc"] == 1 and scores["val_f1"] == 1
    assert scores["val_ece"] == pytest.approx((0.1192 + 0.2689) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((1.0, 2.0, 3.0, 4.0), False),  # AUC 1
        ((2.0, 1.0, 4.0, 3.0), False),  # 4 of 4 pairs
        ((1.0, 4.0, 2.0, 3.0), True),  # 2 of 4
        ((0.0, 0.0, 0.0, 0.0), True),  # ties, .5
    ],
)
def test_a_class_that_was_not_learnt_is_named(write_cached, place, caplog, values, said):
    volume = np.ones((4, 1, 8, 8)) * np.reshape(values, (4, 1, 1, 1))
    case = (volume, [[0, 0], [0, 0], [1, 0], [1, 0]])  # nothing can be said of b
    write_cached(["a", "b"], training={"t": case}, validation={"v": case})
    stage = ClassifyStage(Mean2(), Compose([]), 1, 2, 0.1, labels=["a", "b"], **place)
    stage._validation_scores(stage.items("validation"))
    assert ("hardly knows a (AUC 0.50, chance is 0.50; 2 positive)" in caplog.text) is said
    assert "knows b" not in caplog.text


def test_validation_may_lack_a_class_but_not_all(classify):
    assert classify([[1, 0], [0, 1]], [[1, 0]])[1] == [("validation", 0)]


def test_another_backbone_of_the_same_name_is_another_input(write_cached, place, tmp_path):
    write_cached(["a"], training={"c": (np.zeros((1, 1, 8, 8)), [[1]])})
    network, path = ResNetClassifier(depth=18), tmp_path / "backbone.pt"
    stage = ClassifyStage(network, Compose([]), 1, 2, 0.1, backbone_weights=str(path), labels=["a"], **place)
    path.write_bytes(b"one")
    first = stage._inputs()
    path.write_bytes(b"two")
    assert stage._inputs()["backbone"] != first["backbone"] and stage._inputs()["dataset"] == first["dataset"]
    stage.backbone_weights = None
    assert stage._inputs() == {"dataset": first["dataset"]}


@pytest.mark.parametrize(
    ("training", "validation", "message"),
    [
        ([[0, 0], [0, 0]], [[1, 1]], "no positive slice in training"),
        ([[1, 1], [0, 0]], [[0, 0]], "no positive slice in validation"),
        ([[1, 1], [0, 0]], [[-1, -1]], "no labelled slice in validation"),
        ([[1, 1], [0, 0]], [], "no labelled slice in validation"),
        ([[1, 0], [0, 0]], [[1, 0]], "no positive slice of class b in training"),
        ([[1, 1], [1, 0]], [[1, 0]], "no negative slice of class a in training"),
        ([[0.4, 0.1], [0, 0]], [[1, 1]], "no positive slice in training"),
        ([[1, 1], [0.2, 0]], [[1, 0]], "no negative slice of class a in training"),
    ],
)
def test_what_cannot_be_learned_is_said_in_one_line(classify, training, validation, message):
    with pytest.raises(InputError, match=message) as raised:
        classify(training, validation)
    assert "dataset.json" in str(raised.value) and "\n" not in str(raised.value)
