import math

import pytest
import torch

from monai_wsss.losses.boundary_exploration import BoundaryExplorationLoss

LN = math.log


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values)[None, None, None]


def labels_of(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8)[None, None, None]


# labels: 0 background, 1 foreground, 2 boundary, 255 uncertain
@pytest.mark.parametrize(
    ("probability", "labels", "expected", "expected_code"),
    [
        # -sqrt(.25) ln .25 = ln 2; over 1 + 1 half of it
        ([0.25], [2], LN(2), LN(2) / 2),
        # a boundary that is not seen counts little: -sqrt(.01) ln .01 = .2 ln 10
        ([0.01], [2], 0.2 * LN(10), 0.1 * LN(10)),
        # divided by the number of pixels, 2, not by the sum of the weights, 1
        ([0.25, 0.25], [2, 2], LN(2), LN(2) * 2 / 3),
        # -ln(1 - .75) = 2 ln 2, and half a part's share, the other one empty or not
        ([0.75], [1], LN(2), LN(2) / 2),
        ([0.75], [0], LN(2), LN(2) / 2),
        ([0.75, 0.5], [0, 1], 1.5 * LN(2), 0.75 * LN(2)),
        # parts count alike, whatever their numbers: (3 pixels of ln 2, one of 2 ln 2)
        ([0.5, 0.5, 0.5, 0.75], [0, 0, 0, 1], 1.5 * LN(2), (0.75 + 1) / 2 * LN(2)),
        # all three and an uncertain pixel
        ([0.25, 0.5, 0.75, 0.9], [2, 1, 0, 255], 2.5 * LN(2), 1.25 * LN(2)),
        # P is kept in [1e-4, 1 - 1e-4]: sqrt(1e-4) 4 ln 10, and 4 ln 10 / 2
        ([0.0], [2], 0.04 * LN(10), 0.02 * LN(10)),
        ([1.0], [1], 2 * LN(10), LN(10)),
        ([0.3, 0.8], [255, 255], 0.0, 0.0),
    ],
)
def test_by_hand(probability, labels, expected, expected_code):
    logits, labels = torch.logit(row(*probability)), labels_of(*labels)
    torch.testing.assert_close(BoundaryExplorationLoss()(logits, labels), torch.tensor(expected))
    torch.testing.assert_close(
        BoundaryExplorationLoss(reference_code=True)(logits, labels), torch.tensor(expected_code)
    )


def test_gradient_by_hand_with_a_constant_weight():
    # Boundary: d/dz -W ln P = -W (1 - P) = -.5 x .75 over 2 pixels; if W were not constant, -ln P dW/dz =
    # -ln P (1 - P) sqrt(P) / 2 = .26 would be added to -.375. Foreground: P / 2 = .3; background: P / 2 over 2 pixels
    logits = torch.logit(row(0.25, 0.81, 0.6, 0.2, 0.5, 0.5)).requires_grad_()
    BoundaryExplorationLoss()(logits, labels_of(2, 2, 1, 0, 0, 255)).backward()
    torch.testing.assert_close(logits.grad, row(-0.1875, -0.9 * 0.19 / 2, 0.3, 0.05, 0.125, 0.0))


def test_the_parts_are_those_of_the_batch():
    # one image with three background pixels of ln 2, one with one of 2 ln 2: (3 + 2) / 4, not (1 + 2) / 2
    logits = torch.logit(torch.tensor([[0.5, 0.5, 0.5], [0.75, 0.9, 0.9]])).reshape(2, 1, 1, 3)
    labels = torch.tensor([[0, 0, 0], [0, 255, 255]], dtype=torch.uint8).reshape(2, 1, 1, 3)
    torch.testing.assert_close(BoundaryExplorationLoss()(logits, labels), torch.tensor(1.25 / 2 * LN(2)))


@pytest.mark.parametrize("reference_code", [False, True])
@pytest.mark.parametrize("missing", [(), (0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_equals_the_formula_in_double_precision(missing, reference_code):
    generator = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(3, 1, 5, 6, 4, generator=generator)
    labels = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, logits.shape, generator=generator)].byte()
    for part in missing:
        labels[labels == part] = 255
    p = logits.double().sigmoid().clamp(1e-4, 1 - 1e-4)
    terms = {2: -p.sqrt() * p.log(), 1: -(1 - p).log() / 2, 0: -(1 - p).log() / 2}
    expected = 0.0
    for part, term in terms.items():
        values = term[labels == part]
        if len(values):
            expected += float(values.sum() / (len(values) + reference_code))
    loss = BoundaryExplorationLoss(reference_code)(logits, labels)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert BoundaryExplorationLoss(reference_code)(logits.double(), labels).dtype == torch.float64


@pytest.mark.parametrize("labels", [[255] * 5, [2] * 5, [1] * 5, [0] * 5, [0, 1, 2, 255, 2]])
def test_gradients_are_finite(labels):
    logits = row(-1e4, -30.0, 0.0, 30.0, math.inf).requires_grad_()
    loss = BoundaryExplorationLoss()(logits, labels_of(*labels))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    assert (logits.grad == 0)[..., [0, 1, 3, 4]].all()  # beyond the limits
    assert bool(logits.grad[..., 2] != 0) == (labels[2] != 255)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    # 70000 pixels: more than half precision can count
    logits = torch.full((1, 1, 250, 280), 0.5, dtype=dtype)
    labels = torch.zeros(1, 1, 250, 280, dtype=torch.uint8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = BoundaryExplorationLoss()(logits, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.tensor(math.log1p(math.exp(0.5)) / 2), rtol=1e-5, atol=0)


def test_flips_and_order_of_the_batch():
    logits = torch.randn(2, 1, 6, 7, generator=torch.Generator().manual_seed(0))
    labels = labels_of(*[0, 1, 2, 255, 2, 1, 0] * 12).reshape(2, 1, 6, 7)
    loss = BoundaryExplorationLoss()(logits, labels)
    torch.testing.assert_close(BoundaryExplorationLoss()(logits.flip(0, 3), labels.flip(0, 3)), loss)


def test_descent_finds_the_labels():
    logits = torch.zeros(1, 1, 1, 4, requires_grad=True)
    for _ in range(50):
        (gradient,) = torch.autograd.grad(BoundaryExplorationLoss()(logits, labels_of(2, 1, 0, 255)), logits)
        logits = (logits - 2 * gradient).detach().requires_grad_()
    probability = logits.detach().sigmoid().flatten()
    assert probability[0] > 0.9 and probability[1] < 0.1 and probability[2] < 0.1 and probability[3] == 0.5


@pytest.mark.parametrize(
    ("logits", "labels"),
    [((1, 1, 4, 4), (1, 1, 16, 16)), ((2, 1, 4, 4), (1, 1, 4, 4)), ((1, 2, 4, 4), (1, 2, 4, 4)), ((4, 1), (4, 1))],
)
def test_bad_shapes(logits, labels):
    with pytest.raises(ValueError, match="logits and labels must be"):
        BoundaryExplorationLoss()(torch.zeros(logits), torch.zeros(labels))
