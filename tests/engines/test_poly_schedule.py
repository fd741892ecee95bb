"""lr = lr0 (1 - itr / max)^0.9: the poly schedule with the paper's misprint mended."""

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler

# 0.75^0.9 = exp(.9 ln .75) = exp(-.258914) = .771889; 0.5^0.9 = exp(-.623832) = .535887;
# 0.25^0.9 = .535887^2 = .287175
BY_HAND = [0.1, 0.0771889, 0.0535887, 0.0287175, 0.0]


def network_and_optimizer():
    network = torch.nn.Linear(1, 1)
    return network, torch.optim.SGD(network.parameters(), lr=0.1)


def test_values_by_hand():
    _, optimizer = network_and_optimizer()
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4, power=0.9)
    seen = [schedule.get_last_lr()[0]]
    for _ in range(4):
        optimizer.step()
        schedule.step()
        seen += schedule.get_last_lr()
    assert seen == pytest.approx(BY_HAND, abs=1e-7)


def test_a_trainer_steps_it_each_iteration_through_all_epochs():
    """Two epochs of two steps; the misprint, (1 - itr) / max, would be at or below 0 from the first step on."""
    network, optimizer = network_and_optimizer()
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4, power=0.9)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=[{"image": torch.ones(1, 1), "label": torch.ones(1, 1)}] * 2,
        network=network,
        optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
        decollate=False,
        train_handlers=[LrScheduleHandler(schedule, print_lr=False, epoch_level=False)],
    )
    used = []
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: used.append(optimizer.param_groups[0]["lr"]))
    trainer.run()
    assert used == pytest.approx(BY_HAND[:4], abs=1e-7)
    assert optimizer.param_groups[0]["lr"] == 0
