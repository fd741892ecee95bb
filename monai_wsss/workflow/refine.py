"""refine: from class maps to pseudo masks, by threshold and dense CRF."""

from typing import Any

import numpy as np
import torch

from monai_wsss.data import Case, write_array
from monai_wsss.engines import Heartbeat
from monai_wsss.workflow.crf_labels import CRFStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker


class RefineStage(CRFStage):
    """Writes `pseudo_masks/refined/<case>.npy` (thresholded maps) and `pseudo_masks/crf/<case>.npy`, uint8 `(D, H, W)`.

    Both hold 0 for background and k + 1 for class k.

    Args:
        threshold: T of Eq. 12, on maps in [0, 1].
        crf_and_place: `crf_*` and `inside_body` of `CRFStage`, and a stage's place.
    """

    name = "refine"
    reads = ("seeds",)
    writes = "pseudo_masks"

    def __init__(self, threshold: float, **crf_and_place: Any) -> None:
        super().__init__(**crf_and_place)
        self.threshold = threshold

    def refined_masks(self, case: Case, volume: torch.Tensor) -> torch.Tensor:
        """Thresholded class maps, uint8 `(D, 1, H, W)`."""
        maps = torch.from_numpy(np.load(self.run_folder / "seeds" / f"{case.case}.npy")).float()
        return self.thresholded(maps, self.threshold, volume)

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Write both masks of every case."""
        counts = {"slices_with_refined_mask": 0, "slices_with_crf_mask": 0, "refined_pixels": 0, "crf_pixels": 0}
        heartbeat = Heartbeat("refine: case", len(self.dataset.cases()))
        for done, case in enumerate(self.dataset.cases(), start=1):
            volume = self.volume(case)
            refined = self.refined_masks(case, volume)
            crf = self.crf.labels(refined, volume)
            for kind, masks in (("refined", refined), ("crf", crf)):
                write_array(self.folder / kind / f"{case.case}.npy", masks[:, 0].numpy())
                counts[f"slices_with_{kind}_mask"] += int(masks.flatten(1).any(dim=1).sum())
                counts[f"{kind}_pixels"] += int((masks > 0).sum())
            heartbeat.beat(done)
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i].numpy() for case, i in chosen]
        marks = {
            f"{kind} mask": [np.load(self.folder / kind / f"{case.case}.npy")[i] for case, i in chosen]
            for kind in ("refined", "crf")
        }
        save_panel(self.folder / "preview.png", dict.fromkeys(marks, images), marks, tracker)
        return counts
