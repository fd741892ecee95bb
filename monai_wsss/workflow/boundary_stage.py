"""What the stages have in common that train a boundary network on confident masks."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import Loss
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, Transform
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.data import Case, slice_items
from monai_wsss.data.presence import is_present
from monai_wsss.engines import (
    load_weights,
    lowest_loss_trainer,
    make_optimizer,
    make_schedule,
    to_device,
    training_sampler,
)
from monai_wsss.errors import InputError
from monai_wsss.networks import load_backbone
from monai_wsss.networks.nets.benet import BoundaryNetwork
from monai_wsss.transforms import LoadSliced
from monai_wsss.workflow.cached_stage import CachedStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.pseudo_mask_items import has_lesion
from monai_wsss.workflow.tracking import Tracker


class BoundaryStage(CachedStage):
    """Trains a boundary network on the slices labelled positive whose confident mask has a lesion pixel.

    Kept is the epoch with the lowest loss on the validation split's confident masks, or the last one if that split has
    no such slice. SGD with the poly schedule lr = lr_0 (1 - step / steps)^power.

    Args:
        network: on a classifier's backbone.
        augmentation: random transforms of an item's `image` and `label` (the confident mask).
        epochs: passes over the training slices.
        batch_size: slices a step.
        momentum: of SGD.
        learning_rate: lr_0, of the boundary branch.
        weight_decay: L2 weight.
        poly_power: gamma of the schedule.
        backbone_weights: weights file of the backbone (torchvision's key names); None takes `classifier/model.pt`.
        amp: mixed precision on GPUs.
        num_workers: processes that load data.
        place: of `CachedStage`.
    """

    reads = ("classifier", "confident_masks")
    trains = True
    loss: nn.Module  # a subclass sets it: of the network's output and the labels (B, 1, H, W) of the images' size

    def __init__(
        self,
        network: BoundaryNetwork,
        augmentation: Transform,
        *,
        epochs: int,
        batch_size: int,
        momentum: float,
        learning_rate: float = 0.1,
        weight_decay: float = 1e-4,
        poly_power: float = 0.9,
        backbone_weights: str | None = None,
        amp: bool = True,
        num_workers: int = 0,
        **place: Any,
    ) -> None:
        super().__init__(**place)
        self.network = network
        self.transform = Compose([LoadSliced(keys=["image", "label"]), augmentation])
        self.epochs, self.batch_size, self.num_workers = epochs, batch_size, num_workers
        self.learning_rate, self.poly_power = learning_rate, poly_power
        self.weight_decay, self.momentum = weight_decay, momentum
        self.backbone_weights = backbone_weights
        self.amp = amp and self.device.type == "cuda"

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained, and its learning rates."""

    def finish(self, training: list[dict[str, Any]]) -> None:
        """Complete the chosen epoch's network, which is loaded; `training` are the items."""

    def marks(self, chosen: Sequence[tuple[Case, int]]) -> dict[str, list[np.ndarray]]:
        """Further rows of the preview, of some cases' slices; see `save_panel`."""
        return {}

    def items(self, split: str) -> list[dict[str, Any]]:
        """Slices of a split that are labelled positive (from 0.5) and have a lesion pixel in their confident mask."""
        masks = self.run_folder / "confident_masks"
        found = slice_items(self.dataset.cases(split), self.cache, len(self.dataset.labels), {"label": masks})
        return [item for item in found if is_present(item["classes"]).any() and has_lesion(*item["label"])]

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Train; write `model.pt` and a preview.

        Raises:
            InputError: nothing to train on, or a backbone's file that does not fit.
        """
        training, validation = self.items("training"), self.items("validation")
        if not training:
            raise InputError(
                f"{self.run_folder / 'confident_masks'}: no positive slice of training has a lesion pixel; look at the "
                "preview, lower foreground_threshold"
            )
        if self.backbone_weights:
            load_backbone(self.network.backbone, self.backbone_weights)
        else:
            load_weights(self.network.backbone, self.run_folder / "classifier" / "model.pt")
        network = to_device(self.network, self.device)
        loader = self._loader(training)
        optimizer = make_optimizer("sgd", self.parameter_groups(), self.weight_decay, self.momentum)
        schedule = make_schedule("polynomial", optimizer, self.epochs, len(loader), self.poly_power)
        trainer, evaluator = lowest_loss_trainer(
            network,
            optimizer,
            schedule,
            self.loss,
            loader,
            self._loader(validation, train=False) if validation else None,
            Loss(self.loss, output_transform=_prediction_and_label),
            name=self.name,
            folder=self.folder,
            epochs=self.epochs,
            device=self.device,
            amp=self.amp,
            seed=self.seed,
            transform=self.transform,
            log=tracker.log_metrics,
        )
        trainer.run()
        load_weights(self.network, self.folder / "model.pt").to(self.device).eval()
        self.finish(training)
        self._picture(tracker)
        return {
            "training_slices": len(training),
            "validation_slices": len(validation),
            "best_epoch": evaluator.state.best_metric_epoch if evaluator else self.epochs,
            **({"val_loss": evaluator.state.best_metric} if evaluator else {}),
        }

    def _loader(self, items: list[dict[str, Any]], train: bool = True) -> DataLoader:
        dataset = Dataset(items, self.transform if train else LoadSliced(keys=["image", "label"]))
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=training_sampler(dataset, items) if train else None,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )

    @torch.no_grad()
    def _picture(self, tracker: Tracker) -> None:
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[index] for case, index in chosen]
        boundaries = []
        for image in images:
            boundary = self.network.boundary(image[None].to(self.device), flips=False)
            boundaries.append(F.interpolate(boundary, size=image.shape[1:], mode="bilinear")[0, 0].cpu().numpy())
        pictures, marks = [image.numpy() for image in images], self.marks(chosen) | {"boundary": boundaries}
        save_panel(self.folder / "preview.png", dict.fromkeys(["image", *marks], pictures), marks, tracker)


def _prediction_and_label(output: Mapping[str, Any]) -> tuple[Any, Tensor]:
    return output["pred"], output["label"]
