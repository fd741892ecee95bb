import pytest
import torch
from monai.data import MetaTensor

from monai_wsss.losses.label_grid import labels_on_grid
from monai_wsss.losses.mixed import SeedingCrossEntropyLoss
from monai_wsss.losses.seeding import SeedingLoss
from monai_wsss.losses.weighted_pixel import WeightedPixelLoss


@pytest.mark.parametrize(
    ("length", "cells", "expected"),
    [
        (8, 2, [2, 6]),  # (i + 1/2) 4 = 2, 6
        (13, 4, [1, 4, 8, 11]),  # 13 / 4 = 3.25: 1.6, 4.9, 8.1, 11.4
        (9, 3, [1, 4, 7]),
        (17, 3, [2, 8, 14]),  # 17 / 3 = 5.67: 2.8, 8.5, 14.2
        (2, 4, [0, 0, 1, 1]),
        (1, 3, [0, 0, 0]),
    ],
)
def test_the_pixel_in_the_middle(length, cells, expected):
    labels = torch.arange(length, dtype=torch.uint8).expand(2, 3, 5, length).clone()
    assert labels_on_grid(labels, (5, cells))[1, 2, 4].tolist() == expected
    assert labels_on_grid(labels.mT, (cells, 5))[1, 2, :, 4].tolist() == expected


@pytest.mark.parametrize("size", [(41, 41), (13, 16), (3, 4, 5)])
def test_equals_the_index_formula(size):
    torch.manual_seed(0)
    shape = [8 * n - 3 for n in size]
    labels = torch.randint(0, 256, (2, 2, *shape), dtype=torch.uint8)
    expected = labels
    for axis, (n, m) in enumerate(zip(shape, size, strict=True), start=2):
        places = torch.tensor([(2 * i + 1) * n // (2 * m) for i in range(m)])
        expected = expected.index_select(axis, places)
    assert torch.equal(labels_on_grid(labels, size), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.bfloat16])
def test_keeps_every_label_and_the_dtype(dtype):
    labels = torch.arange(256).to(dtype).reshape(1, 1, 16, 16)
    fine = labels.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    on_grid = labels_on_grid(fine, (16, 16))
    assert on_grid.dtype == dtype and torch.equal(on_grid, labels)


def test_labels_that_are_on_the_grid_are_not_copied():
    labels = torch.zeros(1, 1, 4, 5)
    assert labels_on_grid(labels, labels.shape[2:]) is labels


def test_refuses_other_axes():
    with pytest.raises(ValueError, match=r"with 2 axes S, got \(1, 4, 4\)"):
        labels_on_grid(torch.zeros(1, 4, 4), (4, 4))


LOSSES = [WeightedPixelLoss(3.0), SeedingLoss(lesion_weight=3.0), SeedingCrossEntropyLoss(lesion_weight=3.0)]
losses = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


@losses
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("spatial", [(5, 6), (2, 3, 4)])
def test_losses_bring_the_labels_to_the_logits_grid(loss, channels, spatial):
    torch.manual_seed(0)
    masks = 2 if isinstance(loss, SeedingCrossEntropyLoss) else 1
    labels = torch.randint(0, 4, (2, masks, *(8 * n - 1 for n in spatial)), dtype=torch.uint8)
    labels[:, :, 1] = 255
    logits = torch.randn(2, channels, *spatial, requires_grad=True)
    expected = loss(logits, labels_on_grid(labels, spatial))
    torch.testing.assert_close(loss(logits, labels), expected)
    torch.testing.assert_close(loss(logits, MetaTensor(labels)).as_tensor(), expected)
    loss(logits, labels).backward()
    assert logits.grad.any()


@losses
def test_losses_of_labels_that_the_grid_misses_are_zero(loss):
    # 8 pixels become one cell, whose middle is pixel (4, 4): a seed elsewhere is not seen
    labels = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    labels[..., 0, 0] = 1
    logits = torch.zeros(1, 2, 1, 1)
    assert loss(logits, labels) == 0
    labels[..., 4, 4] = 1
    assert loss(logits, labels) > 0


@losses
def test_losses_refuse_other_axes_and_batches(loss):
    for shape in [(2, 4, 4), (3, 1, 4, 4), (2, 1, 4, 4, 4), (2, 3, 4, 4)]:
        with pytest.raises(ValueError, match="labels"):
            loss(torch.zeros(2, 2, 4, 4), torch.zeros(shape))
