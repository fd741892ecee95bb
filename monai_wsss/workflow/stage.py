"""A stage of a pipeline."""

import logging
import math
import shutil
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch.distributed as dist

from monai_wsss.data import PreparedDataset
from monai_wsss.engines.checkpoint import RESUME_FILE
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import PLACE_IDS, config_hash, effective_config
from monai_wsss.workflow.manifest import Manifest, folder_hash
from monai_wsss.workflow.start import select_device
from monai_wsss.workflow.tracking import Tracker

logger = logging.getLogger(__name__)


class NothingToDo(Exception):  # noqa: N818 - a way to end a stage early, not an error
    """Raised by a stage whose work does not apply here; the message says why."""


class Stage(ABC):
    """Reads its declared inputs, writes one folder, leaves one record in run.json and one child run in MLflow.

    A subclass names what it reads and writes and gives `work`. A stage that ended well with the same config and the
    same inputs is not run again.

    Args:
        dataset_dir: prepared folder (`dataset.json`, `cache/`).
        output_dir: run folder.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        seed: seed of the run.
        tracking_uri: `auto`, `none` or an MLflow tracking URI.
    """

    name: str
    reads: tuple[str, ...] = ()  # of the class, or of an object whose config chooses
    writes: str
    trains: ClassVar[bool] = False  # True: every process of a distributed run takes part, not the first alone

    def __init__(
        self, dataset_dir: str, output_dir: str, device: str = "auto", seed: int = 0, tracking_uri: str = "auto"
    ) -> None:
        self.dataset_dir = Path(dataset_dir)
        self.run_folder = Path(output_dir)
        self.folder = self.run_folder / self.writes
        self.device = select_device(device)
        self.seed = seed
        self.tracking_uri = tracking_uri
        self.force = False
        self.backbone_weights: str | None = None  # a stage that starts from a weights file sets it
        self._dataset: PreparedDataset | None = None

    @property
    def dataset(self) -> PreparedDataset:
        """The prepared data set, read once."""
        if self._dataset is None:
            self._dataset = PreparedDataset.read(self.dataset_dir)
        return self._dataset

    @abstractmethod
    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Do the stage's work into `self.folder` and return a summary of plain numbers."""

    def _inputs(self) -> dict[str, str | None]:
        inputs = {"dataset": folder_hash(self.dataset_dir / "dataset.json")}
        for name in self.reads:
            inputs[name] = folder_hash(self.run_folder / name)
            if inputs[name] is None:
                raise InputError(f"{self.run_folder / name}: not there; run the stage that writes {name} first")
        if self.backbone_weights:  # another file of the same name trains anew
            inputs["backbone"] = folder_hash(Path(self.backbone_weights))
            if inputs["backbone"] is None:
                raise InputError(f"{self.backbone_weights}: no such file; give the backbone's weights")
        return inputs

    def run(self) -> dict[str, Any]:
        """Run the stage unless it is already done; returns its record."""
        first = not dist.is_initialized() or dist.get_rank() == 0
        if not first:
            if self._agree() and self.trains:
                self.work(Tracker("none", self.run_folder, self.name))
            dist.barrier()
            return {}
        record = self._run_recorded()
        if dist.is_initialized():
            dist.barrier()
        return record

    @staticmethod
    def _agree(runs: bool | None = None) -> bool:
        """Tell the other processes of a distributed run whether the stage runs; they call it without an argument."""
        answer = [runs]
        if dist.is_initialized():
            dist.broadcast_object_list(answer, src=0)
        return bool(answer[0])

    def _run_recorded(self) -> dict[str, Any]:
        found = effective_config()
        config = {} if found is None else found[0]
        manifest = Manifest(self.run_folder)
        digest, inputs = config_hash(config), self._inputs()
        if not self.force and manifest.finished(self.name, digest, inputs, self.folder):
            logger.info("%s: already done", self.name)
            self._agree(False)
            return manifest.stage(self.name)
        earlier = manifest.stage(self.name)
        if manifest.drop_others(self.name, self.writes):  # refine and walk write the same folder
            shutil.rmtree(self.folder, ignore_errors=True)
        resumes = earlier.get("status") in ("running", "failed") and not self.force
        if not earlier:
            (self.folder / RESUME_FILE).unlink(missing_ok=True)  # nothing says which config this epoch is of
        elif not (resumes and earlier["config"] == digest and earlier["inputs"] == inputs):
            shutil.rmtree(self.folder, ignore_errors=True)  # another config's files, or an epoch of it, must not stay
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest.begin(self.name, digest, inputs, self.seed, self.device)
        self._agree(True)
        began = time.perf_counter()
        status = "failed"
        values: dict[str, Any] = {}
        try:
            with Tracker(self.tracking_uri, self.run_folder, self.name) as tracker:
                tracker.log_params(_hyperparameters(config))
                try:
                    values = {"summary": {k: _plain(v) for k, v in self.work(tracker).items()}}
                    tracker.log_metrics({k: v for k, v in values["summary"].items() if isinstance(v, (int, float))})
                    status = "done"
                except NothingToDo as reason:
                    logger.info("%s: skipped, %s", self.name, reason)
                    status, values = "skipped", {"reason": str(reason)}
                tracker.log_metrics({"seconds": time.perf_counter() - began})
        finally:
            manifest = Manifest(self.run_folder)  # the tracker wrote to it as well
            values |= {"writes": self.writes, "output": folder_hash(self.folder)}
            manifest.end(self.name, status, time.perf_counter() - began, **values)
        return manifest.stage(self.name)


def _plain(value: Any) -> Any:
    """None in place of NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """The flat values of a config; ids of place are paths of this machine and stay here."""
    return {k: v for k, v in config.items() if isinstance(v, int | float | str) and k not in PLACE_IDS}
