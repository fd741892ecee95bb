"""confident: from class maps to confident masks, with ignored pixels where two thresholds disagree."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_wsss.data import Case, write_array
from monai_wsss.data.presence import is_absent
from monai_wsss.engines import Heartbeat
from monai_wsss.ops import threshold_labels
from monai_wsss.ops.confident_labels import confident_labels
from monai_wsss.ops.small_regions import drop_small_regions
from monai_wsss.workflow.crf_labels import CRFStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker

_IGNORE = 255
_USED = ("training", "validation")  # nothing learns from a test mask, and the CRF is dear


class ConfidentMaskStage(CRFStage):
    """Writes `confident_masks/<case>.npy`, uint8 `(D, H, W)`: 0 background, k + 1 class k, 255 ignore.

    The maps are thresholded twice and each label map is refined by a CRF; see `confident_labels` for what is kept of
    the two. A slice without any map is background where every class is absent for certain, and ignored otherwise.
    Small regions with low confidence are ignored. Masks of the training and validation split are written.

    Args:
        foreground_threshold: from which on a map says lesion, in [0, 1]; one value or one a class.
        background_threshold: below which a map says background, the same; above 0, not above `foreground_threshold`.
        noise_min_area: share of the slice's grid, H x W, below which a region is small, so that it means the same at
            every matrix size; 0 switches the filter off. The paper gives no number, this default is ours.
        noise_min_confidence: a small region stays if its map reaches this anywhere in it; ours too, 0 is off.
        crf_and_place: `crf_*` and `inside_body` of `CRFStage`, and a stage's place.

    Source: Ahn et al., IRNet, CVPR 2019 (0.30 and 0.05 in the published code); Viniavskyi et al., 2020, Section 3.1.
    """

    name = "confident"
    reads = ("seeds",)
    writes = "confident_masks"

    def __init__(
        self,
        foreground_threshold: float | Sequence[float] = 0.30,
        background_threshold: float | Sequence[float] = 0.05,
        noise_min_area: float = 0.001,
        noise_min_confidence: float = 0.5,
        **crf_and_place: Any,
    ) -> None:
        super().__init__(**crf_and_place)
        low, high = np.asarray(background_threshold), np.asarray(foreground_threshold)
        if (low <= 0).any() or (low > high).any() or (high > 1).any():  # from 0 on, a slice without a map is lesion
            raise ValueError(
                "background_threshold must be above 0 and not above foreground_threshold, and that at most 1, got "
                f"{background_threshold} and {foreground_threshold}"
            )
        self.foreground_threshold, self.background_threshold = foreground_threshold, background_threshold
        self.noise_min_area, self.noise_min_confidence = noise_min_area, noise_min_confidence

    def masks(self, maps: Tensor, volume: Tensor) -> Tensor:
        """Confident masks, uint8 `(D, 1, H, W)`, of slices with maps `(D, K, H, W)` and images `(D, C, H, W)`."""
        low = self.thresholded(maps, self.background_threshold, volume)
        high = threshold_labels(maps, self.foreground_threshold) * (low > 0)  # the same body
        foreground = self.crf.labels(high, volume)
        background = foreground if torch.equal(high, low) else self.crf.labels(low, volume)
        labels = confident_labels(foreground, background)
        min_size = self.noise_min_area * maps.shape[-2] * maps.shape[-1]
        return drop_small_regions(labels, maps, min_size, self.noise_min_confidence, fill=_IGNORE)

    def case_masks(self, case: Case) -> tuple[Tensor, Tensor]:
        """Masks of a case, uint8 `(D, 1, H, W)`, and which slices have a map `(D,)`."""
        maps = torch.from_numpy(np.load(self.run_folder / "seeds" / f"{case.case}.npy")).float()
        volume = self.volume(case)
        mapped = maps.flatten(1).any(dim=1)
        absent = torch.from_numpy(is_absent(self.slice_labels(case, len(maps))).all(axis=1))
        masks = torch.zeros(len(maps), 1, *maps.shape[2:], dtype=torch.uint8)
        if bool(mapped.any()):
            masks = self.masks(maps, volume)
        masks[~mapped & ~absent] = _IGNORE
        return masks, mapped

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Write the masks of every case that is learnt from."""
        cases = [case for split in _USED for case in self.dataset.cases(split)]
        counts = {"slices": 0, "slices_with_maps": 0, "slices_with_foreground": 0}
        pixels = np.zeros(3)  # foreground, background and ignored, of slices with maps
        heartbeat = Heartbeat("confident: case", len(cases))
        for done, case in enumerate(cases, start=1):
            masks, mapped = self.case_masks(case)
            write_array(self.folder / f"{case.case}.npy", masks[:, 0].numpy())
            lesion = (masks > 0) & (masks < _IGNORE)
            counts["slices"] += len(masks)
            counts["slices_with_maps"] += int(mapped.sum())
            counts["slices_with_foreground"] += int(lesion.flatten(1).any(dim=1).sum())
            pixels += [int(kind[mapped].sum()) for kind in (lesion, masks == 0, masks == _IGNORE)]
            heartbeat.beat(done)
        self._picture(tracker)
        names = ("share_foreground", "share_background", "share_ignored")
        return counts | dict(zip(names, (pixels / max(pixels.sum(), 1)).tolist(), strict=True))

    def _picture(self, tracker: Tracker) -> None:
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i].numpy() for case, i in chosen]
        masks = [np.load(self.folder / f"{case.case}.npy", mmap_mode="r")[i] for case, i in chosen]
        marks = {"confident mask": masks, "ignored": [0.5 * (mask == _IGNORE) for mask in masks]}
        save_panel(self.folder / "preview.png", dict.fromkeys(marks, images), marks, tracker)
