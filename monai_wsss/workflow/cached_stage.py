"""A stage that works on the cached volumes of the prepared data set."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_wsss.data import Case, build_cache, cache_folder
from monai_wsss.engines import Heartbeat
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.stage import Stage


def open_cache(dataset_dir: Path, cases: Sequence[Case], preprocessing: GridPreprocessing) -> Path:
    """Cache folder of these preprocessing parameters; what is missing in it is built first.

    Raises:
        InputError: a volume that was readable when the folder was prepared and is not now.
    """
    parameters = preprocessing.parameters
    folder = cache_folder(dataset_dir, parameters)
    heartbeat = Heartbeat("preprocessing: case", len(cases))
    skipped = build_cache(cases, folder, preprocessing, parameters, heartbeat.beat)
    if skipped:
        raise InputError(f"{skipped[0].file}: {skipped[0].reason}; run prepare again ({len(skipped)} such volumes)")
    return folder


class CachedStage(Stage):
    """Stage with the volumes on the network's grid at hand.

    Args:
        preprocessing: the deterministic preprocessing whose cache is read (and built where it is missing).
        labels: the bundle's class names; their number must be the data set's.
        place: `dataset_dir`, `output_dir`, `device`, `seed`, `tracking_uri` of `Stage`.

    Raises:
        InputError: another number of classes than the data set has.
    """

    def __init__(self, preprocessing: GridPreprocessing, labels: list[str], **place: Any) -> None:
        super().__init__(**place)
        self.preprocessing = preprocessing
        if len(labels) != len(self.dataset.labels):
            raise InputError(
                f"{self.dataset_dir / 'dataset.json'}: {len(self.dataset.labels)} classes, the bundle has "
                f"{len(labels)}; set labels to {self.dataset.labels}"
            )
        self._cache: Path | None = None

    @property
    def cache(self) -> Path:
        """Cache folder, complete for all cases of the data set."""
        if self._cache is None:
            self._cache = open_cache(self.dataset_dir, self.dataset.cases(), self.preprocessing)
        return self._cache

    def volume(self, case: Case) -> torch.Tensor:
        """Preprocessed volume `(D, C, H, W)`, read whole."""
        return torch.from_numpy(np.load(self.cache / f"{case.case}.npy"))

    def groups(self, cases: Sequence[Case], batch_size: int) -> Iterator[tuple[list[Case], list[torch.Tensor]]]:
        """Cases with their volumes, in order, as many at once as fill a batch of slices: films have one slice each."""
        group: list[Case] = []
        volumes: list[torch.Tensor] = []
        for case in cases:
            group.append(case)
            volumes.append(self.volume(case))
            if sum(map(len, volumes)) >= batch_size:
                yield group, volumes
                group, volumes = [], []
        if group:
            yield group, volumes

    def slice_labels(self, case: Case, depth: int) -> np.ndarray:
        """Image-level labels of each slice, `(D, K)`, 0 to 1 or -1 (unknown).

        A volume without slice labels hands its own to each slice: absent then holds for each, present for at least one.
        Which ones, the seeds say.
        """
        rows = case.slice_classes if case.slice_classes is not None else [case.classes] * depth
        return np.asarray(rows, dtype=np.float32).reshape(depth, len(self.dataset.labels))
