import math

import pytest
import torch
from torch.nn import functional as F

from monai_wsss.losses.constrain_to_boundary import ConstrainToBoundaryLoss


def pixels(*probabilities: tuple[float, ...]) -> torch.Tensor:
    """One image of a row of pixels, ``(1, L, 1, n)``."""
    return torch.tensor(probabilities).T[None, :, None]


@pytest.mark.parametrize(
    ("limits", "p", "q", "expected"),
    [
        # .9 ln 1.8 + .1 ln .2 = .5290080 - .1609438
        (None, [(0.5, 0.5)], [(0.9, 0.1)], 0.3680642),
        (None, [(0.5, 0.5), (0.3, 0.7)], [(0.9, 0.1), (0.3, 0.7)], 0.1840321),  # mean over pixels
        (None, [(0.25, 0.25, 0.5)], [(0.5, 0.5, 0.0)], 0.6931472),  # ln 2, and 0 log 0 = 0
        (None, [(0.99, 0.01)], [(0.01, 0.99)], 0.98 * math.log(99)),
        ((0.05, 20.0), [(0.5, 0.5)], [(0.9, 0.1)], 0.3680642),  # ratios 1.8 and .2 are within
        # .01 ln .05 + .99 ln 20 instead of ln 1/99 and ln 99
        ((0.05, 20.0), [(0.99, 0.01)], [(0.01, 0.99)], 0.98 * math.log(20)),
        ((0.5, 1.5), [(0.5, 0.5)], [(0.9, 0.1)], 0.9 * math.log(1.5) + 0.1 * math.log(0.5)),
    ],
)
def test_by_hand(limits, p, q, expected):
    assert ConstrainToBoundaryLoss(limits)(pixels(*p), pixels(*q)).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("spatial", [(4, 5), (3, 4, 5)])
def test_equals_torchs_kl_div(spatial):
    p, q = (torch.randn(2, 4, *spatial).softmax(dim=1) for _ in range(2))
    expected = F.kl_div(p.log(), q, reduction="sum") / (2 * math.prod(spatial))
    torch.testing.assert_close(ConstrainToBoundaryLoss()(p, q), expected)


def test_is_zero_at_the_crf_and_positive_elsewhere():
    p, q = (torch.randn(2, 4, 5, 6).softmax(dim=1) for _ in range(2))
    loss = ConstrainToBoundaryLoss()
    assert loss(q, q).item() == 0
    assert loss(p, q).item() > 0.1


def test_gradient_of_logits_is_the_difference():
    logits, other = torch.randn(1, 3, 4, 5, requires_grad=True), torch.randn(1, 3, 4, 5, requires_grad=True)
    p, q = logits.softmax(dim=1), other.softmax(dim=1)
    ConstrainToBoundaryLoss()(p, q).backward()
    torch.testing.assert_close(logits.grad, (p - q).detach() / 20)
    assert other.grad is None


def test_no_gradient_beyond_the_limits():
    p = pixels((0.99, 0.01), (0.5, 0.5)).requires_grad_()
    ConstrainToBoundaryLoss((0.05, 20.0))(p, pixels((0.01, 0.99), (0.9, 0.1))).backward()
    assert p.grad[0, :, 0, 0].tolist() == [0, 0]
    torch.testing.assert_close(p.grad[0, :, 0, 1], torch.tensor([-0.9, -0.1]))  # -q / p over two pixels


@pytest.mark.parametrize("limits", [None, (0.05, 20.0)])
def test_zeros_stay_finite(limits):
    p, q = pixels((1.0, 0.0), (1.0, 0.0)).requires_grad_(), pixels((1.0, 0.0), (0.0, 1.0))
    loss = ConstrainToBoundaryLoss(limits)(p, q)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(p.grad).all()


def test_symmetries():
    p, q = (torch.randn(2, 4, 5, 6).softmax(dim=1) for _ in range(2))
    loss = ConstrainToBoundaryLoss((0.05, 20.0))
    torch.testing.assert_close(loss(p.flip(1), q.flip(1)), loss(p, q))
    torch.testing.assert_close(loss(p.flip(-1), q.flip(-1)), loss(p, q))
    torch.testing.assert_close((loss(p[:1], q[:1]) + loss(p[1:], q[1:])) / 2, loss(p, q))


def test_half_precision():
    p, q = (torch.randn(2, 4, 5, 6).softmax(dim=1) for _ in range(2))
    loss = ConstrainToBoundaryLoss()(p.half(), q)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, ConstrainToBoundaryLoss()(p, q), atol=1e-2, rtol=0)
    assert ConstrainToBoundaryLoss()(p.double(), q).dtype == torch.float64


@pytest.mark.parametrize("limits", [(0.0, 20.0), (1.5, 20.0), (0.05, 0.5), (float("nan"), 20.0)])
def test_refuses_limits(limits):
    with pytest.raises(ValueError, match="ratio_limits"):
        ConstrainToBoundaryLoss(limits)


def test_refuses_shapes():
    with pytest.raises(ValueError, match="crf_probability"):
        ConstrainToBoundaryLoss()(torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 5))
