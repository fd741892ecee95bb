import pytest
import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F

from monai_wsss.losses import SeedingCrossEntropyLoss, SeedingLoss

# Two images of two pixels; probability of lesion .5 .2 | .9 .2
LESION = torch.tensor([[0.5, 0.2], [0.9, 0.2]])
REFINED = torch.tensor([[1, 0], [255, 255]])
CRF = torch.tensor([[1, 255], [0, 1]])
# -ln: .5 -> .6931472, .2 -> 1.6094379, .8 -> .2231436, .1 -> 2.3025851
SEED = (0.6931472 + 0.2231436) / 2  # image 1 alone has seeds
CROSS_ENTROPY = (0.6931472 + 2.3025851 + 1.6094379) / 3  # three labelled pixels of the batch
WEIGHTED_SEED = (4 * 0.6931472 + 0.2231436) / 5
WEIGHTED_CROSS_ENTROPY = (4 * 0.6931472 + 2.3025851 + 4 * 1.6094379) / 9


def pair(refined: torch.Tensor, crf: torch.Tensor) -> torch.Tensor:
    return torch.stack([refined, crf], dim=1)[:, :, None]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, SEED + CROSS_ENTROPY),
        ({"crf_weight": 0.0}, SEED),
        ({"seed_weight": 0.0}, CROSS_ENTROPY),
        ({"seed_weight": 2.0, "crf_weight": 0.5}, 2 * SEED + 0.5 * CROSS_ENTROPY),
        ({"lesion_weight": 4.0}, WEIGHTED_SEED + WEIGHTED_CROSS_ENTROPY),
    ],
)
def test_by_hand(arguments, expected):
    loss = SeedingCrossEntropyLoss(**arguments)
    softmax = torch.stack([(1 - LESION).log(), LESION.log()], dim=1)[:, :, None]
    sigmoid = torch.logit(LESION)[:, None, None]
    assert loss(softmax, pair(REFINED, CRF)).item() == pytest.approx(expected, abs=1e-6)
    assert loss(sigmoid, pair(REFINED, CRF)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("spatial", [(5, 6), (3, 4, 5)])
@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_crf_term_equals_torch_cross_entropy(spatial, weight):
    logits, labels = torch.randn(2, 3, *spatial), torch.randint(0, 3, (2, 2, *spatial))
    labels[0, :, 0] = 255
    expected = F.cross_entropy(logits, labels[:, 1], torch.tensor([1.0, weight, weight]), ignore_index=255)
    loss = SeedingCrossEntropyLoss(seed_weight=0.0, lesion_weight=weight)
    torch.testing.assert_close(loss(logits, labels), expected)


def test_crf_term_equals_monai():
    logits, labels = torch.randn(2, 3, 5, 6), torch.randint(0, 3, (2, 2, 5, 6))
    monai = DiceCELoss(to_onehot_y=True, softmax=True, lambda_dice=0.0)
    torch.testing.assert_close(SeedingCrossEntropyLoss(seed_weight=0.0)(logits, labels), monai(logits, labels[:, 1:]))


def test_is_the_sum_of_its_terms():
    logits, labels = torch.randn(2, 2, 5, 6), torch.randint(0, 2, (2, 2, 5, 6))
    seed = SeedingLoss(lesion_weight=2.0)(logits, labels[:, :1])
    crf = SeedingCrossEntropyLoss(seed_weight=0.0, lesion_weight=2.0)(logits, labels)
    torch.testing.assert_close(SeedingCrossEntropyLoss(lesion_weight=2.0)(logits, labels), seed + crf)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_single_mask_enters_both_terms(channels):
    logits, mask = torch.randn(2, channels, 5, 6), torch.randint(0, 2, (2, 1, 5, 6))
    mask[0, :, 0] = 255
    loss = SeedingCrossEntropyLoss(lesion_weight=2.0)
    torch.testing.assert_close(loss(logits, mask), loss(logits, mask.repeat(1, 2, 1, 1)))


@pytest.mark.parametrize("channels", [1, 2])
def test_no_label_in_either_mask_still_propagates(channels):
    logits = torch.randn(2, channels, 4, 4, requires_grad=True)
    loss = SeedingCrossEntropyLoss()(logits, torch.full((2, 2, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("channels", [1, 2])
def test_negative_batch_pushes_the_lesion_down(channels):
    logits = torch.randn(2, channels, 4, 4, requires_grad=True)
    SeedingCrossEntropyLoss(lesion_weight=10.0)(logits, torch.zeros(2, 2, 4, 4)).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[:, -1] > 0).all()  # descent lowers the lesion's logit


@pytest.mark.parametrize("channels", [1, 3])
def test_flip_order_and_half(channels):
    logits, labels = torch.randn(3, channels, 6, 6), torch.randint(0, max(channels, 2), (3, 2, 6, 6))
    expected = SeedingCrossEntropyLoss()(logits, labels)
    torch.testing.assert_close(SeedingCrossEntropyLoss()(logits.flip(-1), labels.flip(-1)), expected)
    torch.testing.assert_close(SeedingCrossEntropyLoss()(logits.flip(0), labels.flip(0)), expected)
    half = SeedingCrossEntropyLoss()(logits.half(), labels)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2])
def test_gradient(channels):
    logits = torch.randn(2, channels, 2, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 1], [1, 255]], [[255, 0], [1, 1]]]).expand(2, 2, 2, 2)
    assert torch.autograd.gradcheck(lambda z: SeedingCrossEntropyLoss(0.5, 2.0, 3.0)(z, labels), logits)


def test_refuses():
    with pytest.raises(ValueError, match="refined mask, CRF mask"):
        SeedingCrossEntropyLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="labels"):
        SeedingCrossEntropyLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 4, 4))
    with pytest.raises(ValueError, match="crf_weight"):
        SeedingCrossEntropyLoss(crf_weight=-1.0)
    with pytest.raises(ValueError, match="lesion_weight"):
        SeedingCrossEntropyLoss(lesion_weight=-1.0)
