"""classify: train a classifier; image-level labels are the only supervision."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import Loss
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, Transform

from monai_wsss.data.bags import bag_items, has_studies
from monai_wsss.data.presence import is_certain
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
from monai_wsss.engines.prepare_batch import collate_bags, prepare_bag_batch
from monai_wsss.losses import WeightedBCELoss
from monai_wsss.metrics import auc, expected_calibration_error, f1
from monai_wsss.networks import load_backbone
from monai_wsss.networks.nets.bag_classifier import BAG_POOLINGS, BagClassifier
from monai_wsss.transforms import LoadSliced
from monai_wsss.transforms.load_bag import LoadBag
from monai_wsss.workflow.cached_stage import CachedStage
from monai_wsss.workflow.classification_items import classification_items
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker

logger = logging.getLogger(__name__)

_NEW = ("head", "fc")  # submodules of a classifier that no backbone's file holds
_LEARNT = 0.6  # of an AUC; of few images it says little either way, so that the warning names their number


class ClassifyStage(CachedStage):
    """Trains the classifier on slices; the epoch with the lowest validation loss on image-level labels is kept.

    A study of several slices with one label for all of them is a bag, whose logit is pooled from those of its slices,
    see `BagClassifier`. Where there is one, a step takes `bag_batch_size` of them, and `batch_size` slices pass the
    network at once. Slices with labels of their own may stand beside; `batch_size` of them count as `bag_batch_size`
    studies.

    Args:
        network: images `(B, C, H, W)` to logits `(B, K)`; `seed` asks for class maps too, see `PooledClassifier`.
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
        positive_share: probability that a drawn slice or study has a positive label; None draws each once an epoch.
        positive_weight: weight of positive labels in the loss.
        backbone_weights: weights file of the trunk (torchvision's key names), or None.
        bag_pooling: `log_sum_exp`, `attention`, or `none`: a study's label is that of each of its slices.
        bag_sharpness: s of the pooling, in 1 / units of a logit.
        bag_batch_size: studies a step.
        bag_slices: most slices of a study in a step; of larger ones so many are drawn, spread over the volume.
            Validation takes them all.
        amp: mixed precision on GPUs.
        num_workers: processes that load data.

    Raises:
        ValueError: an unknown optimizer, schedule or pooling, or a number out of range.
    """

    name = "classify"
    writes = "classifier"
    trains = True

    def __init__(
        self,
        network: torch.nn.Module,
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
        bag_pooling: str = "log_sum_exp",
        bag_sharpness: float = 1.0,
        bag_batch_size: int = 2,
        bag_slices: int = 64,
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
        if bag_pooling not in (*BAG_POOLINGS, "none"):
            raise ValueError(f"bag_pooling must be one of {', '.join(BAG_POOLINGS)}, none, got {bag_pooling}")
        if bag_batch_size < 1 or bag_slices < 1:
            raise ValueError(f"bag_batch_size and bag_slices must be >= 1, got {bag_batch_size} and {bag_slices}")
        self.bag_batch_size, self.bag_slices = bag_batch_size, bag_slices
        self.bags = None if bag_pooling == "none" else BagClassifier(network, bag_pooling, bag_sharpness, batch_size)

    def items(self, split: str) -> list[dict[str, Any]]:
        """Slices of a split with at least one known label, see `classification_items`."""
        return classification_items(str(self.dataset_dir), split, self.preprocessing)

    def bagged(self, split: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """`items` of a split as bags; slices with labels of their own stand in groups, see `bag_items`."""
        whole = {case.case for case in self.dataset.cases(split) if case.slice_classes is None}
        return bag_items(items, whole, max(1, self.batch_size // self.bag_batch_size))

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Train; write `model.pt` and the validation scores."""
        if self.backbone_weights:
            keys = load_backbone(self.network, self.backbone_weights)
            logger.info("classify: %d tensors from %s", len(keys), self.backbone_weights)
        training, validation = self.items("training"), self.items("validation")
        prepare_batch: Callable[..., Any] = prepare_classification_batch
        whole: torch.nn.Module = self.network
        if self.bags is not None:
            bags = self.bagged("training", training), self.bagged("validation", validation)
            if has_studies(bags[0]) or has_studies(bags[1]):
                (training, validation), whole, prepare_batch = bags, self.bags, prepare_bag_batch
                logger.info("classify: labels of whole studies, %s pooling over their slices", self.bags.pooling)
        # Processes hold bags of several sizes, and pass the network not equally often: none may wait for the others.
        network = to_device(whole, self.device, synchronised=whole is self.network)
        loader = self._loader(training)
        new = [name for name in _NEW if hasattr(self.network, name)]
        groups = parameter_groups(self.network, self.learning_rate, new, **self.factors)
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
            prepare_batch=prepare_batch,
            keep=None if whole is self.network else self.network,
        )
        trainer.run()
        load_weights(self.network, self.folder / "model.pt").to(self.device)
        scores = self._validation_scores(validation)
        self._picture(tracker)
        best = evaluator.state.best_metric_epoch if evaluator else self.epochs
        return {"best_epoch": best, **scores}

    def _loader(self, items: list[dict[str, Any]], train: bool = True) -> DataLoader:
        transform: Any = self.transform if train else LoadSliced(keys=["image"])
        batch_size, more = self.batch_size, {}
        if bags := "lengths" in items[0]:
            transform = LoadBag(transform, self.bag_slices if train else None)
            # Validation has all slices of a study: one study at a time, whatever its size.
            batch_size, more = self.bag_batch_size if train else 1, {"collate_fn": collate_bags}
        dataset = Dataset(items, transform)
        sampler: Any = training_sampler(dataset, items, self.positive_share) if train else None
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            # A last batch of one has no batch statistics.
            drop_last=sampler is not None
            and len(sampler) > batch_size
            and (not bags or len(sampler) % batch_size == 1),
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
            **more,
        )

    @torch.no_grad()
    def _validation_scores(self, items: list[dict[str, Any]]) -> dict[str, float]:
        """AUC, F1 and calibration error on the hard validation labels, mean over the classes where they are defined."""
        self.network.eval()
        logits, classes = [], []
        for batch in self._loader(items, train=False):
            image, lengths = batch["image"].to(self.device), batch.get("lengths")
            found = self.network(image) if lengths is None or self.bags is None else self.bags(image, lengths)
            logits.append(found.cpu())
            classes.append(batch["classes"])
        probability, truth = torch.cat(logits).float().sigmoid(), torch.cat(classes)
        means = {}
        for name, score in (("val_auc", auc), ("val_f1", f1), ("val_ece", expected_calibration_error)):
            hard = torch.from_numpy(is_certain(truth)).T
            values = [score(probability[rows, k], truth[rows, k]) for k, rows in enumerate(hard)]
            defined = [value for value in values if value is not None]
            if score is auc:
                self._warn_of_chance(values, [int((truth[rows, k] >= 0.5).sum()) for k, rows in enumerate(hard)])
            if defined:
                means[name] = float(np.mean(defined))
        return means

    def _warn_of_chance(self, areas: Sequence[float | None], positives: Sequence[int]) -> None:
        """Masks come from what the classifier has learnt; say so where that is nothing."""
        for label, area, positive in zip(self.dataset.labels, areas, positives, strict=True):
            if area is not None and area < _LEARNT:
                logger.warning(
                    "classify: on validation the classifier hardly knows %s (AUC %.2f, chance is 0.50; %d positive), "
                    "so that its class maps will show little of it. Before what follows try more epochs, a lower "
                    "learning rate, weaker augmentation, or look at the labels.",
                    label,
                    area,
                    positive,
                )

    @torch.no_grad()
    def _picture(self, tracker: Tracker) -> None:
        images = [self.volume(case)[index] for case, index in picture_slices(self.dataset, self.cache)]
        chances = [float(self.network(image[None].to(self.device)).float().sigmoid().max()) for image in images]
        title = "probability " + ", ".join(f"{chance:.2f}" for chance in chances)
        save_panel(self.folder / "preview.png", {title: [image.numpy() for image in images]}, {}, tracker)
