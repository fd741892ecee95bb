"""refine: from class maps to pseudo masks, by threshold and dense CRF."""

from typing import Any

import numpy as np
import torch

from monai_wsss.data import Case, write_array
from monai_wsss.engines import Heartbeat
from monai_wsss.ops import body_mask, dense_crf, label_unary, threshold_labels
from monai_wsss.workflow.cached_stage import CachedStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker


class RefineStage(CachedStage):
    """Writes `pseudo_masks/refined/<case>.npy` (thresholded maps) and `pseudo_masks/crf/<case>.npy`, uint8 `(D, H, W)`.

    Both hold 0 for background and k + 1 for class k. Only the labels present in a slice enter its CRF.

    Args:
        threshold: T of Eq. 12, on maps in [0, 1].
        crf_confidence: probability that the CRF's unary term gives to a pixel's refined label.
        crf_sxy_gaussian: width of the smoothness kernel, mm.
        crf_weight_gaussian: its weight.
        crf_sxy_bilateral: spatial width of the appearance kernel, mm.
        crf_srgb: intensity width of the appearance kernel, on 0..255 from a volume's darkest to its brightest value.
        crf_weight_bilateral: its weight.
        crf_iterations: mean-field iterations.
        inside_body: drop lesion pixels in the air around the body, where the preprocessing looks for one.

    Widths are in pixels where the preprocessing knows no pixel size (`pixel_spacing: null`).
    """

    name = "refine"
    reads = ("seeds",)
    writes = "pseudo_masks"

    def __init__(
        self,
        threshold: float,
        crf_confidence: float,
        crf_sxy_gaussian: float,
        crf_weight_gaussian: float,
        crf_sxy_bilateral: float,
        crf_srgb: float,
        crf_weight_bilateral: float,
        crf_iterations: int,
        inside_body: bool = True,
        **place: Any,
    ) -> None:
        super().__init__(**place)
        self.threshold, self.confidence = threshold, crf_confidence
        self.inside_body = inside_body and self.preprocessing.inside_body
        spacing = self.preprocessing.parameters["pixel_spacing"] or 1.0  # mm a pixel
        self.crf: dict[str, Any] = {
            "sxy_gaussian": crf_sxy_gaussian / spacing,
            "weight_gaussian": crf_weight_gaussian,
            "sxy_bilateral": crf_sxy_bilateral / spacing,
            "srgb": crf_srgb,
            "weight_bilateral": crf_weight_bilateral,
            "iterations": crf_iterations,
        }

    def refined_masks(self, case: Case, volume: torch.Tensor) -> torch.Tensor:
        """Thresholded class maps, uint8 `(D, 1, H, W)`."""
        maps = torch.from_numpy(np.load(self.run_folder / "seeds" / f"{case.case}.npy")).float()
        labels = threshold_labels(maps, self.threshold)
        if self.inside_body and bool(labels.any()):
            inside = body_mask(volume[:, :1].movedim(0, -1)[None])  # (1, 1, H, W, D)
            labels = labels * inside[0].movedim(-1, 0).to(labels.dtype)
        return labels

    def crf_masks(self, refined: torch.Tensor, volume: torch.Tensor) -> torch.Tensor:
        """CRF labels of the slices that hold a lesion, uint8 `(D, 1, H, W)`."""
        image = (volume - volume.min()) / (volume.max() - volume.min()).clamp(min=1e-6)
        masks = torch.zeros_like(refined)
        for index in refined.flatten(1).any(dim=1).nonzero().flatten().tolist():
            present = torch.unique(torch.cat([torch.zeros(1, dtype=refined.dtype), refined[index].flatten()]))
            compact = torch.searchsorted(present, refined[index]).to(torch.uint8)
            unary = label_unary(compact[None], len(present), self.confidence)
            posterior = dense_crf(unary, image[index : index + 1], **self.crf)
            masks[index] = present[posterior.argmax(dim=1)]
        return masks

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Write both masks of every case."""
        counts = {"slices_with_refined_mask": 0, "slices_with_crf_mask": 0, "refined_pixels": 0, "crf_pixels": 0}
        heartbeat = Heartbeat("refine: case", len(self.dataset.cases()))
        for done, case in enumerate(self.dataset.cases(), start=1):
            volume = self.volume(case)
            refined = self.refined_masks(case, volume)
            crf = self.crf_masks(refined, volume)
            for kind, masks in (("refined", refined), ("crf", crf)):
                write_array(self.folder / kind / f"{case.case}.npy", masks[:, 0].numpy())
                counts[f"slices_with_{kind}_mask"] += int(masks.flatten(1).any(dim=1).sum())
                counts[f"{kind}_pixels"] += int((masks > 0).sum())
            heartbeat.beat(done)
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i, 0].numpy() for case, i in chosen]
        marks = {
            f"{kind} mask": [np.load(self.folder / kind / f"{case.case}.npy")[i] for case, i in chosen]
            for kind in ("refined", "crf")
        }
        save_panel(self.folder / "preview.png", dict.fromkeys(marks, images), marks, tracker)
        return counts
