"""train, and the stages before it that add one deconvolution each: a localiser from image-level labels."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch.nn import functional as F

from monai_wsss.data.presence import is_absent, is_certain
from monai_wsss.engines import EpochLog, label_map, load_weights, save_weights
from monai_wsss.errors import InputError
from monai_wsss.metrics import auc
from monai_wsss.ops.upper_quantile import UpperQuantile
from monai_wsss.transforms import LoadSliced
from monai_wsss.workflow.cached_stage import CachedStage
from monai_wsss.workflow.classification_items import classification_items
from monai_wsss.workflow.localiser_weights import FINAL, Localiser, localiser_folders
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker

logger = logging.getLogger(__name__)


class LocaliseStage(CachedStage):
    """Runs the trainer that `train.yaml` wires, then sets the localiser's thresholds from negative images.

    The trainer's own handlers save `model.pt`, the epoch with the lowest validation loss on image-level labels. The
    paper gives no threshold of the maps. Here it is the `threshold_quantile` quantile of a class's map over all its
    pixels in validation images without the class (training images where validation has none), kept in `model.pt`.

    Args:
        trainer: MONAI's stock trainer, `network` from `localiser_start`.
        evaluator: MONAI's stock evaluator with `ClassMapInferer`, run after each epoch by the trainer.
        network: the localiser, not wrapped, see `Localiser`.
        trained_stage: deconvolutions it has; None is `deconv_stages`, the final localiser. 0 to 2 are written to
            `baseline/`, `deconv1/`, `deconv2/`, the final one as stage `train` to `segmenter/`.
        deconv_stages: of the final localiser, 0 to 3.
        threshold_quantile: q in [0, 1]; 1 - q is the share of pixels of negative images that is taken for a lesion.
        training: `layer_by_layer` or `end_to_end`.
        backbone_weights: end to end: file that the encoder's weights came from, or None; the config has loaded it.
        place: `preprocessing`, `labels`, `dataset_dir`, `output_dir`, `device`, `seed`, `tracking_uri`.

    Raises:
        ValueError: an argument out of range.

    Source: Kim and Hwang, "Deconvolutional Feature Stacking for Weakly-Supervised Semantic Segmentation", 2016,
        section 4.1 (layer by layer) and 4.2 (end to end).
    """

    trains = True

    def __init__(
        self,
        trainer: SupervisedTrainer,
        evaluator: SupervisedEvaluator,
        network: torch.nn.Module,
        trained_stage: int | None = None,
        deconv_stages: int = 3,
        threshold_quantile: float = 0.99,
        training: str = "layer_by_layer",
        backbone_weights: str | None = None,
        **place: Any,
    ) -> None:
        if not 0 <= threshold_quantile <= 1:
            raise ValueError(f"threshold_quantile must lie in [0, 1], got {threshold_quantile}")
        written, earlier = localiser_folders(trained_stage, deconv_stages, training)
        self.name = "train" if written == FINAL else written  # of the class in other stages
        self.writes = written
        self.reads = () if earlier is None else (earlier,)
        super().__init__(**place)
        self.trainer, self.evaluator, self.network = trainer, evaluator, network
        self.localiser: Localiser = network  # type: ignore[assignment]  # a Module's attributes are unknown to mypy
        self.threshold_quantile = threshold_quantile
        self.backbone_weights = backbone_weights if earlier is None else None

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Train; write `model.pt` with its thresholds, and a preview."""
        # After the handlers that validate and before the one that removes the resume file
        EpochLog(tracker.log_metrics, self.evaluator, self.name).attach(self.trainer)
        learnt: Any = self.trainer.data_loader
        cases = self.dataset.cases("training")
        if len(learnt.dataset) > len(cases) and any(case.slice_classes is None for case in cases):
            logger.warning("%s: a study's label is taken for that of each of its slices", self.name)
        self.trainer.run()
        path = self.folder / "model.pt"
        load_weights(self.network, path).to(self.device).eval()
        validation = self.items("validation")
        scores = self._validation_auc(validation)
        thresholds = self.thresholds()
        self.localiser.threshold.copy_(torch.tensor(thresholds))
        if not dist.is_initialized() or dist.get_rank() == 0:
            save_weights(self.network, path)
        self._picture(tracker)
        names = ["threshold"] if len(thresholds) == 1 else [f"threshold_{k + 1}" for k in range(len(thresholds))]
        state = self.evaluator.state
        return {
            "training_slices": len(learnt.dataset),
            "validation_slices": len(validation),
            "best_epoch": state.best_metric_epoch,
            "val_loss": state.best_metric,
            **scores,
            **dict(zip(names, thresholds, strict=True)),
        }

    def items(self, split: str) -> list[dict[str, Any]]:
        """Labelled slices of a split."""
        return classification_items(str(self.dataset_dir), split, self.preprocessing)

    def thresholds(self) -> list[float]:
        """Threshold of each class, see above.

        Raises:
            InputError: a class that no image lacks (see `classification_items`), or maps that are not finite.
        """
        found: dict[int, float] = {}
        for split in ("validation", "training"):
            wanted = [k for k in range(len(self.dataset.labels)) if k not in found]
            found |= self._quantiles(self.items(split), wanted) if wanted else {}
        for k, label in enumerate(self.dataset.labels):
            if not np.isfinite(found[k]):
                raise InputError(f"{self.folder}: the maps of class {label} are not finite; lower the learning rate")
        return [found[k] for k in range(len(self.dataset.labels))]

    @torch.no_grad()
    def _quantiles(self, items: Sequence[dict[str, Any]], classes: Sequence[int]) -> dict[int, float]:
        """Quantile of each class that some of the items lack."""
        absent = is_absent(np.stack([item["classes"] for item in items]))
        counts = {k: int(absent[:, k].sum()) for k in classes if absent[:, k].any()}
        parts: dict[int, UpperQuantile] = {}
        for batch in self._loader([item for item, row in zip(items, absent, strict=True) if row[list(counts)].any()]):
            maps = self.localiser.lesion_maps(batch["image"].to(self.device))
            lacks = torch.from_numpy(is_absent(batch["classes"]))
            for k, count in counts.items():
                part = parts.setdefault(k, UpperQuantile(self.threshold_quantile, count * maps[0, 0].numel()))
                part.add(maps[lacks[:, k].to(maps.device), k])
        return {k: part.value() for k, part in parts.items()}

    def _loader(self, items: list[dict[str, Any]]) -> DataLoader:
        size: Any = getattr(self.evaluator.data_loader, "batch_size", None)
        return DataLoader(Dataset(items, LoadSliced(keys=["image"])), batch_size=size or 1, num_workers=0)

    @torch.no_grad()
    def _validation_auc(self, items: list[dict[str, Any]]) -> dict[str, float]:
        """AUC of the image-level logits on hard validation labels, mean over the classes where it is defined.

        Raises:
            InputError: a class whose map is 0 everywhere: its ReLU has died.
        """
        logits, truth, strongest = [], [], []
        for batch in self._loader(items):
            image = batch["image"].to(self.device)
            logits.append(self.localiser.image_logits(self.localiser.maps(image)).float().cpu())
            strongest.append(self.localiser.lesion_maps(image).flatten(2).amax(dim=(0, 2)).cpu())
            truth.append(batch["classes"])
        for label, value in zip(self.dataset.labels, torch.stack(strongest).amax(dim=0).tolist(), strict=True):
            if value == 0:
                raise InputError(
                    f"{self.folder}: the map of {label} is 0 in all validation images; set map_bias to 1, lower "
                    "the learning rate, or take another seed"
                )
        score, target = torch.cat(logits), torch.cat(truth)
        hard = torch.from_numpy(is_certain(target))
        values = [auc(score[rows, k], target[rows, k]) for k, rows in enumerate(hard.T)]
        defined = [value for value in values if value is not None]
        return {"val_auc": float(np.mean(defined))} if defined else {}

    @torch.no_grad()
    def _picture(self, tracker: Tracker) -> None:
        """Validation slices with the strongest class's map, from 0 to the row's largest value, and with the mask."""
        images = [self.volume(case)[i] for case, i in picture_slices(self.dataset, self.cache)]
        if not images:
            return
        maps, labels = [], []
        for image in images:
            found = self.localiser.lesion_maps(image[None].to(self.device)).float().amax(1, keepdim=True)
            maps.append(F.interpolate(found, size=image.shape[1:], mode="nearest")[0, 0].cpu().numpy())
            labels.append(label_map(self.network(image[None].to(self.device)))[0].cpu().numpy())
        largest = max(max(float(found.max()) for found in maps), 1e-6)
        pictures = [image.numpy() for image in images]
        rows = {"class map": [found / largest for found in maps], "lesion": labels}
        save_panel(self.folder / "preview.png", dict.fromkeys(rows, pictures), rows, tracker)
