import pytest
import torch
from monai.data import MetaTensor
from torch.nn import functional as F

from monai_wsss.losses import SeedingLoss

SPATIAL = [(4, 5), (3, 4, 5)]


def softmax_logits(*lesion: float) -> torch.Tensor:
    """Logits of one image whose pixels have these probabilities of lesion."""
    p = torch.tensor(lesion)
    return torch.stack([(1 - p).log(), p.log()])[None, :, None]


def labels_of(*labels: int) -> torch.Tensor:
    return torch.tensor(labels)[None, None, None]


@pytest.mark.parametrize(
    ("lesion", "labels", "weight", "expected"),
    [
        ((0.5, 0.2, 0.9), (1, 0, 255), 1.0, 0.4581454),  # -(ln .5 + ln .8) / 2 = (.6931472 + .2231436) / 2
        ((0.5, 0.2, 0.9), (1, 0, 255), 3.0, 0.5756463),  # (3 x .6931472 + .2231436) / (3 + 1)
        ((0.5, 0.2, 0.9), (0, 0, 0), 3.0, 1.0729586),  # a negative: (.6931472 + .2231436 + 2.3025851) / 3
        ((0.5, 0.2, 0.9), (1, 255, 255), 3.0, 0.6931472),  # one seed: its weight cancels
        ((0.5, 0.2, 0.9), (255, 255, 255), 3.0, 0.0),
    ],
)
def test_by_hand(lesion, labels, weight, expected):
    loss = SeedingLoss(lesion_weight=weight)
    two, one = softmax_logits(*lesion), torch.logit(torch.tensor(lesion))[None, None, None]
    assert loss(two, labels_of(*labels)).item() == pytest.approx(expected, abs=1e-6)
    assert loss(one, labels_of(*labels)).item() == pytest.approx(expected, abs=1e-6)


def test_each_image_counts_once_and_one_without_seeds_not_at_all():
    # image 1: -ln .5 = .6931472 of one seed; image 2: (.2231436 + 2.3025851) / 2 = 1.2628644; image 3: no seed
    logits = torch.cat([softmax_logits(0.5, 0.2, 0.9)] * 3)
    labels = torch.cat([labels_of(1, 255, 255), labels_of(255, 0, 0), labels_of(255, 255, 255)])
    assert SeedingLoss()(logits, labels).item() == pytest.approx((0.6931472 + 1.2628644) / 2, abs=1e-6)


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("weight", [1.0, 5.0])
def test_equals_torch_cross_entropy_per_image(spatial, weight):
    logits, labels = torch.randn(3, 4, *spatial), torch.randint(0, 4, (3, 1, *spatial))
    labels[..., 0] = 255
    class_weight = torch.tensor([1.0, weight, weight, weight])
    expected = torch.stack(
        [F.cross_entropy(z[None], t, class_weight, ignore_index=255) for z, t in zip(logits, labels, strict=True)]
    )
    torch.testing.assert_close(SeedingLoss(lesion_weight=weight)(logits, labels), expected.mean())


@pytest.mark.parametrize("spatial", SPATIAL)
def test_sigmoid_head_is_a_softmax_head_over_zero(spatial):
    logits, labels = torch.randn(2, 1, *spatial), torch.randint(0, 2, (2, 1, *spatial))
    softmax = torch.cat([torch.zeros_like(logits), logits], dim=1)
    loss = SeedingLoss(lesion_weight=2.0)
    torch.testing.assert_close(loss(logits, labels), loss(softmax, labels))
    # every label above 0 is lesion to a sigmoid head
    assert torch.equal(loss(logits, labels * 2), loss(logits, labels))


@pytest.mark.parametrize("channels", [1, 3])
def test_flips_and_order_do_not_matter(channels):
    logits, labels = torch.randn(4, channels, 6, 6), torch.randint(0, max(channels, 2), (4, 1, 6, 6))
    expected = SeedingLoss()(logits, labels)
    torch.testing.assert_close(SeedingLoss()(logits.flip(-1), labels.flip(-1)), expected)
    torch.testing.assert_close(SeedingLoss()(logits.flip(0), labels.flip(0)), expected)
    single = torch.stack([SeedingLoss()(z[None], t[None]) for z, t in zip(logits, labels, strict=True)])
    torch.testing.assert_close(single.mean(), expected)


@pytest.mark.parametrize("channels", [1, 2])
def test_no_seed_at_all_still_propagates(channels):
    logits = torch.randn(2, channels, 4, 4, requires_grad=True)
    loss = SeedingLoss()(logits, torch.full((2, 1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("channels", [1, 2])
def test_ignored_pixels_get_no_gradient(channels):
    logits = torch.randn(1, channels, 4, 4, requires_grad=True)
    labels = torch.ones(1, 1, 4, 4)
    labels[..., :2] = 255
    SeedingLoss()(logits, labels).backward()
    assert torch.equal(logits.grad[..., :2], torch.zeros(1, channels, 4, 2))
    assert (logits.grad[..., 2:] != 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_gradient(channels):
    logits = torch.randn(2, channels, 2, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0, 1, 255], [1, 0, 1]]).expand(2, 1, 2, 3)
    assert torch.autograd.gradcheck(lambda z: SeedingLoss(lesion_weight=3.0)(z, labels), logits)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_wrong_and_certain_is_finite(channels, dtype):
    logits = torch.full((1, channels, 300, 300), 6e4, dtype=dtype)
    logits[:, -1] = -6e4
    logits.requires_grad_()
    loss = SeedingLoss()(logits, torch.ones(1, 1, 300, 300, dtype=torch.uint8))
    loss.backward()
    assert loss.dtype == torch.float32
    # 120 000 for softmax's difference, 60 000 for the sigmoid; the sum over 90 000 pixels would overflow float16
    assert loss.item() == pytest.approx(6e4 * channels, rel=5e-3)
    assert torch.isfinite(logits.grad).all()


def test_takes_meta_tensors():
    logits, labels = torch.randn(2, 2, 4, 4), torch.randint(0, 2, (2, 1, 4, 4)).float()
    torch.testing.assert_close(
        torch.as_tensor(SeedingLoss()(logits, MetaTensor(labels))).item(), SeedingLoss()(logits, labels).item()
    )


def test_refuses():
    with pytest.raises(ValueError, match="lesion_weight"):
        SeedingLoss(lesion_weight=0.0)
    with pytest.raises(ValueError, match="labels"):
        SeedingLoss()(torch.zeros(2, 2, 4, 4), torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="labels"):
        SeedingLoss()(torch.zeros(2, 2, 4, 4), torch.zeros(2, 2, 4, 4))
