"""Networks on one device or on many."""

import torch
import torch.distributed as dist


def on_device(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Move a network to `device`, the kernels of 2D convolutions laid out with their channels last.

    The numbers are the same up to rounding; CPUs and tensor cores are faster.
    """
    network = network.to(device)
    if all(weight.dim() <= 4 for weight in network.parameters()):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def to_device(network: torch.nn.Module, device: torch.device, synchronised: bool = True) -> torch.nn.Module:
    """:func:`on_device`, and wrapped for distributed training where a process group is open.

    Batch statistics are those of all processes on GPUs, or of each by itself where `synchronised` is False.
    """
    network = on_device(network, device)
    if dist.is_initialized():
        if synchronised and device.type == "cuda":
            network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        index = [device.index] if device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(network, device_ids=index)
    return network
