"""relabel: masks of the training images by the segmenter that DSRG trained."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from monai_wsss.data import Case, write_array
from monai_wsss.data.laterality import mirror_classes
from monai_wsss.data.presence import is_absent, is_present
from monai_wsss.engines import Heartbeat, load_weights, on_device
from monai_wsss.errors import InputError
from monai_wsss.inferers.multi_scale_segmenter import MultiScaleSegmenter
from monai_wsss.ops import dense_crf
from monai_wsss.workflow.crf_labels import CRFStage, unit_range
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker

_IGNORE = 255
_USED = ("training", "validation")  # nothing learns from a test mask
_UNUSED = 0.5  # CRFStage's trust in hard labels; here the unary term is the segmenter's probability


class RelabelStage(CRFStage):
    """Writes `relabelled/<case>.npy`, uint8 `(D, H, W)`, of the training and validation split.

    ``labels = argmax CRF(softmax(z), image)``, z being the segmenter's logits over several scales

    Masks hold 0 for background and k + 1 for class k. A slice labelled absent for every class is background. One with
    a class present (from 0.5, see `is_present`) is segmented; its other classes, unknown ones too, are left out before
    the CRF, which then has only the labels that the image can hold. Of any other slice nothing is known: 255.

    Args:
        network: segmenter with a softmax head; its weights are read from `dsrg/model.pt`.
        scales: factors on the image's size, see `MultiScaleSegmenter`.
        flips: also take the mirror image at every scale.
        flip_axis: spatial axis that is mirrored; 0 is the patient's left.
        batch_size: slices at once.
        restrict_to_labels: False lets every class in, as the published run script does; absent slices stay background.
        crf_and_place: `crf_*` (but no `crf_confidence`; `crf_min_share` counts for nothing) and `inside_body` of
            `CRFStage`, and a stage's place;
            `crf_iterations: 0` is no CRF.

    Raises:
        ValueError: bad scales, or flips where a class names a side without a partner.

    Source: Huang et al., DSRG, CVPR 2018, Section 4.1 ("retrain"); scales 0.75, 1, 1.25 and the restriction to the
    image's labels from the published code.
    """

    name = "relabel"
    reads = ("dsrg", "seeds")
    writes = "relabelled"

    def __init__(
        self,
        network: nn.Module,
        scales: Sequence[float] = (0.75, 1.0, 1.25),
        flips: bool = False,
        flip_axis: int = 0,
        batch_size: int = 8,
        restrict_to_labels: bool = True,
        **crf_and_place: Any,
    ) -> None:
        super().__init__(crf_confidence=_UNUSED, **crf_and_place)
        self.network, self.batch_size, self.restrict = network, batch_size, restrict_to_labels
        order = mirror_classes(self.dataset.labels)
        self.segmenter = MultiScaleSegmenter(network, scales, flips, flip_axis, order)

    def labels(self, logits: Tensor, image: Tensor, present: Tensor) -> Tensor:
        """Labels `(H, W)` of a slice's logits `(L, H, W)`, image `(C, H, W)` in [0, 1] and classes `(K,)`, bool."""
        kept = torch.arange(len(logits))
        if self.restrict:
            kept = torch.cat([kept[:1], present.nonzero().flatten() + 1])
        probability = logits[kept].softmax(dim=0)[None]
        if self.crf.iterations:
            probability = dense_crf(probability, image[None], **self.crf.mean_field)
        return kept[probability[0].argmax(dim=0)]

    def masks(self, cases: Sequence[Case], volumes: Sequence[Tensor]) -> Sequence[Tensor]:
        """Masks of some cases, uint8 `(D, 1, H, W)` each, of images `(D, C, H, W)` each."""
        rows = np.concatenate([self.slice_labels(*pair) for pair in zip(cases, map(len, volumes), strict=True)])
        present = torch.from_numpy(is_present(rows))
        present &= torch.cat([self._open(*pair) for pair in zip(cases, volumes, strict=True)])
        images, grey = torch.cat(list(volumes)), torch.cat([unit_range(volume) for volume in volumes])
        masks = torch.full_like(images[:, :1], _IGNORE, dtype=torch.uint8)
        masks[torch.from_numpy(is_absent(rows).all(axis=1))] = 0
        for batch in present.any(dim=1).nonzero().flatten().split(self.batch_size):
            for row, logits in zip(batch.tolist(), self.segmenter(images[batch].to(self.device)).cpu(), strict=True):
                masks[row, 0] = self.labels(logits, grey[row], present[row])
        parts = masks.split([len(volume) for volume in volumes])
        return [self._in_body(part, volume) for part, volume in zip(parts, volumes, strict=True)]

    def _open(self, case: Case, volume: Tensor) -> Tensor:
        """Classes that a slice may have, bool `(D, K)`: in a study with one label those with a seed in the slice."""
        if case.slice_classes is not None or len(volume) == 1:
            return torch.ones(len(volume), len(self.dataset.labels), dtype=torch.bool)
        seeds = np.load(self.run_folder / "seeds" / f"{case.case}.npy", mmap_mode="r")
        return torch.from_numpy(seeds.any(axis=(2, 3)))

    def _in_body(self, masks: Tensor, volume: Tensor) -> Tensor:
        lesion = (masks > 0) & (masks < _IGNORE)
        return masks.masked_fill(lesion & ~self.body(volume), 0) if bool(lesion.any()) else masks

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Write the masks of every case that is learnt from.

        Raises:
            InputError: not one of them holds a lesion.
        """
        on_device(load_weights(self.network, self.run_folder / "dsrg" / "model.pt"), self.device).eval()
        cases = [case for split in _USED for case in self.dataset.cases(split)]
        counts = {"slices": 0, "slices_with_mask": 0, "mask_pixels": 0}
        heartbeat, done = Heartbeat("relabel: case", len(cases)), 0
        for group, volumes in self.groups(cases, self.batch_size):
            for case, masks in zip(group, self.masks(group, volumes), strict=True):
                write_array(self.folder / f"{case.case}.npy", masks[:, 0].numpy())
                lesion = (masks > 0) & (masks < _IGNORE)
                counts["slices"] += len(masks)
                counts["slices_with_mask"] += int(lesion.flatten(1).any(dim=1).sum())
                counts["mask_pixels"] += int(lesion.sum())
                heartbeat.beat(done := done + 1)
        self._picture(tracker)
        if not counts["slices_with_mask"]:
            raise InputError(
                f"{self.folder}: the first segmenter finds no lesion; look at dsrg/preview.png, train it longer "
                "(dsrg_epochs) or at another rate (dsrg_learning_rate)"
            )
        return counts

    def _picture(self, tracker: Tracker) -> None:
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i].numpy() for case, i in chosen]
        masks = [np.load(self.folder / f"{case.case}.npy", mmap_mode="r")[i] for case, i in chosen]
        rows = {"image": images, "relabelled": images}
        save_panel(self.folder / "preview.png", rows, {"relabelled": masks}, tracker)
