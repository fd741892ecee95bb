"""One line and one set of values an epoch."""

import logging
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events

from monai_wsss.engines import EpochLog


def run(losses, evaluator=None, epochs=1, wrap=lambda loss: {"loss": loss}):
    """Train on given losses; returns what was logged."""
    logged = []
    engine = Engine(lambda engine, batch: wrap(torch.tensor(batch, requires_grad=True)))
    engine.optimizer = SimpleNamespace(param_groups=[{"lr": 0.25}])
    if evaluator is not None:  # an evaluator counts the trainer's epochs
        engine.add_event_handler(Events.EPOCH_COMPLETED, evaluator)
    EpochLog(lambda values, step: logged.append((dict(values), step)), evaluator, "train").attach(engine)
    engine.run(losses, max_epochs=epochs, epoch_length=len(losses) // epochs)
    return logged


class Evaluator:
    """Gives `metrics` at the epochs in `at`."""

    def __init__(self, metrics, at):
        self.state, self.metrics, self.at = SimpleNamespace(epoch=0, metrics={}), metrics, at

    def __call__(self, engine):
        if engine.state.epoch in self.at:
            self.state.epoch, self.state.metrics = engine.state.epoch, self.metrics


def test_mean_loss_of_each_epoch_alone():
    # (1 + 3) / 2 and (5 + 9) / 2
    assert run([1.0, 3.0, 5.0, 9.0], epochs=2) == [
        ({"loss": 2.0, "learning_rate": 0.25}, 1),
        ({"loss": 7.0, "learning_rate": 0.25}, 2),
    ]


def test_decollated_output_is_read_too():
    assert run([1.0, 3.0], wrap=lambda loss: [{"loss": loss}, {"loss": loss}])[0][0]["loss"] == 2.0


def test_a_value_that_is_not_a_number_is_not_logged():
    (values, _) = run([float("nan")], Evaluator({"agreement": 0.5, "auc": float("nan")}, {1}))[0]
    assert values == {"learning_rate": 0.25, "agreement": 0.5}


def test_metrics_are_those_of_this_epoch_only():
    """With a validation at every second epoch, the epochs between have no such value."""
    logged = run([1.0, 1.0, 1.0], Evaluator({"agreement": torch.tensor(0.5)}, {2}), epochs=3)
    assert [values.get("agreement") for values, _ in logged] == [None, 0.5, None]


def test_one_line_an_epoch(caplog):
    with caplog.at_level(logging.INFO, "monai_wsss"):
        run([1.0, 3.0])
    assert caplog.messages == ["train: epoch 1/1, loss 2, learning_rate 0.25"]


def test_losses_are_kept_without_their_graph():
    log = EpochLog(lambda values, step: None)
    weight = torch.ones((), requires_grad=True)
    state = SimpleNamespace(output={"loss": weight * 2}, max_epochs=1, epoch_length=1, iteration=1)
    log.iteration(SimpleNamespace(state=state))
    assert [loss.requires_grad for loss in log._losses] == [False]
    assert log._losses == [pytest.approx(2.0)]
