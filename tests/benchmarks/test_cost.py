import json

import pytest
import torch
from torch import nn

from benchmarks import cost
from benchmarks.cost import PAPER, cost_table, paper_networks, peak_memory
from monai_wsss.errors import InputError

CPU = torch.device("cpu")
MIB = 2**20


def small(channels):
    return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.Conv2d(channels, 1, 1))


@pytest.fixture(scope="module")
def table():
    return cost_table({"Mixed-UNet": small(8), "wide": small(64)}, (64, 64), 2, "cpu", repeats=5)


def test_the_paper_networks_have_the_papers_parameters():
    """All but Mixed-UNet's own count, which no natural configuration has."""
    with torch.device("meta"):  # shapes alone
        networks = paper_networks()
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert {name for name, count in counts.items() if count != PAPER[name]["parameters"]} == {"Mixed-UNet"}
    assert counts["Mixed-UNet"] == 12_437_057


def test_parameters_and_weights_worked_by_hand(table):
    """3 x 64 x 9 + 64, twice 64, and 64 + 1; with the norm's mean, variance and one whole number of 8 bytes."""
    wide = table["rows"]["wide"]
    assert wide["parameters"] == 1792 + 128 + 65
    assert wide["weights_mib"] == round((4 * (1985 + 128) + 8) / MIB, 1)


def test_frozen_parameters_are_not_counted():
    network = small(8)
    network[0].requires_grad_(False)
    assert cost._size_of(network, (1, 3, 8, 8), CPU)["parameters"] == 16 + 9


@pytest.mark.parametrize("several", [1, 3])
def test_peak_memory_is_of_what_is_alive_at_once(several):
    """Three tensors of 1 MiB one after the other are 1 MiB, three that are kept are 3."""

    def work():
        kept = []
        for _ in range(3):
            made = torch.zeros(MIB // 4)
            kept.append(made if several == 3 else None)
            del made

    assert peak_memory(work, CPU) == pytest.approx(several * MIB, rel=0.01)


def test_peaks_hold_weights_and_features(table):
    """A wide network's 64 features of 2 x 64 x 64 floats are 2 MiB: at least two at once, and more for gradients."""
    narrow, wide = table["rows"]["Mixed-UNet"], table["rows"]["wide"]
    assert 4 <= wide["forward_mib"] <= 8
    assert wide["training_mib"] >= wide["forward_mib"] > narrow["forward_mib"]


def test_memory_of_an_input_grows_with_the_batch():
    one, four = (cost._size_of(small(16), (batch, 3, 64, 64), CPU)["training_mib"] for batch in (1, 4))
    assert four == pytest.approx(4 * one, rel=0.2)


def test_times_are_an_images_and_ratios_of_the_same_turn(monkeypatch):
    """Turns of 2 and 6, 4 and 4 seconds for two images; the two warm-up turns of 100 do not count: ratios 3 and 1."""
    clock = iter([0, 100, 0, 100, 0, 100, 0, 100, 0, 2, 0, 6, 0, 4, 0, 4])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(cost, "_size_of", lambda *given: {})
    rows = cost_table({"Mixed-UNet": small(1), "other": small(1)}, (8, 8), 2, "cpu", repeats=2)["rows"]
    assert rows["Mixed-UNet"]["seconds"]["median"] == 1.5 and rows["other"]["seconds"]["median"] == 2.5
    assert rows["other"]["ratio"] == {"median": 2, "quartiles": [1.5, 2.5]}
    assert rows["Mixed-UNet"]["ratio"]["quartiles"] == [1, 1]


def test_the_networks_and_threads_stay_as_they_were():
    network, threads = small(4), torch.get_num_threads()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    cost_table({"Mixed-UNet": network}, (16, 16), 2, "cpu", repeats=1, threads=threads + 1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and network[0].weight.grad is None and torch.get_num_threads() == threads


def test_the_table_says_how_it_was_measured(table):
    kept = json.loads(json.dumps(table))
    assert kept["kind"] == "cost" and kept["device"].startswith("cpu") and kept["threads"] == 1
    assert kept["paper"] == {"Mixed-UNet": PAPER["Mixed-UNet"]} and kept["versions"]["torch"] == torch.__version__


def test_several_channels_out_have_a_softmax_loss():
    logits = torch.zeros(2, 4, 3, 3)
    assert float(cost._loss(logits)) == pytest.approx(1.3863, abs=1e-4)  # log 4
    assert float(cost._loss(logits[:, :1])) == pytest.approx(0.6931, abs=1e-4)  # log 2


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"repeats": 0}, ValueError, "repeats, threads and batch_size must be >= 1, got 0, 1 and 1"),
        ({"base": "U-Net"}, ValueError, "base must be one of Mixed-UNet, got U-Net"),
        ({"device": "tpu?"}, InputError, "not a device"),
    ],
)
def test_bad_arguments(options, error, match):
    with pytest.raises(error, match=match):
        cost_table({"Mixed-UNet": small(1)}, (8, 8), **options)
