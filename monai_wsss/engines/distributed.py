"""Networks on one device or on many."""

import torch
import torch.distributed as dist


def to_device(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Move a network to `device`; wrap it for distributed training where a process group is open."""
    network = network.to(device)
    if dist.is_initialized():
        network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network) if device.type == "cuda" else network
        index = [device.index] if device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(network, device_ids=index)
    return network
