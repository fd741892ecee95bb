import pytest
import torch
from torch import nn

from monai_wsss.losses import WeightedBCELoss

# Two images, two classes; sigmoids .5 .8 | .1 .2
LOGITS = torch.logit(torch.tensor([[0.5, 0.8], [0.1, 0.2]]))


@pytest.mark.parametrize(
    ("weight", "targets", "expected"),
    [
        # -ln: .5 -> .6931472, .8 -> .2231436, .1 -> 2.3025851, .9 -> .1053605, .2 -> 1.6094379
        (None, [[1, 0], [1, 0]], (0.6931472 + 1.6094379 + 2.3025851 + 0.2231436) / 4),
        (None, [[1, -1], [-1, 1]], (0.6931472 + 1.6094379) / 2),  # two known
        (3.0, [[1, -1], [0, 1]], (3 * 0.6931472 + 0.1053605 + 3 * 1.6094379) / 3),
        ([2.0, 5.0], [[1, 1], [0, 0]], (2 * 0.6931472 + 5 * 0.2231436 + 0.1053605 + 0.2231436) / 4),
        (7.0, [[0, 0], [0, 0]], (0.6931472 + 1.6094379 + 0.1053605 + 0.2231436) / 4),  # negatives: no weight
        (7.0, [[-1, -1], [-1, -1]], 0.0),
        # soft: .25 of the positive's loss (with its weight) and .75 of the negative's
        (None, [[0.25, -1], [-1, -1]], 0.6931472),
        (None, [[-1, 0.25], [-1, -1]], 0.25 * 0.2231436 + 0.75 * 1.6094379),
        (
            3.0,
            [[-1, 0.25], [0.5, 0]],
            (3 * 0.25 * 0.2231436 + 0.75 * 1.6094379 + 3 * 0.5 * 2.3025851 + 0.5 * 0.1053605 + 0.2231436) / 3,
        ),
    ],
)
def test_by_hand(weight, targets, expected):
    assert WeightedBCELoss(weight)(LOGITS, torch.tensor(targets)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
def test_equals_torch_where_all_is_known(weight):
    logits, targets = torch.randn(8, 3), torch.randint(0, 2, (8, 3)).float()
    expected = nn.BCEWithLogitsLoss(pos_weight=None if weight is None else torch.tensor(weight))
    torch.testing.assert_close(WeightedBCELoss(weight)(logits, targets), expected(logits, targets))


@pytest.mark.parametrize("weight", [None, 4.0, [1.0, 2.0, 3.0]])
def test_soft_labels_equal_torchs(weight):
    logits, targets = torch.randn(8, 3), torch.rand(8, 3)
    expected = nn.BCEWithLogitsLoss(pos_weight=None if weight is None else torch.tensor(weight))
    torch.testing.assert_close(WeightedBCELoss(weight)(logits, targets), expected(logits, targets))


@pytest.mark.parametrize(("weight", "target"), [(1.0, 0.3), (4.0, 0.3), (0.5, 0.8)])
def test_a_soft_label_is_what_the_loss_asks_for(weight, target):
    # least at s = w t / (w t + 1 - t): .3 -> .3, and with w = 4: 1.2 / 1.9
    best = weight * target / (weight * target + 1 - target)
    logits = torch.logit(torch.tensor([[best]])).requires_grad_()
    WeightedBCELoss(weight)(logits, torch.tensor([[target]])).backward()
    assert logits.grad.item() == pytest.approx(0, abs=1e-6)


def test_unknown_entries_are_as_if_absent():
    logits, targets = torch.randn(8, 1), torch.tensor([[1, 0, -1, 1, -1, -1, 0, 0]]).T
    known = targets[:, 0] >= 0
    torch.testing.assert_close(
        WeightedBCELoss(4.0)(logits, targets), WeightedBCELoss(4.0)(logits[known], targets[known])
    )


def test_all_unknown_still_propagates():
    logits = torch.randn(3, 2, requires_grad=True)
    loss = WeightedBCELoss(2.0)(logits, torch.full((3, 2), -1.0))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_classes_permute_with_their_weights():
    logits, targets = torch.randn(6, 2), torch.randint(-1, 2, (6, 2))
    torch.testing.assert_close(
        WeightedBCELoss([2.0, 9.0])(logits, targets), WeightedBCELoss([9.0, 2.0])(logits.flip(1), targets.flip(1))
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_wrong_and_certain_is_finite(dtype):
    logits = torch.tensor([[6e4], [-6e4]], dtype=dtype, requires_grad=True)
    loss = WeightedBCELoss(100.0)(logits, torch.tensor([[0.0], [1.0]]))
    loss.backward()
    # (60 000 + 100 x 60 000) / 2, which float16 could not hold
    assert loss.item() == pytest.approx(101 * 6e4 / 2, rel=5e-3)
    assert torch.isfinite(logits.grad).all()


def test_gradient():
    logits = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[1, 0], [-1, 1], [0, -1], [1, 1]])
    assert torch.autograd.gradcheck(lambda z: WeightedBCELoss([2.0, 3.0])(z, targets), logits)


@pytest.mark.parametrize("weight", [0.0, -1.0, [1.0, 0.0], [], float("nan")])
def test_refuses_a_weight(weight):
    with pytest.raises(ValueError, match="pos_weight"):
        WeightedBCELoss(weight)


@pytest.mark.parametrize(
    ("weight", "logits", "targets", "match"),
    [
        (None, (4, 2), (4, 1), "logits and targets"),
        (None, (4,), (4,), "logits and targets"),
        ([1.0, 2.0], (4, 3), (4, 3), "pos_weight"),
    ],
)
def test_refuses_shapes(weight, logits, targets, match):
    with pytest.raises(ValueError, match=match):
        WeightedBCELoss(weight)(torch.zeros(logits), torch.zeros(targets))
