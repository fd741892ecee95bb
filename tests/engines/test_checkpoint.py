"""Checkpoints: whole files, the best epoch, and going on from where a training stopped."""

import math

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler

from monai_wsss.engines import EpochSeed, ResumableCheckpoint, load_if_present, load_weights, save_weights

CPU = torch.device("cpu")
EPOCHS, STEPS = 4, 3


class Killed(BaseException):
    pass


class Noisy(torch.nn.Module):
    """Draws from the global generator at each step, as dropout does."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x + 0.1 * torch.randn_like(x) if self.training else x)


def train(folder, kill=None, scores=None, interval=1):
    """Train 4 epochs of 3 steps; dies at the event `kill` = (event, number). `scores`: the key metric by epoch.

    Returns weights, learning rates used and epochs begun.
    """
    torch.manual_seed(7)
    network = Noisy()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, EPOCHS * STEPS, 0.9)
    batches = [{"image": torch.tensor([[1.0, float(i)]]), "label": torch.tensor([[float(i)]])} for i in range(STEPS)]
    handlers = [EpochSeed(1), LrScheduleHandler(schedule, print_lr=False, epoch_level=False)]
    evaluator = None
    if scores is not None:
        evaluator = SupervisedEvaluator(CPU, batches, network, decollate=False)
        evaluator.state.key_metric_name = "score"
        evaluator.add_event_handler(
            Events.COMPLETED,
            lambda e: (e.state.metrics.update(score=scores[e.state.epoch]), compare(e)),
        )
        handlers.append(ValidationHandler(interval, validator=evaluator))
    state = {"network": network, "optimizer": optimizer, "schedule": schedule}
    handlers.append(ResumableCheckpoint(folder, state, evaluator))
    trainer = SupervisedTrainer(
        CPU, EPOCHS, batches, network, optimizer, torch.nn.MSELoss(), train_handlers=handlers, decollate=False
    )
    rates, epochs = [], []
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda e: epochs.append(e.state.epoch))
    if kill is not None:
        trainer.add_event_handler(kill[0](once=kill[1]), die)
    trainer.run()
    best = None if evaluator is None else (evaluator.state.best_metric, evaluator.state.best_metric_epoch)
    return {k: v.clone() for k, v in network.state_dict().items()}, rates, epochs, best


def die(engine):
    raise Killed


def compare(engine):
    state = engine.state
    if state.best_metric_epoch == -1 or state.metrics["score"] > state.best_metric:
        state.best_metric, state.best_metric_epoch = state.metrics["score"], state.epoch


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize(
    ("kill", "left"),
    [
        ((Events.EPOCH_COMPLETED, 1), [2, 3, 4]),
        ((Events.EPOCH_COMPLETED, 3), [4]),
        ((Events.EPOCH_COMPLETED, 4), []),  # all is trained: nothing is trained again
        ((Events.ITERATION_COMPLETED, 8), [3, 4]),  # in the middle of epoch 3
        ((Events.ITERATION_COMPLETED, 2), [1, 2, 3, 4]),  # before anything was saved
    ],
)
def test_resumed_training_equals_an_uninterrupted_one(tmp_path, kill, left):
    weights, rates, _, _ = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "cut", kill)
    again, rest, epochs, _ = train(tmp_path / "cut")
    assert epochs == left
    assert rest == rates[len(rates) - len(rest) :]
    assert same(again, weights)
    assert (tmp_path / "cut" / "model.pt").read_bytes() == (tmp_path / "whole" / "model.pt").read_bytes()


def test_best_epoch_is_kept_and_its_memory_survives_a_kill(tmp_path):
    scores = {1: 0.2, 2: 0.9, 3: 0.5, 4: 0.8}
    with pytest.raises(Killed):
        train(tmp_path / "cut", (Events.EPOCH_COMPLETED, 2), scores)
    at_two = (tmp_path / "cut" / "model.pt").read_bytes()
    _, _, epochs, best = train(tmp_path / "cut", scores=scores)
    assert epochs == [3, 4] and best == (0.9, 2)
    assert (tmp_path / "cut" / "model.pt").read_bytes() == at_two
    last, *_ = train(tmp_path / "rising", scores={1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4})
    assert same(torch.load(tmp_path / "rising" / "model.pt", weights_only=True), last)


@pytest.mark.parametrize("first", [{1: math.nan}, {1: math.nan, 2: math.nan}])
def test_nan_is_the_worst_of_all_scores(tmp_path, first):
    scores = {1: 0.1, 2: 0.9, 3: 0.5, 4: 0.2} | first
    _, _, _, best = train(tmp_path / "nan", scores=scores)
    assert best == ((0.9, 2) if len(first) == 1 else (0.5, 3))
    with pytest.raises(Killed):  # nor does a resumed training take it for one
        train(tmp_path / "cut", (Events.EPOCH_COMPLETED, 1), scores)
    assert train(tmp_path / "cut", scores=scores)[3] == best
    assert (tmp_path / "cut" / "model.pt").read_bytes() == (tmp_path / "nan" / "model.pt").read_bytes()


def test_without_any_validation_the_last_epoch_is_kept(tmp_path):
    last, *_ = train(tmp_path / "none")
    assert same(torch.load(tmp_path / "none" / "model.pt", weights_only=True), last)
    last, *_ = train(tmp_path / "rare", scores={}, interval=EPOCHS + 1)
    assert same(torch.load(tmp_path / "rare" / "model.pt", weights_only=True), last)


def test_only_the_weights_stay_behind(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, (Events.EPOCH_COMPLETED, 2))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".resume.pt", "model.pt"]
    train(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    save_weights(torch.nn.Linear(2, 1), path)
    before = path.read_bytes()

    def half(content, stream):
        stream.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space"):
        save_weights(torch.nn.Linear(2, 1), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_same_weights_same_bytes(tmp_path):
    network = torch.nn.Linear(2, 1)
    for name in ("a.pt", "other_name.pt"):
        save_weights(network, tmp_path / name)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "other_name.pt").read_bytes()


def test_round_trip_and_a_missing_file(tmp_path):
    network, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    save_weights(network, tmp_path / "model.pt")
    assert same(load_weights(other, tmp_path / "model.pt").state_dict(), network.state_dict())
    fresh = torch.nn.Linear(2, 1)
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    loaded = load_if_present(fresh, str(tmp_path / "none.pt"), CPU)
    assert same(loaded.state_dict(), before) and not loaded.training
    assert same(load_if_present(fresh, str(tmp_path / "model.pt"), CPU).state_dict(), network.state_dict())
