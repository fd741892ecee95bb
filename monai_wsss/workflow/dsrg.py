"""dsrg: train a segmenter on seeds that grow while it learns."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, Transform
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.data import Case, write_array
from monai_wsss.data.presence import is_absent, is_present
from monai_wsss.engines import (
    label_map,
    load_weights,
    lowest_loss_trainer,
    make_optimizer,
    make_schedule,
    parameter_groups,
    to_device,
    training_sampler,
)
from monai_wsss.engines.optimizer import OPTIMIZERS, SCHEDULES
from monai_wsss.engines.supervision_snapshots import SupervisionSnapshots, supervision_labels
from monai_wsss.losses.dsrg import DSRGLoss
from monai_wsss.losses.label_grid import labels_on_grid
from monai_wsss.networks import with_backbone
from monai_wsss.transforms import LoadSliced
from monai_wsss.workflow.cached_stage import CachedStage
from monai_wsss.workflow.crf_labels import body_of
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.pseudo_mask_items import has_lesion, pseudo_mask_items
from monai_wsss.workflow.seed_labels import seed_labels
from monai_wsss.workflow.tracking import Tracker

logger = logging.getLogger(__name__)

_SEEDS = "dsrg/seeds"
_IGNORE = 255
_NEW = "last"  # the layers of DeepLab-v2 that no backbone's file holds
_PROBE = 64  # pixels, the side of the image that shows a network's channels


class DSRGStage(CachedStage):
    """Trains a segmenter by DSRG's loss; seeds are pseudo masks with unlabelled pixels (255). Writes `dsrg/model.pt`.

    The seeds are written to `seeds/<case>.npy`, see `seed_labels`. A positive slice whose lesion seeds fall between the
    cells of the network's grid would teach background, and is left out. Kept are the weights of the last epoch, as in
    the paper. `supervision/<epoch, 4 digits>/<case>.npy` shows what the loss learns from in some training cases, uint8
    `(D, h, w)` on the network's grid: 0 background, k + 1 class k, 255 unlabelled; see `SupervisionSnapshots`. A slice
    that is labelled neither present for a class nor absent for all is 255 there.

    Args:
        network: segmenter with a softmax head of K + 1 channels.
        augmentation: random transforms of an item's `image` and `label`.
        loss: `DSRGLoss`.
        epochs: passes over the training slices.
        batch_size: slices a step.
        masks: folder of the run that holds the pseudo masks.
        background: a pixel of the body stays a background seed if all its class maps are below this, in (0, 1]; the
            rest of the background is unlabelled, so that seeds can grow. None takes the masks as they are.
        inside_body: look for the body, where the preprocessing does; else all of the image is body.
        learning_rate: at the start of the schedule.
        optimizer: `adam`, `radam` or `sgd`.
        momentum: of SGD.
        weight_decay: L2 weight.
        decay_biases: False has no weight decay for biases, as the published code; the paper is silent.
        new_factor: multiple of the learning rate for DeepLab-v2's last layers; other segmenters have none.
        bias_factor: multiple of the learning rate for biases.
        schedule: `polynomial` or `step`, see `make_schedule`.
        poly_power: gamma of the polynomial.
        step_epochs: epochs between two drops in the schedule `step`.
        step_factor: of a drop.
        negatives_per_positive: training slices without a lesion for each with one; None = all.
        positive_share: probability that a drawn slice has a positive label; None draws all slices once an epoch.
        backbone_weights: weights file of the encoder, or None.
        snapshot_epochs: epochs between two pictures of the supervision; 0 = none.
        snapshot_cases: training cases with a positive label in them, at most; drawn with the run's seed.
        amp: mixed precision on GPUs.
        num_workers: processes that load data.

    Raises:
        ValueError: a head with another number of channels, or a bad value.

    Source: Huang et al., DSRG, CVPR 2018, Section 4.1; factors of the learning rate from the published code.
    """

    name = "dsrg"
    writes = "dsrg"
    trains = True

    def __init__(
        self,
        network: nn.Module,
        augmentation: Transform,
        loss: DSRGLoss,
        epochs: int,
        batch_size: int = 20,
        masks: str = "pseudo_masks/refined",
        background: float | None = None,
        inside_body: bool = True,
        learning_rate: float = 5e-4,
        optimizer: str = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        decay_biases: bool = False,
        new_factor: float = 10.0,
        bias_factor: float = 2.0,
        schedule: str = "step",
        poly_power: float = 0.9,
        step_epochs: int = 4,
        step_factor: float = 0.1,
        negatives_per_positive: float | None = None,
        positive_share: float | None = None,
        backbone_weights: str | None = None,
        snapshot_epochs: int = 0,
        snapshot_cases: int = 20,
        amp: bool = True,
        num_workers: int = 0,
        **place: Any,
    ) -> None:
        super().__init__(**place)
        for key, value, known in (("optimizer", optimizer, OPTIMIZERS), ("schedule", schedule, SCHEDULES)):
            if value not in known:
                raise ValueError(f"{key} must be one of {', '.join(known)}, got {value}")
        if positive_share is not None and not 0 < positive_share < 1:
            raise ValueError(f"positive_share must lie between 0 and 1, got {positive_share}")
        if snapshot_epochs < 0 or snapshot_cases < 0:
            raise ValueError(
                f"snapshot_epochs and snapshot_cases must be >= 0, got {snapshot_epochs} and {snapshot_cases}"
            )
        channels = _output_channels(network, self.preprocessing.channels)
        if channels != len(self.dataset.labels) + 1:
            raise ValueError(
                f"the dsrg stage needs a softmax head of {len(self.dataset.labels) + 1} channels, background and each "
                f"class; the segmenter has {channels}; set out_channels"
            )
        if background is not None and not 0 < background <= 1:
            raise ValueError(f"background_seed must be above 0 and at most 1, got {background}")
        self.reads = (Path(masks).parts[0], *(() if background is None else ("seeds",)))
        self.network, self.loss, self.masks = network, loss, masks
        self.background, self.inside_body = background, inside_body and self.preprocessing.inside_body
        self.seeds = masks if background is None else _SEEDS
        self.transform = Compose([LoadSliced(keys=["image", "label"]), augmentation])
        self.epochs, self.batch_size, self.num_workers = epochs, batch_size, num_workers
        self.optimizer, self.momentum, self.weight_decay = optimizer, momentum, weight_decay
        self.rates: dict[str, Any] = {
            "learning_rate": learning_rate,
            "new": [_NEW] if hasattr(network, _NEW) else [],
            "new_factor": new_factor,
            "bias_factor": bias_factor,
            "decay_biases": decay_biases,
        }
        self.schedule: dict[str, Any] = {
            "name": schedule,
            "power": poly_power,
            "step_epochs": step_epochs,
            "step_factor": step_factor,
        }
        self.negatives_per_positive, self.positive_share = negatives_per_positive, positive_share
        self.backbone_weights = backbone_weights
        self.snapshot_epochs, self.snapshot_cases = snapshot_epochs, snapshot_cases
        self.amp = amp and self.device.type == "cuda"

    def items(self) -> list[dict[str, Any]]:
        """Training slices with their seeds, see `pseudo_mask_items`, but those whose lesion seeds no cell holds."""
        found = pseudo_mask_items(
            str(self.dataset_dir),
            str(self.run_folder),
            "training",
            self.preprocessing,
            self.negatives_per_positive,
            self.seed,
            folders=[self.seeds],
        )
        return [item for item in found if not has_lesion(*item["label"][0]) or self._on_grid(*item["label"][0])]

    def _on_grid(self, path: str, index: int) -> bool:
        """True if a lesion seed of slice `index` is left on the network's grid."""
        labels = torch.from_numpy(np.load(path, mmap_mode="r")[index].copy())[None, None]
        cells = labels_on_grid(labels, [-(-side // self.loss.stride) for side in labels.shape[2:]])
        return bool(((cells > 0) & (cells < _IGNORE)).any())

    def write_seeds(self, background: float) -> float:
        """Write the seeds of what is learnt from or shown; returns how much of slices with a lesion is unlabelled."""
        unlabelled = pixels = 0
        for case in (*self.dataset.cases("training"), *self.dataset.cases("validation")):
            masks, maps = (
                torch.from_numpy(np.load(self.run_folder / folder / f"{case.case}.npy"))
                for folder in (self.masks, "seeds")
            )
            volume = self.volume(case)
            body = torch.ones_like(volume[:, :1], dtype=torch.bool)
            if self.inside_body:
                body = body_of(volume, self.preprocessing.windows is not None)
            absent = torch.from_numpy(is_absent(self.slice_labels(case, len(maps))).all(axis=1))
            seeds = seed_labels(masks[:, None], maps.float(), background, body, absent)[:, 0]
            write_array(self.run_folder / _SEEDS / f"{case.case}.npy", seeds.numpy())
            lesion = seeds[((seeds > 0) & (seeds < _IGNORE)).flatten(1).any(dim=1)]
            unlabelled, pixels = unlabelled + int((lesion == _IGNORE).sum()), pixels + lesion.numel()
        return unlabelled / max(pixels, 1)

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Train; write `model.pt`, the supervision's pictures and a preview.

        Raises:
            InputError: nothing to train on, or a backbone's file that does not fit.
        """
        share = None
        if self.background is not None and (not dist.is_initialized() or dist.get_rank() == 0):
            share = self.write_seeds(self.background)
            if share == 0 and self.loss.grow:
                logger.warning("dsrg: no pixel is unlabelled, so no seed can grow; lower background_seed")
        if dist.is_initialized():
            dist.barrier()
        training = self.items()
        network = to_device(with_backbone(self.network, self.backbone_weights), self.device)
        loader = self._loader(training)
        groups = parameter_groups(network, **self.rates)
        optimizer = make_optimizer(self.optimizer, groups, self.weight_decay, self.momentum)
        shown = self.shown_cases()
        trainer, _ = lowest_loss_trainer(
            network,
            optimizer,
            make_schedule(optimizer=optimizer, epochs=self.epochs, epoch_length=len(loader), **self.schedule),
            self.loss,
            loader,
            None,  # the paper keeps the last epoch
            None,
            name=self.name,
            folder=self.folder,
            epochs=self.epochs,
            device=self.device,
            amp=self.amp,
            seed=self.seed,
            transform=self.transform,
            log=tracker.log_metrics,
            prepare_batch=prepare_seed_batch,
            handlers=[self._snapshots(shown)] if shown else [],
        )
        trainer.run()
        load_weights(self.network, self.folder / "model.pt").to(self.device).eval()
        self._picture(tracker)
        positive = sum(bool(is_present(item["classes"]).any()) for item in training)
        return {
            "training_slices": len(training),
            "positive_slices": positive,
            **({} if share is None else {"share_unlabelled": share}),
            "best_epoch": self.epochs,
            "snapshot_cases": len(shown),
        }

    def shown_cases(self) -> list[Case]:
        """Training cases whose supervision is written down, in their order."""
        if not self.snapshot_epochs:
            return []
        found = [
            case
            for case in self.dataset.cases("training")
            if is_present(case.classes if case.slice_classes is None else case.slice_classes).any()
        ]
        drawn = np.random.default_rng(self.seed).permutation(len(found))[: self.snapshot_cases]
        return [found[i] for i in sorted(drawn.tolist())]

    def seeds_of(self, case: Case) -> Tensor:
        """Seeds of a case, uint8 `(D, 1, H, W)`; 255 in slices that are labelled neither present nor absent."""
        seeds = torch.from_numpy(np.load(self.run_folder / self.seeds / f"{case.case}.npy"))[:, None]
        rows = self.slice_labels(case, len(seeds))
        seeds[torch.from_numpy(~is_present(rows).any(axis=1) & ~is_absent(rows).all(axis=1))] = _IGNORE
        return seeds

    def _snapshots(self, cases: list[Case]) -> SupervisionSnapshots:
        by_name = {case.case: case for case in cases}
        return SupervisionSnapshots(
            self.network,
            self.loss,
            list(by_name),
            lambda name: (self.volume(by_name[name]), self.seeds_of(by_name[name])),
            self.folder / "supervision",
            self.epochs,
            self.snapshot_epochs,
            self.batch_size,
            self.device,
        )

    def _loader(self, items: list[dict[str, Any]]) -> DataLoader:
        dataset = Dataset(items, self.transform)
        sampler: Any = training_sampler(dataset, items, self.positive_share)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=len(items) > self.batch_size and len(items) % self.batch_size == 1,  # one has no batch statistics
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )

    @torch.no_grad()
    def _picture(self, tracker: Tracker) -> None:
        images: list[np.ndarray] = []
        marks: dict[str, list[np.ndarray]] = {"seeds": [], "grown seeds": [], "segmenter": []}
        for case, index in picture_slices(self.dataset, self.cache):
            images.append(self.volume(case)[index].numpy())
            image, seeds = self.volume(case)[index, None].to(self.device), self.seeds_of(case)[index, None]
            grown = supervision_labels(self.network, self.loss, image, seeds.to(self.device))[:, None].float()
            marks["seeds"].append(seeds[0, 0].numpy())
            marks["grown seeds"].append(F.interpolate(grown, image.shape[2:]).to(torch.uint8)[0, 0].cpu().numpy())
            marks["segmenter"].append(label_map(self.network(image))[0].cpu().numpy())
        rows = dict.fromkeys(("image", *marks), images)
        save_panel(self.folder / "preview.png", rows, marks, tracker)


def prepare_seed_batch(
    batch: dict[str, Tensor], device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Image `(B, C, H, W)`, and for `DSRGLoss` the labels `(B, 1, H, W)`, uint8, and the image once more."""
    image = batch["image"].to(device, non_blocking=non_blocking, **kwargs)
    return image, (batch["label"].to(device, torch.uint8, non_blocking=non_blocking), image)


@torch.no_grad()
def _output_channels(network: nn.Module, in_channels: int) -> int:
    training = network.training
    channels = network.eval()(torch.zeros(1, in_channels, _PROBE, _PROBE)).shape[1]
    network.train(training)
    return channels
