"""What every stage does before anything is built."""

import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from monai.utils import set_determinism

from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import check_ids, effective_config


def start(dataset_dir: str, seed: int = 0, distributed: bool = False) -> None:
    """Refuse misspelt ids and a missing data folder, join the process group, set every seed.

    Named in `initialize` of each stage's config, so that it runs before any network is built.

    Args:
        dataset_dir: prepared folder (or, for inference, a folder of volumes).
        seed: seed of Python, NumPy and PyTorch.
        distributed: join the process group that `torchrun` describes in the environment.

    Raises:
        InputError: an id that no config of the bundle has, or a folder that is not there.
    """
    found = effective_config()
    if found is not None:
        check_ids(set(found[0]), found[1], "config")
    if not Path(dataset_dir).exists():
        raise InputError(f"{dataset_dir}: no such data folder; make one with `monai-wsss prepare`")
    if distributed and not dist.is_initialized():
        if "WORLD_SIZE" not in os.environ:
            raise InputError("overlay multi_gpu: start with `torchrun --nproc_per_node=N -m monai_wsss run ...`")
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        # The others wait while the first process runs a stage alone, which may take hours.
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=timedelta(days=7))
    set_determinism(seed=seed)


def select_device(name: str = "auto") -> torch.device:
    """Device named by one id: `auto` is the GPU where there is one; under torchrun `cuda` is this process's GPU.

    Raises:
        InputError: a device that torch does not know, or CUDA where there is none.
    """
    if str(name) == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device '{name}': not a device; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device '{name}': no CUDA device is available here; use cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device '{name}': only {torch.cuda.device_count()} here, counted from cuda:0")
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device
