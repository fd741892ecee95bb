"""refine: from class maps to pseudo masks, by thresholds and, if wanted, a dense CRF."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from monai_wsss.data import Case, write_array
from monai_wsss.engines import Heartbeat
from monai_wsss.workflow.crf_labels import CRFStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker

logger = logging.getLogger(__name__)

_MOST_EMPTIED = 0.2  # share of the masks that a CRF may wipe out unsaid


class RefineStage(CRFStage):
    """Writes `pseudo_masks/refined/<case>.npy` (thresholded maps) and `pseudo_masks/crf/<case>.npy`, uint8 `(D, H, W)`.

    Both hold 0 for background and k + 1 for class k.

    Args:
        threshold: T of Eq. 12, on maps in [0, 1]; one value or one a class.
        with_crf: write `crf` as well.
        crf_and_place: `crf_*` and `inside_body` of `CRFStage`, and a stage's place.
    """

    name = "refine"
    reads = ("seeds",)
    writes = "pseudo_masks"

    def __init__(self, threshold: float | Sequence[float], with_crf: bool = True, **crf_and_place: Any) -> None:
        super().__init__(**crf_and_place)
        self.threshold = threshold
        self.kinds = ("refined", "crf") if with_crf else ("refined",)

    def refined_masks(self, case: Case, volume: torch.Tensor) -> torch.Tensor:
        """Thresholded class maps, uint8 `(D, 1, H, W)`."""
        maps = torch.from_numpy(np.load(self.run_folder / "seeds" / f"{case.case}.npy")).float()
        return self.thresholded(maps, self.threshold, volume)

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Write the masks of every case."""
        counts = {f"{kind}_pixels": 0 for kind in self.kinds}
        counts |= {f"slices_with_{kind}_mask": 0 for kind in self.kinds}
        heartbeat = Heartbeat("refine: case", len(self.dataset.cases()))
        for done, case in enumerate(self.dataset.cases(), start=1):
            volume = self.volume(case)
            masks = {"refined": self.refined_masks(case, volume)}
            if "crf" in self.kinds:
                masks["crf"] = self.crf.labels(masks["refined"], volume)
            for kind, labels in masks.items():
                write_array(self.folder / kind / f"{case.case}.npy", labels[:, 0].numpy())
                counts[f"slices_with_{kind}_mask"] += int(labels.flatten(1).any(dim=1).sum())
                counts[f"{kind}_pixels"] += int((labels > 0).sum())
            heartbeat.beat(done)
        _warn_of_emptied(counts)
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i].numpy() for case, i in chosen]
        marks = {
            f"{kind} mask": [np.load(self.folder / kind / f"{case.case}.npy")[i] for case, i in chosen]
            for kind in self.kinds
        }
        save_panel(self.folder / "preview.png", dict.fromkeys(marks, images), marks, tracker)
        return counts


def _warn_of_emptied(counts: Mapping[str, int]) -> None:
    """Say so if the CRF leaves many slices without a mask, against their labels."""
    masks = counts["slices_with_refined_mask"]
    emptied = masks - counts.get("slices_with_crf_mask", masks)
    if emptied > _MOST_EMPTIED * masks:
        logger.warning(
            "refine: the CRF leaves nothing of the mask in %d of %d slices; raise crf_min_share, or lower threshold or "
            "crf_weight_bilateral",
            emptied,
            masks,
        )
