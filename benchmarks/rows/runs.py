"""The pipeline runs that a table of accuracy compares, each in a folder of its own."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.rows.few_shot import few_shot_dataset, repeated
from benchmarks.rows.folds import shuffle_labels, write_variant
from benchmarks.rows.localisers import Localiser, is_localiser
from benchmarks.rows.shared_stages import share_stages
from benchmarks.rows.true_masks import ONE_MASK, remove_gate, write_true_masks
from monai_wsss.data import PreparedDataset, write_json
from monai_wsss.errors import InputError
from monai_wsss.workflow import Pipeline
from monai_wsss.workflow.bundle_config import config_files, load_config
from monai_wsss.workflow.bundle_freeze import freeze_bundle, overlay_values
from monai_wsss.workflow.manifest import Manifest

TRAINING_FILE = "training.json"  # beside a network that learnt from true masks: which one, how long, from how much
MASK_BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "brain_mri_lesion_mixed_unet"
"""Its segmenter learns from true masks in the place of a localiser, which learns from image-level labels alone."""

_LONGER = 2  # times the method's epochs: the ceiling shall have converged
_BACKBONE = "segmenter_backbone_weights"


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

    def epochs(self, factor: float = 1.0) -> dict[str, int]:
        """Ids that are numbers of epochs in what the stages run, and `factor` times their values."""
        given = {**overlay_values(self.bundle, self.overlays), **self.values}
        files = [file for stage in self.stages for file in config_files(stage)]
        own = [load_config(self.bundle / "configs" / file) for file in files]
        values = {name: given.get(name, value) for config in own for name, value in config.items()}
        numbers = {name: value for name, value in values.items() if name.endswith("_epochs") and isinstance(value, int)}
        return {name: round(value * factor) for name, value in numbers.items()}  # others follow from these

    def until(self, last: str | None) -> list[str]:
        """Names of the stages up to `last`, or all.

        Raises:
            InputError: these values run no such stage.
        """
        if last is not None and last not in self.names:
            raise InputError(f"--until {last}: no such stage; {self.bundle.name} has {', '.join(self.names)}")
        return self.names[: self.names.index(last) + 1] if last else self.names

    def run_method(self, until: str | None = None, shared: Path | None = None) -> Path:
        """Run the method, up to a stage; `shared` is a run whose stages are taken where they are the same."""
        if shared is not None:
            self.share([shared], until)
        self._pipeline(self.data, self.method, until_stage=until).run()
        return self.method

    def share(self, sources: Sequence[Path], until: str | None = None) -> None:
        """Take the stages of other runs, up to `until`, that are the same in the method's; see `share_stages`."""
        self._pipeline(self.data, self.method).freeze()  # by which they are compared
        for source in sources:
            share_stages(source, self.method, self.until(until))

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
        """Predictions, without a gate, of the method's segmenter trained on true masks for twice the method's epochs.

        The epoch is the one that agrees best with the true masks of the validation split. The network is that of
        `MASK_BUNDLE` where the method is a localiser.
        """
        epochs = _LONGER * self._mask_settings["train_epochs"]
        return self._learn_masks("supervised", PreparedDataset.read(self.data), {"train_epochs": epochs})

    def few_shot(self, patients: int = 4) -> Path:
        """Predictions, without a gate, of the same segmenter trained on the true masks of a few validation patients.

        Nothing else of the data is seen, neither images nor labels nor the classifier's weights. It trains for as many
        steps as the method's segmenter did on its pseudo masks; the weights are those of the last epoch.

        Args:
            patients: with a finding; drawn with the run's seed, see `few_shot_dataset`.
        """
        settings = self._mask_settings
        drawn = few_shot_dataset(PreparedDataset.read(self.data), patients, self.seed)
        values: dict[str, Any] = {"val_interval": settings["train_epochs"] + 1}  # no validation: the last epoch stays
        if _starts_from_classifier(settings):  # which learnt from all image-level labels
            values[_BACKBONE] = None
        return self._learn_masks("few_shot", drawn, values, self._trained_slices())

    def shuffled(self) -> Path:
        """Run with a classifier of shuffled labels, or with localisers of them."""
        dataset = shuffle_labels(PreparedDataset.read(self.data), self.seed)
        data = write_variant(dataset, self.data, self.work / "shuffled_data")
        last = "train" if is_localiser(self.bundle) else "classify"
        self._pipeline(data, self.work / "shuffled", until_stage=last).run()
        return self.work / "shuffled"

    @cached_property
    def _mask_bundle(self) -> tuple[Path, dict[str, Any]]:
        """The bundle whose segmenter learns from true masks, and what is set in it."""
        values = {**overlay_values(self.bundle, self.overlays), **self.values}
        if not is_localiser(self.bundle):
            return self.bundle, values
        known = [name for name in self.overlays if (MASK_BUNDLE / "configs" / f"{name}.yaml").is_file()]
        own = load_config(self.bundle / "configs" / "train.yaml") | values
        return MASK_BUNDLE, overlay_values(MASK_BUNDLE, known) | {k: own[k] for k in ("seed", "pixel_spacing", "size")}

    @property
    def seed(self) -> int:
        """Of the training, and of what is drawn at random for the rows beside it."""
        return int(self._mask_settings["seed"])

    @property
    def _mask_settings(self) -> dict[str, Any]:
        """Ids of its `train.yaml`."""
        bundle, values = self._mask_bundle
        return load_config(bundle / "configs" / "train.yaml") | values

    def _trained_slices(self) -> int:
        """Slices of an epoch of the method's own training."""
        found = Manifest(self.method).stage("train").get("summary", {}).get("training_slices")
        if found is None:
            raise InputError(
                f"{self.method}: no finished stage train, whose steps the few-shot segmenter takes as well"
            )
        return int(found)

    def _learn_masks(
        self,
        name: str,
        dataset: PreparedDataset,
        values: Mapping[str, Any],
        slices: int | None = None,
    ) -> Path:
        """Train on the true masks of training and validation in `work`/`name`, predict without a gate."""
        folder, settings = self.work / name, {**self._mask_settings, **values}
        labelled = write_true_masks(dataset, self.method, folder)
        if slices is not None:
            labelled = repeated(labelled, slices, settings["negatives_per_positive"])
        data = write_variant(labelled, self.data, self.work / f"{name}_data")
        if _starts_from_classifier(settings):
            shutil.copytree(self.method / "classifier", folder / "classifier", dirs_exist_ok=True)
        bundle, given = self._mask_bundle
        given = given | ONE_MASK | dict(values)
        frozen = freeze_bundle(bundle, folder / "bundle", given)
        remove_gate(frozen)
        listed = load_config(frozen / "configs" / "pipeline.yaml")["stages"]
        stages = [stage for stage in listed if stage["name"] in ("train", "infer")]
        options: dict[str, Any] = {"device": self.device, "tracking_uri": "none", "overrides": {}, "stages": stages}
        found = Pipeline(str(frozen), str(data), str(folder), **options).run()["train"]["summary"]
        learnt = {"network": settings["segmenter"], "bundle": bundle.name, "epochs": settings["train_epochs"]}
        learnt |= {key: found[key] for key in ("best_epoch", "agreement") if slices is None}
        patients = len({case.patient for case in labelled.training})
        learnt |= {"patients": patients, "slices_per_epoch": found["training_slices"]}
        write_json(folder / TRAINING_FILE, learnt)
        return folder / "predictions"

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


def _starts_from_classifier(settings: Mapping[str, Any]) -> bool:
    return "output_dir" in str(settings.get(_BACKBONE))
