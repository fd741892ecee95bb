"""infer: masks in the source's geometry, with statistics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator

from monai_wsss.data import cache_folder, write_table
from monai_wsss.data.case_resolver import ALIAS_COLUMNS, ALIASES
from monai_wsss.engines import Heartbeat, SkippingDataset, label_map
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import folder_hash
from monai_wsss.workflow.pictures import picture_slices, save_panel
from monai_wsss.workflow.stage import Stage
from monai_wsss.workflow.statistics import case_statistics, slice_statistics
from monai_wsss.workflow.tracking import Tracker

_STATISTICS = ("case", "class", "probability", "voxels", "ml", "components")
_SLICES = ("case", "slice", "class", "probability", "voxels")
_SKIPPED = ("file", "reason")
_NETWORKS = ("segmenter", "classifier")  # whose weights these are, in order


class InferStage(Stage):
    """Runs the evaluator that `inference.yaml` wires: one mask a case, `statistics.csv`, `slices.csv`, `skipped.csv`.

    Args:
        evaluator: MONAI's stock evaluator; its postprocessing writes the masks and leaves the saved mask in `pred`.
        labels: class names, for the tables.
        weights: the checkpoint files that must be there: the segmenter's, and the classifier's if there is one. Where
            all lie in the run folder, they say which of its folders are read.
        predictions_dir: folder to write; None is `predictions` in the run folder.
    """

    name = "infer"
    writes = "predictions"

    def __init__(
        self,
        evaluator: SupervisedEvaluator,
        labels: list[str],
        weights: list[str],
        predictions_dir: str | None = None,
        **place: Any,
    ) -> None:
        super().__init__(**place)
        # Apart from `folder`, which is emptied before it is written anew: this one may hold other things.
        self.predictions_dir = Path(predictions_dir) if predictions_dir else self.folder
        self.evaluator, self.labels, self.weights = evaluator, labels, weights
        self._of_run = all(Path(path).is_relative_to(self.run_folder) for path in weights)
        if self._of_run:
            self.reads = tuple(Path(path).relative_to(self.run_folder).parts[0] for path in weights)
        self._statistics: list[list[Any]] = []
        self._slices: list[list[Any]] = []
        self._progress: Callable[[int, int], None] | None = None
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._collect)

    @property
    def cases(self) -> SkippingDataset:
        """The evaluator's data set."""
        loader: Any = self.evaluator.data_loader
        return loader.dataset

    def _inputs(self) -> dict[str, str | None]:
        """Weights that an exported bundle brings along are no folders of the run."""
        if self._of_run:
            return super()._inputs()
        inputs = {name: folder_hash(Path(path)) for name, path in zip(_NETWORKS, self.weights, strict=False)}
        return {"dataset": folder_hash(self.dataset_dir / "dataset.json"), **inputs}

    def run(self) -> dict[str, Any]:
        """Predict the test split of a prepared folder as a recorded stage, or every volume of any other folder."""
        if (self.dataset_dir / "dataset.json").exists():
            return super().run()
        return self.predict(self.predictions_dir)

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Predict the test split of the prepared folder."""
        self.labels = list(self.dataset.labels)
        if len(self.cases.data) == 0:
            raise InputError(f"{self.dataset_dir / 'dataset.json'}: no test case; change the split")
        summary = self.predict(self.predictions_dir)
        self._picture(tracker)
        return summary

    def _picture(self, tracker: Tracker) -> None:
        """What inference says of the slices that every stage shows, its gate included."""
        preprocessing: Any = self.cases.transform
        cache = cache_folder(self.dataset_dir, preprocessing.parameters)
        if any(not (cache / f"{case.case}.npy").exists() for case in self.dataset.cases("validation")):
            return  # another preprocessing than the data set was trained with
        chosen = picture_slices(self.dataset, cache)
        images = [torch.from_numpy(np.load(cache / f"{case.case}.npy", mmap_mode="r")[i].copy()) for case, i in chosen]
        with torch.no_grad():
            volumes = [image[None, ..., None].to(self.device) for image in images]
            logits = [self.evaluator.inferer(volume, self.evaluator.network) for volume in volumes]
        labels = [label_map(values)[0, ..., 0].cpu().numpy() for values in logits]
        pictures = [image.numpy() for image in images]
        save_panel(self.predictions_dir / "preview.png", {"prediction": pictures}, {"prediction": labels}, tracker)

    def predict(self, folder: Path, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """Write masks and tables into `folder`; returns the counts of cases done and skipped."""
        for path in self.weights:
            if not Path(path).exists():
                raise InputError(f"{path}: no such weights; train first")
        heartbeat = Heartbeat("infer: case", len(self.cases.data))
        self._progress = progress or heartbeat.beat
        self._statistics, self._slices = [], []
        self.evaluator.run()
        write_table(folder / "statistics.csv", _STATISTICS, self._statistics)
        write_table(folder / "slices.csv", _SLICES, self._slices)
        write_table(folder / "skipped.csv", _SKIPPED, [list(row) for row in self.cases.skipped])
        aliases = [[item["case"], alias] for item in self.cases.data for alias in item.get("aliases", ())]
        if aliases:  # the cases of a prepared folder have theirs in dataset.json
            write_table(folder / ALIASES, ALIAS_COLUMNS, aliases)
        done = len(self.cases.data) - len(self.cases.skipped)
        return {"cases": done, "skipped": len(self.cases.skipped)}

    def _collect(self, engine: Any) -> None:
        """One case is done: its rows of both tables."""
        for output, item in zip(engine.state.output, engine.state.batch, strict=True):
            mask = output["pred"].cpu()
            probability = engine.inferer.probabilities[0].cpu() if engine.inferer.probabilities is not None else None
            self._statistics += case_statistics(item["case"], mask, probability, self.labels)
            self._slices += slice_statistics(item["case"], mask, probability, self.labels)
        if self._progress is not None:
            self._progress(engine.state.iteration + len(self.cases.skipped), len(self.cases.data))
