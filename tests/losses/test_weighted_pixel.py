import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from monai_wsss.losses.weighted_pixel import WeightedPixelLoss

SIZES = pytest.mark.parametrize("size", [(5, 4), (3, 4, 5)])


@pytest.mark.parametrize(
    ("weight", "labels", "expected"),
    [
        # sigmoids .5 .8 .1 .2; -ln: .5 -> .6931472, .8 -> .2231436, .1 -> 2.3025851, .2 -> 1.6094379, .9 -> .1053605
        (1.0, [1, 1, 0, 0], (0.6931472 + 0.2231436 + 0.1053605 + 0.2231436) / 4),
        (3.0, [1, 0, 0, 0], (3 * 0.6931472 + 1.6094379 + 0.1053605 + 0.2231436) / 4),  # n = 4, not 6
        (3.0, [1, 255, 1, 255], (3 * 0.6931472 + 3 * 2.3025851) / 2),
        (3.0, [2, 255, 255, 255], 3 * 0.6931472),  # any class is lesion
        (0.5, [0, 0, 255, 0], (0.6931472 + 1.6094379 + 0.2231436) / 3),  # negatives: no weight
        (3.0, [255, 255, 255, 255], 0.0),
    ],
)
def test_sigmoid_by_hand(weight, labels, expected):
    logits = torch.logit(torch.tensor([0.5, 0.8, 0.1, 0.2])).reshape(2, 1, 1, 2)
    labels = torch.tensor(labels, dtype=torch.uint8).reshape(2, 1, 1, 2)
    assert WeightedPixelLoss(weight)(logits, labels).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("weight", "labels", "expected"),
    [
        # softmax (1/2, 1/4, 1/4) at both pixels
        (1.0, [0, 1], (math.log(2) + math.log(4)) / 2),
        (5.0, [0, 2], (math.log(2) + 5 * math.log(4)) / 2),
        (5.0, [255, 2], 5 * math.log(4)),
        (5.0, [0, 255], math.log(2)),
    ],
)
def test_softmax_by_hand(weight, labels, expected):
    logits = torch.tensor([0.5, 0.25, 0.25]).log().reshape(1, 3, 1).expand(1, 3, 2)
    loss = WeightedPixelLoss(weight)(logits, torch.tensor(labels).reshape(1, 1, 2))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@SIZES
@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_one_channel_equals_torchs_pos_weight(size, weight):
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 1, *size), torch.randint(0, 2, (2, 1, *size))
    expected = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight))(logits, labels.float())
    torch.testing.assert_close(WeightedPixelLoss(weight)(logits, labels), expected)


@SIZES
@pytest.mark.parametrize("ignore", [255, 2])
def test_unweighted_softmax_equals_torchs(size, ignore):
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, *size), torch.randint(0, 3, (2, 1, *size))
    labels[:, :, 0] = ignore
    expected = F.cross_entropy(logits, labels[:, 0], ignore_index=ignore)
    torch.testing.assert_close(WeightedPixelLoss(ignore_index=ignore)(logits, labels), expected)


@SIZES
def test_weighted_softmax_is_torchs_over_pixels_in_place_of_weights(size):
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, *size), torch.randint(0, 3, (2, 1, *size))
    labels[:, :, 0] = 255
    total = F.cross_entropy(logits, labels[:, 0], torch.tensor([1.0, 4.0, 4.0]), ignore_index=255, reduction="sum")
    torch.testing.assert_close(WeightedPixelLoss(4.0)(logits, labels), total / (labels != 255).sum())


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_labelled_has_no_gradient(channels):
    logits = torch.randn(2, channels, 3, 3, requires_grad=True)
    loss = WeightedPixelLoss(2.0)(logits, torch.full((2, 1, 3, 3), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("channels", [1, 3])
def test_ignored_pixels_have_no_gradient(channels):
    logits = torch.randn(1, channels, 1, 4, requires_grad=True)
    WeightedPixelLoss(2.0)(logits, torch.tensor([0, 255, 1, 255], dtype=torch.uint8).reshape(1, 1, 1, 4)).backward()
    assert (logits.grad.abs().sum(dim=(0, 1, 2)) > 0).tolist() == [True, False, True, False]


def test_two_logits_equal_one():
    # softmax of (0, z) is the sigmoid of z
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 1, 4, 4), torch.randint(0, 2, (2, 1, 4, 4))
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    torch.testing.assert_close(WeightedPixelLoss(3.0)(two, labels), WeightedPixelLoss(3.0)(logits, labels))


@pytest.mark.parametrize(("dtype", "result"), [(torch.float16, torch.float32), (torch.float64, torch.float64)])
def test_sums_in_float32_at_least(dtype, result):
    # 256 x 512 pixels of ln 2: a sum beyond float16's 65,504
    loss = WeightedPixelLoss()(torch.zeros(1, 1, 256, 512, dtype=dtype), torch.zeros(1, 1, 256, 512))
    assert loss.dtype == result
    assert loss.item() == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_refuses_weights(weight):
    with pytest.raises(ValueError, match="positive_weight must be > 0, got"):
        WeightedPixelLoss(weight)


def test_refuses_shapes():
    with pytest.raises(ValueError, match="labels"):
        WeightedPixelLoss()(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4))
