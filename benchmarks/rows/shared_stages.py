"""Stages that one run takes from another, where they are the same."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import config_files, config_hash, load_config
from monai_wsss.workflow.manifest import Manifest, folder_hash


def share_stages(source: Path, run: Path, names: Sequence[str]) -> None:
    """Take folders and records of `source`'s finished stages where `run` has nothing yet but what they were made from.

    A stage whose config is another in `run`'s bundle, if that is written yet, is not taken. The pipeline then compares
    configs and inputs as ever, and runs again what is not the same. The files are linked where both runs are on one
    disk: every stage replaces its files whole, so that neither run changes the other's.

    Raises:
        InputError: `source` is no run folder.
    """
    theirs, ours = Manifest(source), Manifest(run)
    if not theirs.content["stages"]:
        raise InputError(f"{source}: no stage in its run.json; name a run folder, such as WORK/method")
    hashes = _config_hashes(run / "bundle" / "configs")
    for name in names:
        record = theirs.stage(name)
        if record.get("status") not in ("done", "skipped") or ours.stage(name):
            continue
        made, target = source / record["writes"], run / record["writes"]
        read = {folder: digest for folder, digest in record["inputs"].items() if (source / folder).exists()}
        same = all(folder_hash(run / folder) == digest for folder, digest in read.items())
        if made.exists() and not target.exists() and same and hashes.get(name, record["config"]) == record["config"]:
            shutil.copytree(made, target, copy_function=_link)
            ours.set(stages=ours.content["stages"] | {name: record})


def _config_hashes(configs: Path) -> dict[str, str]:
    """Stage -> hash of its config, of a bundle with all values in place, as the pipeline will find it when it runs."""
    path = configs / "pipeline.yaml"
    hashes: dict[str, str] = {}
    for stage in load_config(path)["stages"] if path.is_file() else ():
        merged: dict[str, Any] = {}
        for file in config_files(stage):
            merged |= load_config(configs / file)
        parser = ConfigParser(merged)
        parser.parse()  # brings references into MONAI's own form
        parsed: Any = parser.config
        hashes[stage["name"]] = config_hash(parsed)
    return hashes


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
