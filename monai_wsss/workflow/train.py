"""train: the segmenter, supervised by pseudo masks in training and validation alike."""

from collections.abc import Sequence
from typing import Any

import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer

from monai_wsss.engines import EpochLog, label_map, load_weights
from monai_wsss.workflow.cached_stage import CachedStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker


class TrainStage(CachedStage):
    """Runs the trainer that `train.yaml` wires and tracks it.

    The trainer's own handlers save `segmenter/model.pt`, the epoch that agrees best with the validation split's pseudo
    masks.

    Args:
        trainer: MONAI's stock trainer.
        evaluator: MONAI's stock evaluator, run after each epoch by the trainer.
        network: the network, not wrapped, for the preview picture.
        backbone_weights: file that the encoder's weights came from, or None; the config has loaded it.
        folders: of the run, whose masks are learnt from, see `mask_folders`; with those of DSRG the training starts
            from the weights of `dsrg/`.
    """

    name = "train"
    writes = "segmenter"
    trains = True

    def __init__(
        self,
        trainer: SupervisedTrainer,
        evaluator: SupervisedEvaluator,
        network: torch.nn.Module,
        backbone_weights: str | None = None,
        folders: Sequence[str] = ("pseudo_masks/crf",),
        **place: Any,
    ) -> None:
        super().__init__(**place)
        tops = dict.fromkeys(name.split("/")[0] for name in folders)
        self.reads = (*tops, "dsrg") if "relabelled" in tops else tuple(tops)
        self.trainer, self.evaluator, self.network = trainer, evaluator, network
        self.backbone_weights = backbone_weights

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Train; write `model.pt` and a preview."""
        # After the handlers that validate and before the one that removes the resume file
        EpochLog(tracker.log_metrics, self.evaluator, self.name).attach(self.trainer)
        self.trainer.run()
        load_weights(self.network, self.folder / "model.pt").to(self.device).eval()
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i] for case, i in chosen]
        with torch.no_grad():
            logits = [self.network(image[None].to(self.device)).cpu() for image in images]
        labels = [label_map(values)[0].numpy() for values in logits]
        pictures = [image.numpy() for image in images]
        save_panel(self.folder / "preview.png", {"segmenter": pictures}, {"segmenter": labels}, tracker)
        state = self.evaluator.state
        return {
            "training_slices": _size(self.trainer),
            "validation_slices": _size(self.evaluator),
            "best_epoch": state.best_metric_epoch,
            "agreement": state.best_metric,
        }


def _size(engine: Any) -> int:
    return len(engine.data_loader.dataset)
