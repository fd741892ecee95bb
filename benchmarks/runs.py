"""The pipeline runs that a table of accuracy compares, each in a folder of its own."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.folds import shuffle_labels, write_variant
from benchmarks.localisers import Localiser, is_localiser
from benchmarks.run_parts import choice_of, preprocessing_of
from monai_wsss.data import PreparedDataset, write_array
from monai_wsss.errors import InputError
from monai_wsss.workflow import Pipeline, mask_folders
from monai_wsss.workflow.manifest import Manifest
from monai_wsss.workflow.truth_on_grid import truth_on_grid

# What several settings of training may share; later stages are what they differ in.
_SHARED = ("classify", "seed", "refine", "confident", "irnet", "bes", "walk")


@dataclass(frozen=True)
class Runs:
    """The method's run in `work`/method, and beside it the runs that it is compared with. Finished stages stay.

    Attributes:
        data: prepared folder.
        bundle: bundle folder.
        work: folder of all runs.
        overlays: the bundle's overlays.
        values: ids set over them.
        device: device id.
    """

    data: Path
    bundle: Path
    work: Path
    overlays: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"

    @property
    def method(self) -> Path:
        """The method's run."""
        return self.work / "method"

    @cached_property
    def stages(self) -> list[Mapping[str, Any]]:
        """Entries of the stages that the bundle runs with these values, in order."""
        return list(self._pipeline(self.data, self.method).stages)

    @property
    def names(self) -> list[str]:
        """Names of `stages`."""
        return [stage["name"] for stage in self.stages]

    def until(self, last: str | None) -> list[str]:
        """Names of the stages up to `last`, or all.

        Raises:
            InputError: these values run no such stage.
        """
        if last is not None and last not in self.names:
            raise InputError(f"--until {last}: no such stage; {self.bundle.name} has {', '.join(self.names)}")
        return self.names[: self.names.index(last) + 1] if last else self.names

    def run_method(self, until: str | None = None, shared: Path | None = None) -> Path:
        """Run the method, up to a stage; `shared` is a run whose first stages are taken where they are the same."""
        if shared is not None:
            share_stages(shared, self.method, self.names)
        self._pipeline(self.data, self.method, until_stage=until).run()
        return self.method

    def grown(self) -> Path:
        """Predictions of the network that DSRG trained, before the retraining round."""
        return self._predict("dsrg", segmenter="dsrg")

    def localised(self, localiser: Localiser) -> Path:
        """Predictions of the localiser that an earlier stage trained, with its own threshold and gate."""
        return self._predict(localiser.folder, segmenter=localiser.folder, trained_stage=localiser.trained_stage)

    def ungated(self) -> Path:
        """Predictions of the method's segmenter in every slice, whatever the classifier says of it."""
        return self._predict("ungated", segmenter="segmenter", infer_gate_probability=0.0)

    def supervised(self) -> Path:
        """Predictions, without a gate, of the method's segmenter trained from scratch on true masks."""
        folder = self.work / "supervised"
        shutil.copytree(self.method / "classifier", folder / "classifier", dirs_exist_ok=True)
        write_true_masks(PreparedDataset.read(self.data), self.method, folder)
        self._run_stages(folder, "train", "infer", supervision="static", infer_gate_probability=0.0)
        return folder / "predictions"

    def shuffled(self) -> Path:
        """Run with a classifier of shuffled labels, or with localisers of them."""
        dataset = shuffle_labels(PreparedDataset.read(self.data))
        data = write_variant(dataset, self.data, self.work / "shuffled_data")
        last = "train" if is_localiser(self.bundle) else "classify"
        self._pipeline(data, self.work / "shuffled", until_stage=last).run()
        return self.work / "shuffled"

    def _predict(self, name: str, segmenter: str, **values: Any) -> Path:
        folder = self.work / name
        copied = {"segmenter": segmenter} | ({} if is_localiser(self.bundle) else {"classifier": "classifier"})
        for target, source in copied.items():
            (folder / target).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.method / source / "model.pt", folder / target / "model.pt")
        self._run_stages(folder, "infer", **values)
        return folder / "predictions"

    def _run_stages(self, folder: Path, *names: str, **values: Any) -> None:
        stages = [stage for stage in self.stages if stage["name"] in names]
        self._pipeline(self.data, folder, values, stages=stages).run()

    def _pipeline(self, data: Path, out: Path, values: Mapping[str, Any] | None = None, **options: Any) -> Pipeline:
        overrides = {**self.values, **(values or {})}
        options |= {"overlays": self.overlays, "overrides": overrides, "device": self.device, "tracking_uri": "none"}
        return Pipeline(str(self.bundle), str(data), str(out), **options)


def share_stages(source: Path, run: Path, names: Sequence[str]) -> None:
    """Copy folders and records of `source`'s finished stages, up to the pseudo masks, where `run` has nothing yet.

    The pipeline then compares configs and inputs as ever, and runs again what is not the same.

    Raises:
        InputError: `source` is no run folder.
    """
    theirs, ours = Manifest(source), Manifest(run)
    if not theirs.content["stages"]:
        raise InputError(f"{source}: no stage in its run.json; name a run folder, such as WORK/method")
    for name in names:
        record = theirs.stage(name)
        if name not in _SHARED or record.get("status") != "done" or ours.stage(name):
            continue
        if not (run / record["writes"]).exists():
            shutil.copytree(source / record["writes"], run / record["writes"])
            ours.set(stages=ours.content["stages"] | {name: record})


def write_true_masks(dataset: PreparedDataset, method: Path, folder: Path) -> None:
    """True masks of training and validation where `train` reads pseudo masks; none of the test split."""
    preprocess, refine = preprocessing_of(method), choice_of(method, "refine")
    for case in dataset.cases("training") + dataset.cases("validation"):
        mask = truth_on_grid(case, preprocess, len(dataset.labels))
        for name in mask_folders(refine, "static", thresholded=True):  # all that a loss may take
            write_array(folder / name / f"{case.case}.npy", mask)
