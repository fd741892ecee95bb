"""Training that keeps the epoch with the lowest validation loss."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.metrics import Metric
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer, default_prepare_batch
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch import nn

from monai_wsss.engines.checkpoint import ResumableCheckpoint
from monai_wsss.engines.epoch_log import EpochLog
from monai_wsss.engines.epoch_seed import EpochSeed


def lowest_loss_trainer(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    loss: nn.Module,
    loader: DataLoader,
    validation: DataLoader | None,
    val_loss: Metric | None,
    *,
    name: str,
    folder: Path,
    epochs: int,
    device: torch.device,
    amp: bool,
    seed: int,
    transform: object,
    log: Callable[[Mapping[str, float], int], None],
    prepare_batch: Callable[..., Any] = default_prepare_batch,
    handlers: Sequence[Any] = (),
    keep: nn.Module | None = None,
) -> tuple[SupervisedTrainer, SupervisedEvaluator | None]:
    """MONAI's trainer with the handlers of every stage that trains, and the evaluator that chooses the epoch.

    Args:
        network: on `device`, wrapped for distributed training or not.
        optimizer: of its parameters.
        schedule: torch's learning-rate schedule, stepped after each iteration.
        loss: of prediction and label.
        loader: training items.
        validation: validation items; None keeps the last epoch.
        val_loss: what is lowest, of the validation items; None without them.
        name: name of the stage.
        folder: receives `model.pt`, and what is needed to resume.
        epochs: number of epochs.
        device: of the network.
        amp: mixed precision.
        seed: of the run.
        transform: the data set's random transform, seeded for each epoch.
        log: receives `(values, epoch)`.
        prepare_batch: from a batch to image and label.
        handlers: further ones, attached before the one that keeps the weights: what they write of an epoch is whole
            when a later process goes on after it.
        keep: the part of `network` whose weights are kept; None keeps all.
    """
    evaluator = None
    if validation is not None and val_loss is not None:
        evaluator = SupervisedEvaluator(
            device=device,
            val_data_loader=validation,
            network=network,
            prepare_batch=prepare_batch,
            key_val_metric={"val_loss": val_loss},
            metric_cmp_fn=lambda now, best: now < best,
            decollate=False,
            amp=amp,
        )
    state = {"network": network if keep is None else keep, "optimizer": optimizer, "schedule": schedule}
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        prepare_batch=prepare_batch,
        decollate=False,
        amp=amp,
        train_handlers=[
            EpochSeed(seed, transform),
            LrScheduleHandler(schedule, print_lr=False, epoch_level=False),
            *([ValidationHandler(1, validator=evaluator)] if evaluator else []),
            EpochLog(log, evaluator, name),
            *handlers,
            ResumableCheckpoint(folder, state, evaluator),
        ],
    )
    return trainer, evaluator
