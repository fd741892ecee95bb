"""Checkpoints that a crash cannot spoil."""

import math
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # what torch raises; nothing is unpickled here
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.engines import Evaluator, Trainer

from monai_wsss.data import atomic_path
from monai_wsss.engines.distributed import on_device
from monai_wsss.errors import InputError

RESUME_FILE = ".resume.pt"


def save_weights(network: torch.nn.Module, path: Path) -> None:
    """Write a network's state dict whole, without the prefix of a distributed wrapper."""
    inner = network.module if isinstance(network, torch.nn.parallel.DistributedDataParallel) else network
    with atomic_path(path) as part, part.open("wb") as stream:  # a path's name would go into the file
        torch.save(inner.state_dict(), stream)


def load_weights(network: torch.nn.Module, path: Path) -> torch.nn.Module:
    """Read a state dict written by `save_weights` into `network`, which is returned.

    Raises:
        InputError: a file that is no weights file, or another network's.
    """
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise InputError(f"{path}: broken, or weights of another network; train again, or take another file") from error
    return network


def load_if_present(network: torch.nn.Module, path: str, device: torch.device) -> torch.nn.Module:
    """The network on `device` in evaluation mode, with the weights of `path` where that file exists.

    A missing file is refused when a stage runs, not here: MONAI's checks build the network before it is trained.
    """
    if Path(path).exists():
        load_weights(network, Path(path))
    return on_device(network, device).eval()


class ResumableCheckpoint:
    """Keeps the best epoch's weights, and after each epoch all that is needed to go on from it.

    `model.pt` holds the weights of the epoch with the best key metric of the evaluator (of the last epoch without an
    evaluator, or before it ran; NaN counts as not validated). `.resume.pt` holds network, optimizer, learning-rate
    schedule, AMP scaler and epoch; it is removed when training ends. Each file is replaced whole. Attach after the
    handlers that validate and step the schedule.

    Args:
        folder: folder of both files.
        state: objects with `state_dict`/`load_state_dict` by name; `network` must be among them.
        evaluator: evaluator whose key metric chooses the epoch.
    """

    def __init__(self, folder: str | Path, state: Mapping[str, Any], evaluator: Evaluator | None = None) -> None:
        self.folder, self.state, self.evaluator = Path(folder), dict(state), evaluator
        self._resume = self.folder / RESUME_FILE

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def load(self, engine: Trainer) -> None:
        """Go on where an earlier process stopped, if it left anything."""
        if not self._resume.exists():
            return
        saved = torch.load(self._resume, map_location="cpu", weights_only=True)
        for name, item in self.state.items():
            item.load_state_dict(saved[name])
        if engine.scaler is not None and saved["scaler"]:
            engine.scaler.load_state_dict(saved["scaler"])
        # ignite counts iterations over all epochs
        engine.state.epoch = saved["epoch"]
        engine.state.iteration = saved["epoch"] * engine.state.epoch_length
        if self.evaluator is not None:
            self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch = saved["best"]

    def save(self, engine: Trainer) -> None:
        """Write both files at the end of an epoch."""
        if self.evaluator is not None and math.isnan(self.evaluator.state.best_metric):
            self.evaluator.state.best_metric_epoch = -1  # nothing compares with NaN: it would stay the best for good
        if dist.is_initialized() and dist.get_rank() != 0:
            return
        epoch = engine.state.epoch
        best = (None, epoch)
        if self.evaluator is not None:
            best = (self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch)
        if best[1] in (epoch, -1):  # -1: not validated so far
            save_weights(self.state["network"], self.folder / "model.pt")
        saved = {name: item.state_dict() for name, item in self.state.items()}
        scaler = engine.scaler.state_dict() if engine.scaler is not None else {}
        with atomic_path(self._resume) as part, part.open("wb") as stream:
            torch.save({**saved, "scaler": scaler, "epoch": epoch, "best": best}, stream)

    def finish(self, engine: Engine) -> None:
        """Remove what only an unfinished training needs; from here on `model.pt` is there for every process."""
        if dist.is_initialized():
            dist.barrier()
        self._resume.unlink(missing_ok=True)
