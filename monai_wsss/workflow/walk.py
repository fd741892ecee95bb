"""walk: spread the class maps up to the learnt boundaries, and threshold them to pseudo masks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from monai_wsss.data import Case, write_array
from monai_wsss.engines import Heartbeat, load_weights
from monai_wsss.networks.nets.irnet import IRNet
from monai_wsss.ops.random_walk import random_walk
from monai_wsss.ops.small_regions import drop_small_regions
from monai_wsss.workflow.crf_labels import CRFStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker

_STRIDE = 4  # of the network's grid
_MIN_PEAK = 1e-5  # a walked map below it is nothing, and must not be stretched to 1


class WalkStage(CRFStage):
    """Writes `pseudo_masks/walk/<case>.npy`, uint8 `(D, H, W)`, and `pseudo_masks/maps/<case>.npy`.

    The masks hold 0 for background and k + 1 for class k. The maps, float16 `(D, K, H, W)` in [0, 1], are what was
    thresholded, so that other thresholds can be tried without another walk. Slices without a class map are background.

    Args:
        network: IRNet; its weights are read from `irnet/model.pt`.
        radius: of the pixel pairs, pixels of the stride-4 grid.
        beta: exponent of the affinity.
        exp_times: t; the walk has 2^t steps.
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

    Source: Ahn et al., IRNet, CVPR 2019; Viniavskyi et al., 2020, Section 3.2.
    """

    name = "walk"
    reads = ("seeds", "irnet")
    writes = "pseudo_masks"

    def __init__(
        self,
        network: IRNet,
        radius: int = 5,
        beta: float = 10.0,
        exp_times: int = 8,
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
        if normalise not in ("class", "image"):
            raise ValueError(f"normalise must be class or image, got {normalise}")
        # from 0 on, a slice without a map would be lesion
        if (np.asarray(threshold) <= 0).any() or (np.asarray(threshold) > 1).any():
            raise ValueError(f"threshold must be above 0 and at most 1, got {threshold}")
        self.network, self.batch_size, self.flip_axis = network, batch_size, flip_axis
        self.settings: dict[str, Any] = {"radius": radius, "beta": beta, "steps": 2**exp_times}
        self.threshold, self.normalise, self.final_crf = threshold, normalise, final_crf
        self.noise_min_area, self.noise_min_confidence = noise_min_area, noise_min_confidence

    def walked(self, seeds: Tensor, images: Tensor) -> Tensor:
        """Walked maps `(B, K, H, W)` in [0, 1] of class maps `(B, K, H, W)` and images `(B, C, H, W)`."""
        boundary = self.network.boundary(images, flip_axis=self.flip_axis)
        # cells of 4 x 4 pixels, cut at the end: their centres are those that the interpolation below takes
        coarse = F.avg_pool2d(seeds, _STRIDE, ceil_mode=True)
        walk = random_walk(coarse, boundary, **self.settings)
        fine = F.interpolate(walk, scale_factor=_STRIDE, mode="bilinear")[..., : seeds.shape[2], : seeds.shape[3]]
        peak = fine.amax(dim=(2, 3) if self.normalise == "class" else (1, 2, 3), keepdim=True)
        return torch.where(peak > _MIN_PEAK, fine / peak.clamp(min=_MIN_PEAK), torch.zeros_like(fine))

    def maps(self, cases: Sequence[Case], volumes: Sequence[Tensor]) -> Tensor:
        """Walked maps of all slices of some cases, float16 `(D, K, H, W)`; zero where there is no class map."""
        seeds = torch.cat([torch.from_numpy(np.load(self._seed_file(case))) for case in cases])
        images, maps = torch.cat(list(volumes)), torch.zeros_like(seeds)
        for rows in seeds.flatten(1).any(dim=1).nonzero().flatten().split(self.batch_size):
            walked = self.walked(seeds[rows].to(self.device).float(), images[rows].to(self.device))
            maps[rows] = walked.to(maps.dtype).cpu()
        return maps

    def _groups(self) -> Iterator[list[Case]]:
        """Cases in order, as many at once as fill a batch: films have one slice each."""
        group: list[Case] = []
        slices = 0
        for case in self.dataset.cases():
            group.append(case)
            slices += len(np.load(self._seed_file(case), mmap_mode="r"))
            if slices >= self.batch_size:
                yield group
                group, slices = [], 0
        if group:
            yield group

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
        """Write maps and masks of every case."""
        load_weights(self.network, self.run_folder / "irnet" / "model.pt").to(self.device).eval()
        counts = {"slices": 0, "slices_with_maps": 0, "slices_with_mask": 0, "mask_pixels": 0}
        heartbeat, done = Heartbeat("walk: case", len(self.dataset.cases())), 0
        for cases in self._groups():
            volumes = [self.volume(case) for case in cases]
            maps_of_cases = self.maps(cases, volumes).split([len(volume) for volume in volumes])
            for case, volume, maps in zip(cases, volumes, maps_of_cases, strict=True):
                masks = self.masks(maps, volume)
                write_array(self.folder / "maps" / f"{case.case}.npy", maps.numpy())
                write_array(self.folder / "walk" / f"{case.case}.npy", masks[:, 0].numpy())
                counts["slices"] += len(masks)
                counts["slices_with_maps"] += int(maps.flatten(1).any(dim=1).sum())
                counts["slices_with_mask"] += int(masks.flatten(1).any(dim=1).sum())
                counts["mask_pixels"] += int((masks > 0).sum())
                heartbeat.beat(done := done + 1)
        self._picture(tracker)
        return counts

    def _picture(self, tracker: Tracker) -> None:
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i].numpy() for case, i in chosen]
        read = [(case.case, i) for case, i in chosen]
        maps = [np.load(self.folder / "maps" / f"{name}.npy", mmap_mode="r")[i].max(0) for name, i in read]
        masks = [np.load(self.folder / "walk" / f"{name}.npy", mmap_mode="r")[i] for name, i in read]
        marks = {"walked map": maps, "pseudo mask": masks}
        save_panel(self.folder / "preview.png", dict.fromkeys(marks, images), marks, tracker)
