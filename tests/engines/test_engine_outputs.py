"""What metrics read of an engine's output, and the agreement with pseudo masks."""

import pytest
import torch
from ignite.engine import Engine

from monai_wsss.engines import (
    label_map,
    label_output,
    loss_output,
    prepare_classification_batch,
    prepare_image_batch,
    pseudo_mask_dice,
)


def test_loss_output_is_float32_and_label_is_untouched():
    label = torch.tensor([[1.0, -1.0]])
    prediction, target = loss_output({"pred": torch.tensor([[0.5, 2.0]], dtype=torch.float16), "label": label})
    assert prediction.dtype == torch.float32 and prediction.tolist() == [[0.5, 2.0]]
    assert target is label


def test_label_output_takes_the_last_channel_and_all_scores():
    scores = torch.randn(2, 3, 4, 4)
    label = torch.stack([torch.zeros(2, 4, 4), torch.full((2, 4, 4), 2.0)], dim=1)
    found, target = label_output({"pred": scores, "label": label})
    assert found is scores
    assert target.shape == (2, 4, 4) and target.dtype == torch.int64 and bool((target == 2).all())


def test_label_output_of_one_channel_is_lesion_above_zero():
    logits = torch.tensor([-2.0, -0.1, 0.1, 3.0]).reshape(1, 1, 2, 2)
    scores, _ = label_output({"pred": logits, "label": torch.zeros(1, 2, 2, 2)})
    assert scores.argmax(1).flatten().tolist() == [0, 0, 1, 1]


def agreement(num_labels, *batches):
    """Over batches of (predicted labels, CRF labels), flat lists."""
    engine = Engine(lambda engine, batch: batch)
    pseudo_mask_dice(num_labels).attach(engine, "dice")
    outputs = []
    for predicted, label in batches:
        scores = torch.nn.functional.one_hot(torch.tensor(predicted), num_labels).T[None].float()
        outputs.append({"pred": scores, "label": torch.tensor(label)[None, None].float()})
    return engine.run(outputs).metrics["dice"]


@pytest.mark.parametrize(
    ("num_labels", "batches", "dice"),
    [
        # TP 1, FP 1, FN 1: 2 / (2 + 1 + 1)
        (2, [([1, 1, 0, 0], [1, 0, 1, 0])], 0.5),
        # the same pixels in two batches: pooled, not a mean of batches (which would be (2/3 + 0) / 2)
        (2, [([1, 1], [1, 0]), ([0, 0], [1, 0])], 0.5),
        # 255 does not count: TP 1, nothing else
        (2, [([1, 1, 0], [1, 255, 255])], 1.0),
        # class 1: 2 / 2 = 1, class 2: TP 0, FN 1: 0; background does not enter the mean
        (3, [([1, 0, 0], [1, 2, 0])], 0.5),
        # nothing predicted, nothing there: 0, not NaN
        (2, [([0, 0], [0, 0])], 0.0),
        (2, [([0, 1], [255, 255])], 0.0),
    ],
)
def test_pseudo_mask_dice_by_hand(num_labels, batches, dice):
    assert agreement(num_labels, *batches) == pytest.approx(dice, abs=1e-6)


def test_prepare_batch_hands_over_images_and_labels():
    batch = {"image": torch.rand(2, 1, 4, 4), "classes": torch.tensor([[1.0], [-1.0]]), "case": ["a", "b"]}
    image, classes = prepare_classification_batch(batch, "cpu")
    assert torch.equal(image, batch["image"]) and torch.equal(classes, batch["classes"])
    image, nothing = prepare_image_batch(batch, "cpu", non_blocking=True)
    assert torch.equal(image, batch["image"]) and nothing is None


def test_prepare_batch_passes_the_type_to_the_image_alone():
    batch = {"image": torch.rand(2, 1, 4, 4), "classes": torch.ones(2, 1)}
    image, classes = prepare_classification_batch(batch, "cpu", dtype=torch.float64)
    assert (image.dtype, classes.dtype) == (torch.float64, torch.float32)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ([[-1.0, 0.0, 2.0]], [0, 0, 1]),  # one channel: above 0
        ([[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]], [0, 1, 1]),
        ([[1.0, 0.0, 2.0], [0.0, 1.0, 3.0], [0.0, 0.0, 4.0]], [0, 1, 2]),
    ],
)
def test_label_map(logits, labels):
    found = label_map(torch.tensor(logits)[None])
    assert found.dtype == torch.uint8 and found[0].tolist() == labels
