"""seed: multi-scale class maps of the classifier, one file per case."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer

from monai_wsss.data import Case, write_array, write_table
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.data.presence import is_present
from monai_wsss.engines import Heartbeat, load_weights, on_device
from monai_wsss.networks import PooledClassifier
from monai_wsss.ops import gate_class_maps, normalize_class_maps
from monai_wsss.workflow.cached_stage import CachedStage
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.tracking import Tracker


class SeedStage(CachedStage):
    """Writes `seeds/<case>.npy`, float16 `(D, K, H, W)` in [0, 1]: normalised, gated class maps.

    Maps are gated by the image-level label in training and validation (open from 0.5, see `is_present`; unknown counts
    as absent) and by the classifier's own probability in the test split, whose labels this stage does not read. Gated
    slices are zero. Where one label holds for a study of several slices, a class that it has is open in the slices in
    which the classifier sees it, and at least in that of its highest probability, the first of equal ones.
    `slices.csv` holds the classifier's probability of each slice.

    Args:
        network: classifier; its weights are read from `classifier/model.pt`.
        inferer: makes raw class maps `(B, K, H, W)` of a batch, for example `MultiScaleCAMInferer`.
        batch_size: slices at once.
        gate_probability: probability from which a slice counts as positive in the test split, and in a study with one
            label for all slices.
        normalise: `min_max` stretches a map from its minimum to its maximum, `max` divides its positive part by its
            maximum, see `normalize_class_maps`.
    """

    name = "seed"
    reads = ("classifier",)
    writes = "seeds"

    def __init__(
        self,
        network: PooledClassifier,
        inferer: Inferer,
        batch_size: int,
        gate_probability: float = 0.5,
        normalise: str = "min_max",
        **place: Any,
    ) -> None:
        super().__init__(**place)
        if normalise not in ("min_max", "max"):
            raise ValueError(f"seed_normalise must be min_max or max, got {normalise}")
        target = getattr(inferer, "target", None)
        if getattr(inferer, "method", "cam") != "cam" and target not in dict(network.named_modules()):
            layers = ", ".join(name for name, _ in network.named_children())
            raise ValueError(f"cam_target must be a layer of the classifier, such as {layers}; got {target}")
        self.network, self.inferer = network, inferer
        self.batch_size, self.gate_probability = batch_size, gate_probability
        self.from_zero = normalise == "max"

    def _batches(self, case: Case) -> Iterator[torch.Tensor]:
        yield from self.volume(case).split(self.batch_size)

    @torch.no_grad()
    def probabilities(self, case: Case) -> torch.Tensor:
        """Classifier's probability of each slice and class, `(D, K)`."""
        return torch.cat([self.network(batch.to(self.device)).float().sigmoid().cpu() for batch in self._batches(case)])

    def present(self, case: Case, probability: torch.Tensor) -> torch.Tensor:
        """Which classes are open in which slice of a training or validation case, bool `(D, K)`.

        Args:
            case: with its labels.
            probability: the classifier's, `(D, K)`.
        """
        labelled = torch.from_numpy(is_present(self.slice_labels(case, len(probability))))
        if case.slice_classes is not None:
            return labelled
        seen = probability >= self.gate_probability
        seen[probability.argmax(dim=0), torch.arange(seen.shape[1])] = True
        return labelled & seen

    @torch.no_grad()
    def maps(self, case: Case, present: torch.Tensor) -> torch.Tensor:
        """Normalised class maps of the slices and classes in `present` `(D, K)`; zeros elsewhere."""
        volume = self.volume(case)
        maps = torch.zeros(len(volume), present.shape[1], *volume.shape[2:])
        for rows in present.any(dim=1).nonzero().flatten().split(self.batch_size):
            raw = self.inferer(volume[rows].to(self.device), self.network).float()
            scaled = normalize_class_maps(raw, from_zero=self.from_zero)
            maps[rows] = gate_class_maps(scaled, present[rows].to(raw.device)).cpu()
        return maps

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Write the maps of every case."""
        on_device(load_weights(self.network, self.run_folder / "classifier" / "model.pt"), self.device).eval()
        rows: list[list[Any]] = []
        gated_on = slices = done = 0
        heartbeat = Heartbeat("seed: case", len(self.dataset.cases()))
        for split in SPLITS:
            for case in self.dataset.cases(split):
                probability = self.probabilities(case)
                if split == "test":
                    present = probability >= self.gate_probability
                else:
                    present = self.present(case, probability)
                write_array(self.folder / f"{case.case}.npy", self.maps(case, present).half().numpy())
                heartbeat.beat(done := done + 1)
                gated_on, slices = gated_on + int(present.any(dim=1).sum()), slices + len(probability)
                for index, values in enumerate(probability.tolist()):
                    named = zip(self.dataset.labels, values, strict=True)
                    rows += [[case.case, index, label, f"{value:.4f}"] for label, value in named]
        write_table(self.folder / "slices.csv", ("case", "slice", "class", "probability"), rows)
        self._picture(tracker)
        return {"slices": slices, "slices_with_maps": gated_on}

    def _picture(self, tracker: Tracker) -> None:
        chosen = picture_slices(self.dataset, self.cache)
        images = [self.volume(case)[i].numpy() for case, i in chosen]
        maps = [np.load(self.folder / f"{case.case}.npy", mmap_mode="r")[i].max(0) for case, i in chosen]
        save_panel(self.folder / "preview.png", {"image": images, "class map": images}, {"class map": maps}, tracker)
