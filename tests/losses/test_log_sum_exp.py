import math

import pytest
import torch
from torch.nn import functional as F

from monai_wsss.losses.log_sum_exp import LogSumExpLoss

LN3 = math.log(3.0)


def constant(*values: float) -> torch.Tensor:
    """One image whose maps are constant, so that y is the activated value whatever s is."""
    return torch.tensor(values).view(1, -1, 1, 1).expand(1, -1, 2, 3)


@pytest.mark.parametrize(
    ("activation", "maps", "targets", "weight", "expected"),
    [
        # y = (0, ln 3): p = (1/4, 3/4)
        ("relu", constant(-7.0, LN3), [[1]], None, math.log(4 / 3)),
        ("relu", constant(-7.0, LN3), [[0]], None, math.log(4.0)),
        ("relu", constant(-7.0, LN3), [[1]], 5.0, 5 * math.log(4 / 3)),
        ("relu", constant(-7.0, LN3), [[0]], 5.0, math.log(4.0)),
        ("relu", constant(-7.0, LN3), [[0.25]], None, 0.25 * math.log(4 / 3) + 0.75 * math.log(4.0)),
        ("relu", constant(-7.0, LN3), [[-1]], None, 0.0),
        # p = (1, 3, 4) / 8: the background's -ln 1/8 always
        ("softmax", constant(0.0, LN3, math.log(4.0)), [[0, 1]], None, math.log(8) + math.log(8 / 5) + math.log(2)),
        ("softmax", constant(0.0, LN3, math.log(4.0)), [[1, 0]], None, math.log(8) + math.log(8 / 3) + math.log(2)),
        ("softmax", constant(0.0, LN3, math.log(4.0)), [[0, 0]], 9.0, math.log(8) + math.log(8 / 5) + math.log(2)),
        ("softmax", constant(0.0, LN3, math.log(4.0)), [[1, -1]], 9.0, math.log(8) + 9 * math.log(8 / 3)),
        ("softmax", constant(0.0, LN3, math.log(4.0)), [[-1, -1]], None, 0.0),
    ],
)
def test_by_hand(activation: str, maps: torch.Tensor, targets: list, weight: float | None, expected: float) -> None:
    loss = LogSumExpLoss(activation, positive_weight=weight)(maps, torch.tensor(targets))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(5, 6), (3, 5, 6)])
def test_relu_is_categorical_cross_entropy(shape: tuple[int, ...]) -> None:
    maps, targets = torch.randn(4, 2, *shape), torch.tensor([[1], [0], [0], [1]])
    scores = (5 * maps.relu()).exp().flatten(2).mean(dim=2).log() / 5
    torch.testing.assert_close(LogSumExpLoss()(maps, targets), F.cross_entropy(scores, targets[:, 0]))


def test_softmax_is_a_sum_of_binary_cross_entropies() -> None:
    maps, targets = torch.randn(4, 4, 5, 6), torch.randint(0, 2, (4, 3)).float()
    scores = (5 * maps.softmax(dim=1)).exp().flatten(2).mean(dim=2).log() / 5
    expected = F.binary_cross_entropy(scores, torch.cat([torch.ones(4, 1), targets], dim=1), reduction="sum") / 4
    torch.testing.assert_close(LogSumExpLoss("softmax")(maps, targets), expected)


@pytest.mark.parametrize(("activation", "classes"), [("relu", 1), ("softmax", 2)])
def test_unknown_images_are_as_if_absent(activation: str, classes: int) -> None:
    maps, targets = torch.randn(4, classes + 1, 3, 3), torch.randint(0, 2, (4, classes))
    targets[1] = -1
    known = torch.tensor([0, 2, 3])
    loss = LogSumExpLoss(activation, positive_weight=3.0)
    torch.testing.assert_close(loss(maps, targets), loss(maps[known], targets[known]))
    nothing = maps.requires_grad_()
    loss(nothing, torch.full_like(targets, -1)).backward()
    assert torch.equal(nothing.grad, torch.zeros_like(nothing))


def test_an_unknown_class_still_competes_in_the_softmax_but_is_not_scored() -> None:
    maps = torch.randn(3, 3, 4, 4)
    loss = LogSumExpLoss("softmax")
    of_both, of_first, of_second = (
        loss(maps, torch.tensor([labels] * 3)).item() for labels in ([1, 0], [1, -1], [-1, 0])
    )
    background = F.binary_cross_entropy(
        ((5 * maps.softmax(dim=1)[:, 0]).exp().flatten(1).mean(dim=1).log() / 5), torch.ones(3)
    )
    assert of_both == pytest.approx(of_first + of_second - background.item(), abs=1e-5)


@pytest.mark.parametrize("activation", ["relu", "softmax"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_wrong_and_certain_is_finite(activation: str, dtype: torch.dtype) -> None:
    maps = torch.tensor([[[6e4], [-6e4]], [[-6e4], [6e4]]], dtype=dtype, requires_grad=True)
    loss = LogSumExpLoss(activation)(maps, torch.tensor([[1], [0]]))
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and maps.grad.isfinite().all()
    # relu: logits of -60 000 and 60 000; softmax: at most -ln 1e-30 of what is present, -ln 1e-7 of what is absent
    assert loss.item() == pytest.approx(6e4, rel=5e-3) if activation == "relu" else 15 < loss.item() < 100


@pytest.mark.parametrize(("activation", "classes"), [("relu", 1), ("softmax", 2)])
def test_gradient(activation: str, classes: int) -> None:
    maps = (torch.randn(3, classes + 1, 2, 2, dtype=torch.float64) + 0.3).requires_grad_()
    targets = torch.tensor([[1] * classes, [0] * classes, [-1] * classes])
    assert torch.autograd.gradcheck(lambda h: LogSumExpLoss(activation, 2.0, 3.0)(h, targets), maps)


def test_under_autocast() -> None:
    maps, targets = torch.randn(2, 2, 4, 4), torch.tensor([[1], [0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for activation in ("relu", "softmax"):
            torch.testing.assert_close(
                LogSumExpLoss(activation)(maps.bfloat16(), targets),
                LogSumExpLoss(activation)(maps.bfloat16().float(), targets),
            )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"activation": "tanh"}, "activation must be relu or softmax, got tanh"),
        ({"sharpness": 0.0}, "sharpness must be > 0 and finite, got 0.0"),
        ({"sharpness": math.nan}, "sharpness"),
        ({"positive_weight": 0.0}, "positive_weight must be > 0 and finite, got 0.0"),
    ],
)
def test_refuses_arguments(arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        LogSumExpLoss(**arguments)


@pytest.mark.parametrize(
    ("activation", "maps", "targets", "match"),
    [
        ("relu", (2, 2, 3, 3), (2, 2), "targets"),
        ("softmax", (2, 3), (2, 2), "maps must be"),
        ("relu", (2, 3, 4, 4), (2, 2), "needs two maps"),
    ],
)
def test_refuses_shapes(activation: str, maps: tuple, targets: tuple, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        LogSumExpLoss(activation)(torch.zeros(maps), torch.zeros(targets))
