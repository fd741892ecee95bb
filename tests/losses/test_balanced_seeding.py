import pytest
import torch
from torch.nn import functional as F

from monai_wsss.losses import SeedingLoss
from monai_wsss.losses.balanced_seeding import BalancedSeedingLoss

SPATIAL = pytest.mark.parametrize("spatial", [(4, 5), (3, 4, 5)])
LN2, LN4, LN5 = 0.6931472, 1.3862944, 1.6094379

# Three labels at four pixels: H of the right label in the comments below
LOG_H = torch.tensor(
    [[0.5, 0.5, 0.2, 0.25], [0.25, 0.25, 0.4, 0.5], [0.25, 0.25, 0.4, 0.25]],
).log()[None, :, None]


def seeds_of(*labels: int) -> torch.Tensor:
    """One image of single pixels in a row; 255 is no seed."""
    return torch.tensor(labels)[None, None, None] == torch.arange(3).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("labels", "balanced", "unbalanced"),
    [
        # background .5 .5 .2; foreground .5: the one lesion pixel weighs as much as three of background
        ((0, 0, 0, 1), (2 * LN2 + LN5) / 3 + LN2, (3 * LN2 + LN5) / 4),
        # classes 1 and 2 share one mean: .25, .25
        ((0, 1, 255, 2), LN2 + LN4, (LN2 + 2 * LN4) / 3),
        ((0, 255, 0, 255), (LN2 + LN5) / 2, (LN2 + LN5) / 2),  # lesion-free
        ((255, 255, 255, 1), LN2, LN2),  # no background
        ((255, 255, 255, 255), 0.0, 0.0),
    ],
)
def test_by_hand(labels, balanced, unbalanced):
    assert BalancedSeedingLoss()(LOG_H, seeds_of(*labels)).item() == pytest.approx(balanced, abs=1e-6)
    assert BalancedSeedingLoss(balanced=False)(LOG_H, seeds_of(*labels)).item() == pytest.approx(unbalanced, abs=1e-6)


def test_a_pixel_of_several_classes_counts_for_each():
    seeds = seeds_of(255, 255, 255, 1)
    seeds[0, 2, 0, 3] = True  # .5 as class 1, .25 as class 2
    assert BalancedSeedingLoss()(LOG_H, seeds).item() == pytest.approx((LN2 + LN4) / 2, abs=1e-6)


def test_each_image_counts_once_and_one_without_seeds_not_at_all():
    images = [(0, 255, 255, 1), (255, 0, 0, 255), (255, 255, 255, 255)]  # LN2 + LN2; (LN2 + LN5) / 2; no seed
    seeds = torch.cat([seeds_of(*labels) for labels in images])
    loss = BalancedSeedingLoss()(LOG_H.expand(3, -1, -1, -1), seeds)
    assert loss.item() == pytest.approx((2 * LN2 + (LN2 + LN5) / 2) / 2, abs=1e-6)


@SPATIAL
def test_unbalanced_equals_the_seeding_loss(spatial):
    logits, labels = torch.randn(3, 4, *spatial), torch.randint(0, 4, (3, 1, *spatial))
    labels[..., 0] = 255
    seeds = labels == torch.arange(4).reshape(-1, *[1] * len(spatial))
    loss = BalancedSeedingLoss(balanced=False)(logits.log_softmax(dim=1), seeds)
    torch.testing.assert_close(loss, SeedingLoss()(logits, labels))


@SPATIAL
def test_balanced_equals_torchs_cross_entropy_of_two_parts(spatial):
    logits, labels = torch.randn(1, 4, *spatial), torch.randint(0, 4, (1, *spatial))
    labels[..., 0] = 255
    parts = [labels.masked_fill(labels == 0, 255), labels.masked_fill(labels > 0, 255)]
    expected = sum(F.cross_entropy(logits, part, ignore_index=255) for part in parts)
    seeds = labels[:, None] == torch.arange(4).reshape(-1, *[1] * len(spatial))
    torch.testing.assert_close(BalancedSeedingLoss()(logits.log_softmax(dim=1), seeds), expected)


@pytest.mark.parametrize("balanced", [True, False])
@SPATIAL
def test_gradient_is_at_the_seeds_alone(spatial, balanced):
    log_probability = torch.randn(3, 4, *spatial).log_softmax(dim=1)
    seeds = torch.rand(3, 4, *spatial) < 0.1
    seeds[1] = False  # an image without seeds
    seeds[2, 1:] = False  # a lesion-free one
    seeds[2, 0, 0, 0] = True
    log_probability[~seeds] = -float("inf")  # what is no seed must not matter
    log_probability.requires_grad_()
    loss = BalancedSeedingLoss(balanced)(log_probability, seeds)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.equal(log_probability.grad < 0, seeds)
    assert torch.equal(log_probability.grad != 0, seeds)


def test_flips_and_permutes_with_the_classes():
    log_probability, seeds = torch.randn(2, 4, 5, 6).log_softmax(dim=1), torch.rand(2, 4, 5, 6) < 0.2
    loss = BalancedSeedingLoss()
    expected = loss(log_probability, seeds)
    torch.testing.assert_close(loss(log_probability.flip(-1), seeds.flip(-1)), expected)
    order = [0, 2, 3, 1]
    torch.testing.assert_close(loss(log_probability[:, order], seeds[:, order]), expected)


def test_half_precision_sums_in_float32():
    log_probability = torch.full((1, 2, 300, 300), -1.0).half()  # 90000 is beyond half
    loss = BalancedSeedingLoss()(log_probability, torch.ones(1, 2, 300, 300, dtype=torch.bool))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(2.0)
    assert BalancedSeedingLoss()(LOG_H.double(), seeds_of(0, 0, 0, 1)).dtype == torch.float64


@pytest.mark.parametrize("seeds", [torch.zeros(1, 3, 1, 4), torch.zeros(1, 3, 1, 3, dtype=torch.bool)])
def test_refuses(seeds):
    with pytest.raises(ValueError, match="seeds must be bool"):
        BalancedSeedingLoss()(LOG_H, seeds)
