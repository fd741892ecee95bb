"""All stages of a bundle, in its order."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from monai.bundle import ConfigWorkflow

from monai_wsss.data import PreparedDataset, input_error
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_check import value_error
from monai_wsss.workflow.bundle_config import (
    check_ids,
    config_files,
    effective_config,
    known_ids,
    load_config,
)
from monai_wsss.workflow.bundle_freeze import freeze_bundle, overlay_values
from monai_wsss.workflow.manifest import Manifest
from monai_wsss.workflow.mask_folders import mask_folders
from monai_wsss.workflow.run_registry import record_run
from monai_wsss.workflow.start import select_device, start

logger = logging.getLogger(__name__)

# Ids that the pipeline hands to every stage itself; set by an overlay or an override they stand in for `auto`.
_GIVEN = ("device", "tracking_uri")

# A bundle that was exported names the weights it came with; a pipeline takes those that it trains.
_TRAINED = {
    "segmenter_weights": "$@output_dir + '/segmenter/model.pt'",
    "classifier_weights": "$@output_dir + '/classifier/model.pt'",
}


class Pipeline:
    """Runs the stages that `pipeline.yaml` names; those that ended well with the same config and inputs are skipped.

    A stage may name conditions: `{name: walk, config: walk.yaml, refine: [irnet, bes]}` is one of the pipeline where
    the id `refine` has one of these values. `config` may be a list of files, later ones over earlier ones.

    The bundle's configs are first written to `<run>/bundle` with overlays and settings in place: each stage runs from
    that copy, which says in one place what was run and needs the original no more.

    Args:
        bundle_root: bundle folder.
        dataset_dir: prepared folder.
        output_dir: run folder.
        stages: the stages in order, each `{name, config}` and its conditions; None takes those of `pipeline.yaml`.
        overlays: names of overlays, later ones winning.
        overrides: top-level ids and values, over the overlays'; None takes those given to `monai.bundle run`.
        device: device id of every stage.
        tracking_uri: tracking id of every stage.
        from_stage: run this stage and the later ones even if they are done.
        until_stage: last stage to run.
        progress: called with each stage's name before it runs.

    Raises:
        InputError: unknown overlay, id or stage, or a data folder that is not a prepared one.
    """

    def __init__(
        self,
        bundle_root: str,
        dataset_dir: str,
        output_dir: str,
        stages: Sequence[Mapping[str, Any]] | None = None,
        overlays: Sequence[str] = (),
        overrides: Mapping[str, Any] | None = None,
        device: str = "auto",
        tracking_uri: str = "auto",
        from_stage: str | None = None,
        until_stage: str | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.bundle, self.dataset_dir, self.run_folder = Path(bundle_root), Path(dataset_dir), Path(output_dir)
        path = self.bundle / "configs" / "pipeline.yaml"
        if not path.exists():
            raise InputError(f"{self.bundle}: not a bundle with a pipeline (no configs/pipeline.yaml)")
        self.own = load_config(path)
        listed = list(stages if stages is not None else self.own["stages"])
        self.overlays = [overlays] if isinstance(overlays, str) else list(overlays)
        self.overrides = dict(self._given(listed) if overrides is None else overrides)
        self._check_parts(listed)
        self.stages = applying_stages(listed, self._choices())
        self.device, self.tracking_uri, self.progress = device, tracking_uri, progress
        names = [stage["name"] for stage in self.stages]
        for name in (from_stage, until_stage):
            if name and name not in names:
                raise InputError(f"no stage '{name}'; {self.bundle.name} has {', '.join(names)}")
        if from_stage and until_stage and names.index(from_stage) > names.index(until_stage):
            raise InputError(f"--from {from_stage} comes after --until {until_stage}; the order is {', '.join(names)}")
        self.forced = set(names[names.index(from_stage) :]) if from_stage else set()
        self.wanted = names[: names.index(until_stage) + 1] if until_stage else names

    def _given(self, listed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Ids of other stages, and choices, given to this config on the command line of `monai.bundle run`."""
        found = effective_config()
        own = set(self.own) - {key for stage in listed for key in _conditions(stage)}
        chosen = {} if found is None else found[0]
        return {
            k: v
            for k, v in chosen.items()
            if k not in own and k != "_meta_" and (k not in self.own or v != self.own[k])
        }

    def _check_parts(self, listed: Sequence[Mapping[str, Any]]) -> None:
        """Refuse ids that tell stages of one config apart: set for all of them they would all be the same stage."""
        files = {file for stage in listed for file in config_files(stage)[1:]}
        parts = {name for file in files for name in load_config(self.bundle / "configs" / file)}
        if taken := sorted(parts & set(self._values())):
            raise InputError(f"--set {taken[0]}: the pipeline sets it for each stage; choose a stage with --until")

    def _choices(self) -> dict[str, Any]:
        """Ids that conditions look at: of `pipeline.yaml`, and what is set over them."""
        choices = self.own | self._values()
        if {"refine", "supervision"} <= set(choices):
            try:
                mask_folders(choices["refine"], choices["supervision"])
            except ValueError as error:
                raise InputError(str(error)) from error
        return choices

    def freeze(self) -> Path:
        """Write `<run>/bundle` and the top of run.json."""
        dataset = PreparedDataset.read(self.dataset_dir)
        known = known_ids(self.bundle / "configs")
        of_data = {"labels": list(dataset.labels), **dataset.reading}
        values = {k: v for k, v in {**of_data, **_TRAINED}.items() if k in known}
        values |= self._values()
        check_ids(set(values), self.bundle / "configs", "--set")
        target = self.run_folder / "bundle"
        if not dist.is_initialized() or dist.get_rank() == 0:
            freeze_bundle(self.bundle, target, {k: v for k, v in values.items() if k not in _GIVEN})
            manifest = Manifest(self.run_folder)
            if self.bundle.resolve() == target.resolve():  # the run's own copy: what went into it before holds on
                manifest.set(overrides=manifest.content.get("overrides", {}) | self.overrides)
            else:
                name = self.bundle.resolve().name
                manifest.set(bundle=name, overlays=self.overlays, overrides=self.overrides)
            try:
                record_run(self.dataset_dir, dataset, self.run_folder)
            except OSError as error:
                logger.info("%s: read-only, so it does not list this run (%s)", self.dataset_dir, error.strerror)
        if dist.is_initialized():
            dist.barrier()
        return target

    def run(self) -> dict[str, Any]:
        """Run the stages; returns their records by name."""
        start(str(self.dataset_dir), distributed=bool(self._values().get("distributed", False)))
        select_device(self._given_values()["device"])  # a device that is not there should not wait for its stage
        bundle = self.freeze()
        records: dict[str, Any] = {}
        for stage in self.stages:
            if stage["name"] not in self.wanted:
                continue
            try:
                records[stage["name"]] = self._run_stage(bundle / "configs", config_files(stage), stage["name"])
            except RuntimeError as error:  # MONAI's config parser wraps what a stage raises
                reason = input_error(error)
                if reason is None:
                    raise
                raise reason from None
        if dist.is_initialized():
            dist.destroy_process_group()
        return records

    def _run_stage(self, configs: Path, files: Sequence[str], name: str) -> dict[str, Any]:
        workflow = ConfigWorkflow(
            config_file=[str(configs / file) for file in files],
            logging_file=False,
            bundle_root=str(configs.resolve().parent),
            dataset_dir=str(self.dataset_dir),
            output_dir=str(self.run_folder),
            **self._given_values(),
        )
        workflow.initialize()
        try:
            stage = workflow.parser.get_parsed_content("stage")
        except RuntimeError as error:
            reason = None if input_error(error) else value_error(error)
            if reason is None:
                raise
            raise InputError(f"{files[-1]}: {reason}") from error
        stage.force = name in self.forced
        if self.progress is not None:
            self.progress(name)
        record = workflow.run()[-1]
        workflow.finalize()
        return record

    def _given_values(self) -> dict[str, Any]:
        given = {"device": self.device, "tracking_uri": self.tracking_uri}
        values = self._values()
        return {key: values.get(key, value) if value == "auto" else value for key, value in given.items()}

    def _values(self) -> dict[str, Any]:
        """Ids that overlays and overrides set."""
        return overlay_values(self.bundle, self.overlays) | self.overrides


def applying_stages(stages: Sequence[Mapping[str, Any]], choices: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Stages whose conditions hold: every id that a stage names has one of the values it names."""
    return [stage for stage in stages if _applies(stage, choices)]


def _conditions(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stage.items() if key not in ("name", "config")}


def _applies(stage: Mapping[str, Any], choices: Mapping[str, Any]) -> bool:
    return all(
        choices.get(key) in (wanted if isinstance(wanted, list) else [wanted])
        for key, wanted in _conditions(stage).items()
    )
