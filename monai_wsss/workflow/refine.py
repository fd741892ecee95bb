"""refine: from class maps to pseudo masks, by thresholds and, if wanted, a dense CRF."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from monai_wsss.data import Case, write_array
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.data.presence import is_absent
from monai_wsss.engines import Heartbeat
from monai_wsss.workflow.crf_labels import CRFStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker

_IGNORE = 255


class RefineStage(CRFStage):
    """Writes `pseudo_masks/refined/<case>.npy` (thresholded maps) and `pseudo_masks/crf/<case>.npy`, uint8 `(D, H, W)`.

    Both hold 0 for background and k + 1 for class k. With a threshold of the background `refined` holds seeds: 255 is
    unlabelled, and so are the air around the body, which would be half of the background and teach nothing, and slices
    without a map whose labels do not say that every class is absent. Slices whose labels do are background throughout.
    Test cases, whose labels are not read, have no unlabelled pixels.

    Args:
        threshold: T of Eq. 12, on maps in [0, 1]; one value or one a class.
        background: inside the body, a pixel whose maps all stay below it is background; above 0, not above
            `threshold`. It takes the place of a saliency model, which knows photographs. None: all that is not lesion.
        with_crf: write `crf` as well. The CRF sees unlabelled pixels as equally likely all labels.
        crf_and_place: `crf_*` and `inside_body` of `CRFStage`, and a stage's place.

    Raises:
        ValueError: a threshold out of range.

    Source: Liu et al., Mixed-UNet, 2022, Eq. 12; seeds: Huang et al., DSRG, 2018, Sec. 4.1.
    """

    name = "refine"
    reads = ("seeds",)
    writes = "pseudo_masks"

    def __init__(
        self,
        threshold: float | Sequence[float],
        background: float | None = None,
        with_crf: bool = True,
        **crf_and_place: Any,
    ) -> None:
        super().__init__(**crf_and_place)
        if background is not None and not 0 < background <= np.min(threshold):
            raise ValueError(
                f"background_seed must be above 0 and not above threshold, got {background} and {threshold}"
            )
        self.threshold, self.background = threshold, background
        self.kinds = ("refined", "crf") if with_crf else ("refined",)

    def refined_masks(self, case: Case, volume: torch.Tensor) -> torch.Tensor:
        """Thresholded class maps, uint8 `(D, 1, H, W)`."""
        return self.thresholded(self._maps(case), self.threshold, volume)

    def seed_masks(self, case: Case, volume: torch.Tensor, background: float) -> torch.Tensor:
        """Thresholded class maps with unlabelled pixels, uint8 `(D, 1, H, W)`; the case's labels are read."""
        maps, labels = self._maps(case), self.refined_masks(case, volume)
        low = (maps < background).all(dim=1, keepdim=True)
        labels[(labels == 0) & ~(low & self.body(volume))] = _IGNORE
        labels[~maps.flatten(1).any(dim=1)] = _IGNORE
        labels[torch.from_numpy(is_absent(self.slice_labels(case, len(maps))).all(axis=1))] = 0
        return labels

    def _maps(self, case: Case) -> torch.Tensor:
        return torch.from_numpy(np.load(self.run_folder / "seeds" / f"{case.case}.npy")).float()

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Write the masks of every case."""
        counts = {f"{kind}_pixels": 0 for kind in self.kinds}
        counts |= {f"slices_with_{kind}_mask": 0 for kind in self.kinds}
        unlabelled = pixels = 0  # of slices with a lesion
        heartbeat, done = Heartbeat("refine: case", len(self.dataset.cases())), 0
        for split in SPLITS:
            for case in self.dataset.cases(split):
                volume = self.volume(case)
                if self.background is None or split == "test":
                    masks = {"refined": self.refined_masks(case, volume)}
                else:
                    masks = {"refined": self.seed_masks(case, volume, self.background)}
                    seeds = masks["refined"][_has_lesion(masks["refined"])]
                    unlabelled, pixels = unlabelled + int((seeds == _IGNORE).sum()), pixels + seeds.numel()
                if "crf" in self.kinds:
                    masks["crf"] = self.crf.labels(masks["refined"], volume)
                for kind, labels in masks.items():
                    write_array(self.folder / kind / f"{case.case}.npy", labels[:, 0].numpy())
                    counts[f"slices_with_{kind}_mask"] += int(_has_lesion(labels).sum())
                    counts[f"{kind}_pixels"] += int(((labels > 0) & (labels < _IGNORE)).sum())
                heartbeat.beat(done := done + 1)
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i].numpy() for case, i in chosen]
        marks = {
            f"{kind} mask": [np.load(self.folder / kind / f"{case.case}.npy")[i] for case, i in chosen]
            for kind in self.kinds
        }
        save_panel(self.folder / "preview.png", dict.fromkeys(marks, images), marks, tracker)
        return counts | ({} if self.background is None else {"share_unlabelled": unlabelled / max(pixels, 1)})


def _has_lesion(labels: torch.Tensor) -> torch.Tensor:
    return ((labels > 0) & (labels < _IGNORE)).flatten(1).any(dim=1)
