"""irnet: train the boundary and displacement branches of IRNet on confident masks."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from ignite.metrics import Loss
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, Transform
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.data import slice_items
from monai_wsss.data.presence import is_present
from monai_wsss.engines import (
    load_weights,
    lowest_loss_trainer,
    make_optimizer,
    make_schedule,
    save_weights,
    to_device,
    training_sampler,
)
from monai_wsss.errors import InputError
from monai_wsss.losses.affinity import AffinityLoss
from monai_wsss.networks import load_backbone
from monai_wsss.networks.nets.irnet import IRNet
from monai_wsss.transforms import LoadSliced
from monai_wsss.workflow.cached_stage import CachedStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.pseudo_mask_items import has_lesion
from monai_wsss.workflow.tracking import Tracker


class IRNetStage(CachedStage):
    """Trains IRNet on the slices labelled positive whose confident mask has a lesion pixel.

    Kept is the epoch with the lowest loss on the validation split's confident masks, or the last one if that split has
    no such slice. The mean displacement of the training images is stored in the network afterwards.

    Args:
        network: IRNet on a classifier.
        augmentation: random transforms of an item's `image` and `label` (the confident mask).
        epochs: passes over the training slices.
        batch_size: slices a step.
        learning_rate: of the boundary branch, at the start of the poly schedule lr = lr_0 (1 - step / steps)^power.
        displacement_factor: multiple of it for the displacement branch.
        weight_decay: L2 weight.
        momentum: of SGD. The paper gives none, and by a slip of the published code its checkpoints had 1e-4, so none.
        poly_power: gamma of the schedule.
        radius: of the pixel pairs, pixels of the stride-4 grid.
        backbone_weights: weights file of the backbone (torchvision's key names); None takes `classifier/model.pt`.
        amp: mixed precision on GPUs.
        num_workers: processes that load data.

    Source: Ahn et al., IRNet, CVPR 2019; values of Viniavskyi et al.'s published code (2020) for chest films.
    """

    name = "irnet"
    reads = ("classifier", "confident_masks")
    writes = "irnet"
    trains = True

    def __init__(
        self,
        network: IRNet,
        augmentation: Transform,
        epochs: int = 10,
        batch_size: int = 24,
        learning_rate: float = 0.1,
        displacement_factor: float = 10.0,
        weight_decay: float = 1e-4,
        momentum: float = 0.0,
        poly_power: float = 0.9,
        radius: int = 10,
        backbone_weights: str | None = None,
        amp: bool = True,
        num_workers: int = 0,
        **place: Any,
    ) -> None:
        super().__init__(**place)
        self.network = network
        self.transform = Compose([LoadSliced(keys=["image", "label"]), augmentation])
        self.epochs, self.batch_size, self.num_workers = epochs, batch_size, num_workers
        self.learning_rate, self.displacement_factor = learning_rate, displacement_factor
        self.weight_decay, self.momentum, self.poly_power = weight_decay, momentum, poly_power
        self.loss = GridLoss(AffinityLoss(radius))
        self.backbone_weights = backbone_weights
        self.amp = amp and self.device.type == "cuda"

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
        rates = {"boundary": self.learning_rate, "displacement": self.displacement_factor * self.learning_rate}
        branches = self.network.trainable_parameters()
        groups = [{"params": branches[name], "lr": rate} for name, rate in rates.items()]
        optimizer = make_optimizer("sgd", groups, self.weight_decay, self.momentum)
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
        self._store_mean_shift(training)
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
    def _store_mean_shift(self, items: list[dict[str, Any]]) -> None:
        """Displacements are learnt from differences alone: their mean is free, and is taken away at inference."""
        self.network.set_mean_shift(torch.zeros_like(self.network.mean_shift))
        total = torch.zeros(len(self.network.mean_shift), dtype=torch.float64)
        for batch in self._loader(items, train=False):
            displacement = self.network(batch["image"].to(self.device))[1]
            total += displacement.double().mean(dim=(2, 3)).sum(dim=0).cpu()
        self.network.set_mean_shift((total / len(items)).float())
        if not dist.is_initialized() or dist.get_rank() == 0:
            save_weights(self.network, self.folder / "model.pt")

    @torch.no_grad()
    def _picture(self, tracker: Tracker) -> None:
        images = [self.volume(case)[index] for case, index in picture_slices(self.dataset, self.cache)]
        marks = []
        for image in images:
            boundary = self.network.boundary(image[None].to(self.device), flips=False)
            marks.append(F.interpolate(boundary, size=image.shape[1:], mode="bilinear")[0, 0].cpu().numpy())
        pictures = [image.numpy() for image in images]
        rows = {"image": pictures, "boundary": pictures}
        save_panel(self.folder / "preview.png", rows, {"boundary": marks}, tracker)


class GridLoss(nn.Module):
    """A loss on the network's own grid, to which the labels are brought.

    Args:
        loss: of boundary logits, displacement and labels.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
        """Loss of `(boundary logits, displacement)` with labels `(B, 1, H, W)` of the images' size."""
        boundary, displacement = prediction
        # nearest-exact: the pixel in the middle of a cell, as the seeds' and the walked maps' grid has it
        labels = F.interpolate(labels.float(), size=boundary.shape[2:], mode="nearest-exact").to(torch.uint8)
        return self.loss(boundary, displacement, labels)


def _prediction_and_label(output: Mapping[str, Any]) -> tuple[Any, Tensor]:
    return output["pred"], output["label"]
