"""The same epoch draws the same numbers."""

import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.transforms import Compose, RandGaussianNoise

from monai_wsss.engines import EpochSeed


def draws(transform=None):
    numbers = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    return numbers + ([float(transform(torch.zeros(1, 2)).sum())] if transform else [])


def run(seed, epochs, transform=None, first=1):
    """What each epoch draws; `first` > 1 stands for a training that goes on."""
    engine = Engine(lambda engine, batch: seen.append(draws(transform)))
    seen = []
    EpochSeed(seed, transform).attach(engine)
    engine.state.epoch, engine.state.iteration = first - 1, first - 1
    engine.state.epoch_length, engine.state.max_epochs = 1, epochs
    engine.run([0])
    return seen


def transform():
    return Compose([Compose([RandGaussianNoise(prob=1.0)])])


def test_epochs_differ_and_repeat():
    first = run(3, 3, transform())
    assert len({tuple(epoch) for epoch in first}) == 3
    for numbers in zip(*first, strict=True):  # each generator by itself
        assert len(set(numbers)) == 3
    assert run(3, 3, transform()) == first


def test_an_epoch_does_not_depend_on_those_before():
    whole, rest = run(3, 3, transform()), run(3, 3, transform(), first=3)
    assert rest == whole[2:]


@pytest.mark.parametrize("other", [1, 4, 2**31])
def test_another_seed_gives_other_numbers(other):
    first, second = run(3, 2), run(other, 2)
    assert not {tuple(epoch) for epoch in first} & {tuple(epoch) for epoch in second}


def test_processes_of_a_distributed_run_draw_numbers_of_their_own(monkeypatch):
    alone = run(3, 2)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    ranks = []
    for rank in range(3):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        ranks.append(run(3, 2))
    assert ranks[0] == alone
    assert len({tuple(epoch) for epochs in ranks for epoch in epochs}) == 6


def test_a_transform_without_chance_is_left_alone():
    assert len(run(0, 1, transform=torch.nn.Identity())) == 1
