"""classify: train a classifier; image-level labels are the only supervision."""

import logging
from typing import Any

import numpy as np
import torch
from ignite.metrics import Loss
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, Transform

from monai_wsss.data import slice_items
from monai_wsss.data.presence import is_absent, is_certain, is_known, is_present
from monai_wsss.engines import (
    load_weights,
    loss_output,
    lowest_loss_trainer,
    make_optimizer,
    make_schedule,
    parameter_groups,
    prepare_classification_batch,
    to_device,
    training_sampler,
)
from monai_wsss.engines.optimizer import OPTIMIZERS, SCHEDULES
from monai_wsss.errors import InputError
from monai_wsss.losses import WeightedBCELoss
from monai_wsss.metrics import auc, expected_calibration_error, f1
from monai_wsss.networks import PooledClassifier, load_backbone
from monai_wsss.transforms import LoadSliced
from monai_wsss.workflow.cached_stage import CachedStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker

logger = logging.getLogger(__name__)

_NEW = ("head", "fc")  # submodules of a classifier that no backbone's file holds


class ClassifyStage(CachedStage):
    """Trains the classifier on slices; the epoch with the lowest validation loss on image-level labels is kept.

    Args:
        network: classifier with `features`, `class_weight` and `forward`.
        augmentation: random transforms of an item's `image`.
        epochs: passes over the training slices.
        batch_size: slices a step.
        learning_rate: at the start of the schedule.
        schedule: `polynomial`, lr = lr_0 (1 - step / steps)^poly_power, or `step`, see `make_schedule`.
        poly_power: gamma of the polynomial.
        weight_decay: L2 weight lambda.
        optimizer: `adam`, `radam` or `sgd` (momentum 0.9).
        new_factor: multiple of the learning rate for the layers that no weights file brings.
        bias_factor: multiple of the learning rate for biases.
        step_epochs: epochs between two drops of the learning rate in the schedule `step`.
        step_factor: of a drop.
        positive_share: probability that a drawn slice has a positive label; None draws all slices once an epoch.
        positive_weight: weight of positive labels in the loss.
        backbone_weights: weights file of the trunk (torchvision's key names), or None.
        amp: mixed precision on GPUs.
        num_workers: processes that load data.
    """

    name = "classify"
    writes = "classifier"
    trains = True

    def __init__(
        self,
        network: PooledClassifier,
        augmentation: Transform,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        poly_power: float = 0.9,
        weight_decay: float = 0.0,
        optimizer: str = "adam",
        new_factor: float = 1.0,
        bias_factor: float = 1.0,
        schedule: str = "polynomial",
        step_epochs: int = 5,
        step_factor: float = 0.1,
        positive_share: float | None = None,
        positive_weight: float | None = None,
        backbone_weights: str | None = None,
        amp: bool = True,
        num_workers: int = 0,
        **place: Any,
    ) -> None:
        super().__init__(**place)
        self.network = network
        self.transform = Compose([LoadSliced(keys=["image"]), augmentation])
        self.epochs, self.batch_size, self.num_workers = epochs, batch_size, num_workers
        if optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer}")
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule}")
        self.learning_rate, self.weight_decay, self.optimizer = learning_rate, weight_decay, optimizer
        self.factors: dict[str, Any] = {"new_factor": new_factor, "bias_factor": bias_factor}
        self.schedule: dict[str, Any] = {
            "name": schedule,
            "power": poly_power,
            "step_epochs": step_epochs,
            "step_factor": step_factor,
        }
        if positive_share is not None and not 0 < positive_share < 1:
            raise ValueError(f"positive_share must lie between 0 and 1, got {positive_share}")
        self.positive_share, self.positive_weight = positive_share, positive_weight
        self.backbone_weights = backbone_weights
        self.amp = amp and self.device.type == "cuda"

    def items(self, split: str) -> list[dict[str, Any]]:
        """Slices of a split with at least one known label.

        Raises:
            InputError: the split has none or no positive one, or a class lacks one of the two answers in training.
        """
        found = slice_items(self.dataset.cases(split), self.cache, len(self.dataset.labels))
        found = [item for item in found if is_known(item["classes"]).any()]
        path = self.dataset_dir / "dataset.json"
        if not found:
            raise InputError(f"{path}: no labelled slice in {split}; change the split")
        classes = np.stack([item["classes"] for item in found])
        if not is_present(classes).any():
            raise InputError(f"{path}: no positive slice in {split}; change the split or label more cases")
        for label, answers in zip(self.dataset.labels, classes.T, strict=True):
            for given, word in ((is_present, "positive"), (is_absent, "negative")):
                if split == "training" and not given(answers).any():
                    advice = "leave the class out (prepare --classes)"
                    raise InputError(f"{path}: no {word} slice of class {label} in training; {advice}")
        return found

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Train; write `model.pt` and the validation scores."""
        if self.backbone_weights:
            keys = load_backbone(self.network, self.backbone_weights)
            logger.info("classify: %d tensors from %s", len(keys), self.backbone_weights)
        training, validation = self.items("training"), self.items("validation")
        network = to_device(self.network, self.device)
        loader = self._loader(training)
        groups = parameter_groups(network, self.learning_rate, _NEW, **self.factors)
        optimizer = make_optimizer(self.optimizer, groups, self.weight_decay)
        schedule = make_schedule(optimizer=optimizer, epochs=self.epochs, epoch_length=len(loader), **self.schedule)
        trainer, evaluator = lowest_loss_trainer(
            network,
            optimizer,
            schedule,
            WeightedBCELoss(self.positive_weight),
            loader,
            self._loader(validation, train=False),
            Loss(WeightedBCELoss(), output_transform=loss_output),
            name=self.name,
            folder=self.folder,
            epochs=self.epochs,
            device=self.device,
            amp=self.amp,
            seed=self.seed,
            transform=self.transform,
            log=tracker.log_metrics,
            prepare_batch=prepare_classification_batch,
        )
        trainer.run()
        load_weights(self.network, self.folder / "model.pt").to(self.device)
        scores = self._validation_scores(validation)
        self._picture(tracker)
        best = evaluator.state.best_metric_epoch if evaluator else self.epochs
        return {"best_epoch": best, **scores}

    def _loader(self, items: list[dict[str, Any]], train: bool = True) -> DataLoader:
        dataset = Dataset(items, self.transform if train else LoadSliced(keys=["image"]))
        sampler: Any = training_sampler(dataset, items, self.positive_share) if train else None
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            # A last batch of one has no batch statistics.
            drop_last=sampler is not None and len(sampler) > self.batch_size,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )

    @torch.no_grad()
    def _validation_scores(self, items: list[dict[str, Any]]) -> dict[str, float]:
        """AUC, F1 and calibration error on the hard validation labels, mean over the classes where they are defined."""
        self.network.eval()
        logits = [self.network(batch["image"].to(self.device)).cpu() for batch in self._loader(items, train=False)]
        probability = torch.cat(logits).float().sigmoid()
        truth = torch.stack([torch.as_tensor(item["classes"]) for item in items])
        means = {}
        for name, score in (("val_auc", auc), ("val_f1", f1), ("val_ece", expected_calibration_error)):
            hard = torch.from_numpy(is_certain(truth)).T
            values = [score(probability[rows, k], truth[rows, k]) for k, rows in enumerate(hard)]
            defined = [value for value in values if value is not None]
            if defined:
                means[name] = float(np.mean(defined))
        return means

    @torch.no_grad()
    def _picture(self, tracker: Tracker) -> None:
        images = [self.volume(case)[index] for case, index in picture_slices(self.dataset, self.cache)]
        chances = [float(self.network(image[None].to(self.device)).float().sigmoid().max()) for image in images]
        title = "probability " + ", ".join(f"{chance:.2f}" for chance in chances)
        save_panel(self.folder / "preview.png", {title: [image.numpy() for image in images]}, {}, tracker)
