"""Optimizers by name, with learning rates of their own for new layers and for biases."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR, StepLR

OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "radam": torch.optim.RAdam,
    "sgd": torch.optim.SGD,
}
SCHEDULES = ("polynomial", "step")


def parameter_groups(
    network: nn.Module,
    learning_rate: float,
    new: Sequence[str] = (),
    new_factor: float = 1.0,
    bias_factor: float = 1.0,
    decay_biases: bool = True,
) -> list[dict[str, Any]]:
    """Parameters that require a gradient, grouped by learning rate and weight decay, in the network's order.

    ``lr = learning_rate [new_factor, for new layers] [bias_factor, for biases]``

    Args:
        network: a network, wrapped for distributed training or not.
        learning_rate: of the other layers' weights.
        new: names of the submodules that no weights file brings, such as `fc`.
        new_factor: multiple of the learning rate for these; > 0.
        bias_factor: multiple of the learning rate for parameters called `bias`; > 0.
        decay_biases: False takes no weight decay for them, as Caffe's networks are commonly trained.

    Raises:
        ValueError: a factor that is not > 0, or a name in `new` that the network has not.
    """
    if not (new_factor > 0 and bias_factor > 0):
        raise ValueError(f"factors of the learning rate must be > 0, got {new_factor} and {bias_factor}.")
    known = {name.removeprefix("module.") for name, _ in network.named_modules()}
    if missing := [part for part in new if part not in known]:
        raise ValueError(f"new must name submodules of {type(network).__name__}, got {', '.join(missing)}.")
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            path = name.removeprefix("module.")
            bias = path.endswith("bias")
            factor = new_factor if any(path.startswith(f"{part}.") for part in new) else 1.0
            factor *= bias_factor if bias else 1.0
            groups.setdefault((factor, decay_biases or not bias), []).append(parameter)
    return [
        {"params": found, "lr": factor * learning_rate, **({} if decays else {"weight_decay": 0.0})}
        for (factor, decays), found in groups.items()
    ]


def make_optimizer(
    name: str, groups: Sequence[dict[str, Any]], weight_decay: float = 0.0, momentum: float = 0.9
) -> torch.optim.Optimizer:
    """Optimizer of the groups.

    Args:
        name: `adam`, `radam` or `sgd`.
        groups: see `parameter_groups`.
        weight_decay: L2 weight.
        momentum: of SGD; the others have their own.

    Raises:
        ValueError: another name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name}.")
    options: dict[str, Any] = {"momentum": momentum} if name == "sgd" else {}
    return OPTIMIZERS[name](groups, weight_decay=weight_decay, **options)  # type: ignore[call-arg]


def make_schedule(
    name: str,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    epoch_length: int,
    power: float = 0.9,
    step_epochs: int = 5,
    step_factor: float = 0.1,
) -> LRScheduler:
    """Learning-rate schedule, stepped after each iteration.

    `polynomial`: ``lr_0 (1 - i / n)^power`` at iteration i of n = epochs x epoch_length;
    `step`: ``lr_0 step_factor^floor(epoch / step_epochs)``.

    Args:
        name: `polynomial` or `step`.
        optimizer: whose rates are scheduled.
        epochs: number of epochs.
        epoch_length: iterations an epoch.
        power: gamma of the polynomial.
        step_epochs: epochs between two drops, >= 1.
        step_factor: of a drop.

    Raises:
        ValueError: another name.
    """
    if name == "polynomial":
        return PolynomialLR(optimizer, epochs * epoch_length, power)
    if name == "step":
        return StepLR(optimizer, step_epochs * epoch_length, step_factor)
    raise ValueError(f"schedule must be polynomial or step, got {name}.")
