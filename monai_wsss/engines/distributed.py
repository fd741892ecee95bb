"""Networks on one device or on many."""

import torch
import torch.distributed as dist


def to_device(network: torch.nn.Module, device: torch.device, synchronised: bool = True) -> torch.nn.Module:
    """Move a network to `device`; wrap it for distributed training where a process group is open.

    Batch statistics are those of all processes on GPUs, or of each by itself where `synchronised` is False.
    """
    network = network.to(device)
    if dist.is_initialized():
        if synchronised and device.type == "cuda":
            network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        index = [device.index] if device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(network, device_ids=index)
    return network
