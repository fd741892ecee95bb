"""walk: spread the class maps up to the learnt boundaries, and threshold them to pseudo masks."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from monai_wsss.data import Case, write_array
from monai_wsss.engines import Heartbeat, load_weights, on_device
from monai_wsss.networks.nets.benet import BoundaryNetwork, grid_size
from monai_wsss.ops.random_walk import random_walk
from monai_wsss.ops.small_regions import drop_small_regions
from monai_wsss.workflow.crf_labels import CRFStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker

logger = logging.getLogger(__name__)

_BOUNDARY = 0.05  # below it a walk hardly notices a boundary
_STRIDE = 4  # of the network's grid
_MIN_PEAK = 1e-5  # a walked map below it is nothing, and must not be stretched to 1


class WalkStage(CRFStage):
    """Writes `walk/<case>.npy`, uint8 `(D, H, W)`, `maps/<case>.npy` and `boundary/<case>.npy` to `pseudo_masks/`.

    The masks hold 0 for background and k + 1 for class k. The maps, float16 `(D, K, H, W)` in [0, 1], are what was
    thresholded, so that other thresholds can be tried without another walk. The boundaries are the network's, float16
    `(D, h, w)` in [0, 1] on the stride-4 grid. All three are 0 in slices without a class map.

    Args:
        network: IRNet or BENet.
        boundary: folder of the run whose `model.pt` has its weights: `irnet` or `bes`.
        radius: of the pixel pairs, pixels of the stride-4 grid.
        beta: exponent of the affinity.
        exp_times: t; the walk has 2^t steps.
        multiply_edge: take the class maps' values off the boundaries before the walk, as IRNet does.
        threshold: from which on a map says lesion, in [0, 1], above 0; one value or one a class.
        normalise: `class` divides each class's map by its own maximum in the slice, `image` all by the largest of them,
            as the published code does: there a weak class beside a strong one vanishes.
        batch_size: slices at once.
        final_crf: refine the masks by a dense CRF at the end.
        noise_min_area: share of the slice's grid, H x W, below which a region is small, so that it means the same at
            every matrix size; 0 switches the filter off. The paper gives no number, this default is ours.
        noise_min_confidence: a small region stays if its map reaches this anywhere in it; ours too, 0 is off.
        flip_axis: spatial axis of the mirror image with which the boundaries are averaged; 0 is the patient's left.
        crf_and_place: `crf_*` and `inside_body` of `CRFStage`, and a stage's place.

    Source: Ahn et al., IRNet, CVPR 2019; Viniavskyi et al., 2020, Section 3.2; Chen et al., BES, ECCV 2020 (beta 5).
    """

    name = "walk"
    writes = "pseudo_masks"

    def __init__(
        self,
        network: BoundaryNetwork,
        boundary: str = "irnet",
        radius: int = 5,
        beta: float = 10.0,
        exp_times: int = 8,
        multiply_edge: bool = True,
        threshold: float | Sequence[float] = 0.25,
        normalise: str = "class",
        batch_size: int = 8,
        final_crf: bool = False,
        noise_min_area: float = 0.001,
        noise_min_confidence: float = 0.5,
        flip_axis: int = 0,
        **crf_and_place: Any,
    ) -> None:
        super().__init__(**crf_and_place)
        if boundary not in ("irnet", "bes"):
            raise ValueError(f"boundary must be irnet or bes, got {boundary}")
        if normalise not in ("class", "image"):
            raise ValueError(f"normalise must be class or image, got {normalise}")
        # from 0 on, a slice without a map would be lesion
        if (np.asarray(threshold) <= 0).any() or (np.asarray(threshold) > 1).any():
            raise ValueError(f"threshold must be above 0 and at most 1, got {threshold}")
        self.reads, self.weights = ("seeds", boundary), self.run_folder / boundary / "model.pt"
        self.network, self.batch_size, self.flip_axis = network, batch_size, flip_axis
        walk = {"radius": radius, "beta": beta, "steps": 2**exp_times, "multiply_edge": multiply_edge}
        self.settings: dict[str, Any] = walk
        self.threshold, self.normalise, self.final_crf = threshold, normalise, final_crf
        self.noise_min_area, self.noise_min_confidence = noise_min_area, noise_min_confidence

    def walked(self, seeds: Tensor, boundary: Tensor) -> Tensor:
        """Walked maps `(B, K, H, W)` in [0, 1] of class maps `(B, K, H, W)` and boundaries `(B, 1, h, w)`."""
        # cells of 4 x 4 pixels, cut at the end: their centres are those that the interpolation takes
        coarse = F.avg_pool2d(seeds, _STRIDE, ceil_mode=True)
        fine = _on_pixels(random_walk(coarse, boundary, **self.settings), seeds.shape[2:])
        peak = fine.amax(dim=(2, 3) if self.normalise == "class" else (1, 2, 3), keepdim=True)
        return torch.where(peak > _MIN_PEAK, fine / peak.clamp(min=_MIN_PEAK), torch.zeros_like(fine))

    def maps(self, cases: Sequence[Case], volumes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Walked maps `(D, K, H, W)` and boundaries `(D, h, w)` of all slices of some cases, float16.

        Both are zero where there is no class map.
        """
        seeds = torch.cat([torch.from_numpy(np.load(self._seed_file(case))) for case in cases])
        images, maps = torch.cat(list(volumes)), torch.zeros_like(seeds)
        boundaries = maps.new_zeros(len(maps), *grid_size(maps))
        for rows in seeds.flatten(1).any(dim=1).nonzero().flatten().split(self.batch_size):
            boundary = self.network.boundary(images[rows].to(self.device), flip_axis=self.flip_axis)
            walked = self.walked(seeds[rows].to(self.device).float(), boundary)
            maps[rows], boundaries[rows] = walked.to(maps.dtype).cpu(), boundary[:, 0].to(maps.dtype).cpu()
        return maps, boundaries

    def _seed_file(self, case: Case) -> Path:
        return self.run_folder / "seeds" / f"{case.case}.npy"

    def masks(self, maps: Tensor, volume: Tensor) -> Tensor:
        """Pseudo masks, uint8 `(D, 1, H, W)`, of walked maps `(D, K, H, W)` and images `(D, C, H, W)`."""
        maps = maps.float()
        labels = self.thresholded(maps, self.threshold, volume)
        min_size = self.noise_min_area * maps.shape[-2] * maps.shape[-1]
        labels = drop_small_regions(labels, maps, min_size, self.noise_min_confidence)
        return self.crf.labels(labels, volume) if self.final_crf else labels

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Write maps, boundaries and masks of every case."""
        on_device(load_weights(self.network, self.weights), self.device).eval()
        names = ("slices", "slices_with_maps", "slices_with_boundary", "slices_with_mask", "mask_pixels")
        counts = dict.fromkeys(names, 0)
        heartbeat, done = Heartbeat("walk: case", len(self.dataset.cases())), 0
        for cases, volumes in self.groups(self.dataset.cases(), self.batch_size):
            depths = [len(volume) for volume in volumes]
            found = zip(*(array.split(depths) for array in self.maps(cases, volumes)), strict=True)
            for case, volume, (maps, boundary) in zip(cases, volumes, found, strict=True):
                masks = self.masks(maps, volume)
                write_array(self.folder / "boundary" / f"{case.case}.npy", boundary.numpy())
                write_array(self.folder / "maps" / f"{case.case}.npy", maps.numpy())
                write_array(self.folder / "walk" / f"{case.case}.npy", masks[:, 0].numpy())
                counts["slices"] += len(masks)
                counts["slices_with_maps"] += int(maps.flatten(1).any(dim=1).sum())
                counts["slices_with_boundary"] += int((boundary > _BOUNDARY).flatten(1).any(dim=1).sum())
                counts["slices_with_mask"] += int(masks.flatten(1).any(dim=1).sum())
                counts["mask_pixels"] += int((masks > 0).sum())
                heartbeat.beat(done := done + 1)
        if counts["slices_with_boundary"] < counts["slices_with_maps"] / 2:
            logger.warning(
                "walk: %d of %d slices with a map have no boundary, so that their maps spread all over; look at the "
                "preview, lower the learning rate of the stage before",
                counts["slices_with_maps"] - counts["slices_with_boundary"],
                counts["slices_with_maps"],
            )
        self._picture(tracker)
        return counts

    def _picture(self, tracker: Tracker) -> None:
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i].numpy() for case, i in chosen]
        maps = [array.max(0) for array in self._written("maps", chosen)]
        coarse = [torch.tensor(array, dtype=torch.float32)[None, None] for array in self._written("boundary", chosen)]
        boundaries = [_on_pixels(x, image.shape[1:])[0, 0].numpy() for x, image in zip(coarse, images, strict=True)]
        marks = {"walked map": maps, "boundary": boundaries, "pseudo mask": self._written("walk", chosen)}
        save_panel(self.folder / "preview.png", dict.fromkeys(marks, images), marks, tracker)

    def _written(self, kind: str, chosen: Sequence[tuple[Case, int]]) -> list[np.ndarray]:
        files = [(self.folder / kind / f"{case.case}.npy", index) for case, index in chosen]
        return [np.load(file, mmap_mode="r")[index] for file, index in files]


def _on_pixels(x: Tensor, size: Sequence[int]) -> Tensor:
    """From the stride-4 grid `(B, C, h, w)` to the pixels `(B, C, H, W)`, bilinear; the last cells may be cut."""
    return F.interpolate(x, scale_factor=_STRIDE, mode="bilinear")[..., : size[0], : size[1]]
