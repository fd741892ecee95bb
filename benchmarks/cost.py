"""What segmenters cost: parameters, memory and time an image, all in one run (the Mixed-UNet paper's Table IV)."""

import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from monai_wsss.engines import on_device
from monai_wsss.networks import segmenter
from monai_wsss.workflow.manifest import versions
from monai_wsss.workflow.start import select_device

BASE = "Mixed-UNet"
SEGMENTERS = {"FCN (VGG16)": "fcn", "U-Net": "unet", "DeepLabV3": "deeplab_v3", BASE: "mixed_unet"}
PAPER = {  # as printed: parameters, memory in MB, seconds an image
    "FCN (VGG16)": {"parameters": 18_643_713, "megabytes": 73, "seconds": 0.421},
    "U-Net": {"parameters": 31_043_521, "megabytes": 121, "seconds": 0.861},
    "DeepLabV3": {"parameters": 39_633_729, "megabytes": 155, "seconds": 0.936},
    BASE: {"parameters": 10_303_105, "megabytes": 50, "seconds": 1.153},
}
DEFINITIONS = {
    "parameters": "trainable ones",
    "weights_mib": "bytes of parameters and buffers",
    "forward_mib": "peak of all tensors alive in a forward pass without gradients, weights and images included: "
    "torch.cuda.max_memory_allocated on a GPU, the allocations that torch.profiler records on a CPU, which leave out "
    "the libraries' own scratch memory",
    "training_mib": "the same in a training step: forward pass, binary or categorical cross-entropy, backward pass, "
    "Adam's first step",
    "seconds": "of a forward pass without gradients, by image of the batch; median and quartiles over the repeats, in "
    "each of which every network has its turn",
    "ratio": "of a network's seconds to the base's in the same repeat, median and quartiles",
}
_WARM_UP = 2  # repeats that are not counted
_CPU = 0  # "Device Type" of the profiler's trace


def paper_networks(in_channels: int = 3, out_channels: int = 1) -> dict[str, nn.Module]:
    """The networks of Table IV by name, as the paper's parameter counts have them: colours in, one channel out."""
    return {name: segmenter(key, 2, in_channels, out_channels) for name, key in SEGMENTERS.items()}


def cost_table(
    networks: Mapping[str, nn.Module],
    size: tuple[int, int] = (256, 256),
    batch_size: int = 1,
    device: str = "auto",
    repeats: int = 20,
    threads: int = 1,
    in_channels: int = 3,
    base: str = BASE,
) -> dict[str, Any]:
    """Measure networks beside each other.

    Memory is measured one network at a time. Time is measured with all of them on the device, taking turns, so that
    what else slows the machine slows them alike; their ratio to the base is that of the same repeat.

    Args:
        networks: images `(B, in_channels, *size)` to logits, by name; they stay as they are.
        size: of the images, pixels.
        batch_size: B, images at once, in time as in memory.
        device: device id.
        repeats: turns of each network that count.
        threads: of the CPU.
        in_channels: channels of the images.
        base: the network that the others are compared with.

    Returns:
        `{kind: "cost", ..., rows: {name: {parameters, weights_mib, forward_mib, training_mib, seconds, ratio}}}`.

    Raises:
        ValueError: repeats, threads or a batch below 1, or a base that is not among the networks.
        InputError: a device that is not there.
    """
    if min(repeats, threads, batch_size) < 1:
        raise ValueError(f"repeats, threads and batch_size must be >= 1, got {repeats}, {threads} and {batch_size}.")
    if base not in networks:
        raise ValueError(f"base must be one of {', '.join(networks)}, got {base}.")
    place = select_device(device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        shape = (batch_size, in_channels, *size)
        rows = {name: _size_of(network, shape, place) for name, network in networks.items()}
        seconds = _seconds(networks, shape, place, repeats)
    finally:
        torch.set_num_threads(before)
    for name, row in rows.items():
        row["seconds"] = _spread(seconds[name])
        row["ratio"] = _spread([own / of_base for own, of_base in zip(seconds[name], seconds[base], strict=True)])
    return {
        "kind": "cost",
        "base": base,
        "size": list(size),
        "batch_size": batch_size,
        "in_channels": in_channels,
        "repeats": repeats,
        "device": _device_name(place),
        "threads": threads,
        "versions": versions(),
        "definitions": DEFINITIONS,
        "paper": {name: PAPER[name] for name in rows if name in PAPER},
        "rows": rows,
    }


def _size_of(network: nn.Module, shape: tuple[int, ...], device: torch.device) -> dict[str, Any]:
    def forward() -> None:
        own = on_device(copy.deepcopy(network), device).eval()
        with torch.no_grad():
            own(torch.zeros(shape, device=device))

    def training_step() -> None:
        own = copy.deepcopy(network).to(device).train()
        optimizer = torch.optim.Adam(own.parameters())
        _loss(own(torch.zeros(shape, device=device))).backward()
        optimizer.step()

    weights = [*network.parameters(), *network.buffers()]
    return {
        "parameters": sum(weight.numel() for weight in network.parameters() if weight.requires_grad),
        "weights_mib": _mib(sum(weight.numel() * weight.element_size() for weight in weights)),
        "forward_mib": _mib(peak_memory(forward, device)),
        "training_mib": _mib(peak_memory(training_step, device)),
    }


def _loss(logits: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with background everywhere: what it is compared with does not change what it costs."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
    return F.cross_entropy(logits, torch.zeros_like(logits[:, 0], dtype=torch.long))


def peak_memory(work: Callable[[], object], device: torch.device) -> int:
    """Most bytes of tensors that were alive at once while `work` ran, beyond those alive before.

    On a GPU as PyTorch's allocator counts them; on a CPU the running sum of the allocations that `torch.profiler`
    records.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    moves = [event for event in events if event["name"] == "[memory]" and event["args"]["Device Type"] == _CPU]
    changes = [event["args"]["Bytes"] for event in sorted(moves, key=lambda event: event["ts"])]
    return max(0, int(np.cumsum(changes).max(initial=0)))


@torch.no_grad()
def _seconds(
    networks: Mapping[str, nn.Module], shape: tuple[int, ...], device: torch.device, repeats: int
) -> dict[str, list[float]]:
    """Seconds an image by network, one a repeat."""
    placed = {name: on_device(copy.deepcopy(network), device).eval() for name, network in networks.items()}
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    found: dict[str, list[float]] = {name: [] for name in placed}
    for repeat in range(_WARM_UP + repeats):
        for name, network in placed.items():
            _wait(device)
            start = time.perf_counter()
            network(images)
            _wait(device)
            seconds = time.perf_counter() - start
            if repeat >= _WARM_UP:
                found[name].append(seconds / shape[0])
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _spread(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "quartiles": np.quantile(values, [0.25, 0.75]).tolist()}


def _device_name(device: torch.device) -> str:
    """Of a GPU its model; of a CPU what Linux says of it, where it does."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{device}, {models[0]}" if models else str(device)


def _mib(number: int) -> float:
    return round(number / 2**20, 1)
