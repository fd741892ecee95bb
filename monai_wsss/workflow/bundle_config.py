"""What a bundle's configs say: the effective config of the running workflow, and the ids a bundle knows."""

import copy
import hashlib
import inspect
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigWorkflow
from monai.utils.misc import CheckKeyDuplicatesYamlLoader

from monai_wsss.errors import InputError

# Ids that say where and on what a stage runs. They are no part of a stage's config hash: what is finished is not run
# again elsewhere. Digits may depend on the device, and random draws on the number of workers that make them.
PLACE_IDS = frozenset({"bundle_root", "dataset_dir", "output_dir", "device", "tracking_uri", "num_workers", "_meta_"})


def effective_config() -> tuple[dict[str, Any], Path] | None:
    """Raw config of the `ConfigWorkflow` that is running, overrides and overlays included, and its configs folder.

    MONAI hands a component its own arguments only, and accepts any misspelt id in silence. The running workflow is
    therefore looked up on the call stack, which works the same for the command line and for the Python interface.

    Returns:
        `(config, folder)`, or None outside a `ConfigWorkflow`.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigWorkflow):
            config: Any = owner.parser.config or {}
            return dict(config), Path(owner.config_root_path)
        frame = frame.f_back
    return None


def bundle_root() -> str:
    """Folder of the bundle that is running: the parent of its configs folder; `.` outside a workflow."""
    found = effective_config()
    return "." if found is None else str(found[1].resolve().parent)


def load_config(path: Path) -> dict[str, Any]:
    """A config file as written.

    Raises:
        InputError: not readable as YAML.
    """
    try:
        return copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error


@lru_cache(maxsize=256)
def _parsed(text: str) -> dict[str, Any]:
    """Parsed once for each text: a run asks each of its bundle's configs several times, and PyYAML takes its time."""
    return yaml.load(text, CheckKeyDuplicatesYamlLoader) or {}


def is_stage_config(config: Mapping[str, Any]) -> bool:
    """True for a config that runs by itself; an overlay has no `run`."""
    return "run" in config


def config_files(stage: Mapping[str, Any]) -> list[str]:
    """Files of a stage that `pipeline.yaml` names, later ones over earlier ones."""
    return [stage["config"]] if isinstance(stage["config"], str) else list(stage["config"])


def stage_parts(configs: Path) -> set[str]:
    """Files that make one config into another stage of the pipeline: neither runs by itself nor is an overlay."""
    path = configs / "pipeline.yaml"
    stages = load_config(path)["stages"] if path.exists() else []
    return {file for stage in stages for file in config_files(stage)[1:]}


def known_defaults(configs: Path) -> dict[str, Any]:
    """Top-level ids of all configs of a bundle that run by themselves, with the first config's value."""
    defaults: dict[str, Any] = {}
    for path in sorted(configs.glob("*.yaml")):
        config = load_config(path)
        if is_stage_config(config):
            defaults = config | defaults
    return defaults


def known_ids(configs: Path) -> set[str]:
    """Top-level ids of all configs of a bundle that run by themselves."""
    return set(known_defaults(configs))


def check_ids(ids: set[str], configs: Path, source: str) -> None:
    """Refuse top-level ids that no config of the bundle has.

    Raises:
        InputError: naming the unknown ids, where they came from, and the nearest known one.
    """
    import difflib

    known = known_ids(configs)
    unknown = sorted(ids - known - {"_meta_"})
    if not unknown:
        return
    hints = []
    for name in unknown:
        if "#" in name or "::" in name:
            raise InputError(f"{source}: '{name}' is nested; only top-level ids can be set, such as train_epochs")
        near = difflib.get_close_matches(name, sorted(known), n=1)
        hints.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    raise InputError(f"{source}: unknown id {', '.join(hints)}; no config of {configs.parent.name} has it")


def config_hash(config: Mapping[str, Any]) -> str:
    """First 16 hex digits of SHA-256 of a config's canonical JSON, ids of place left out."""
    kept = {key: value for key, value in config.items() if key not in PLACE_IDS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]
