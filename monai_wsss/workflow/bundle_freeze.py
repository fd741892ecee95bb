"""A bundle with its overlays and settings written into its configs."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from monai_wsss.data import atomic_path
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import check_ids, is_stage_config


def overlay_values(bundle: Path, overlays: Sequence[str]) -> dict[str, Any]:
    """Top-level ids that overlays set, later ones winning.

    Raises:
        InputError: an overlay that the bundle does not have, or an id that none of its configs has.
    """
    values: dict[str, Any] = {}
    configs = bundle / "configs"
    for name in overlays:
        path = configs / f"{name.removesuffix('.yaml')}.yaml"
        found = sorted(p.stem for p in configs.glob("*.yaml") if not is_stage_config(_load(p)))
        if path.stem not in found:
            raise InputError(f"{bundle}: no overlay '{name}'; it has {', '.join(found) or 'none'}")
        overlay = _load(path)
        check_ids(set(overlay), configs, str(path))
        values.update(overlay)
    return values


def _load(path: Path) -> dict[str, Any]:
    try:
        return ConfigParser.load_config_file(str(path)) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error


def write_value(text: str, name: str, value: Any) -> str:
    """Config text with the one-line top-level id `name` set to `value`, its comment kept; unchanged without the id.

    Raises:
        InputError: the id's value goes over several lines or holds a `#`; such an id cannot be set from outside.
    """
    start = re.search(rf"^{re.escape(name)}:", text, re.MULTILINE)
    if start is None:
        return text
    line = re.compile(rf"{re.escape(name)}:(?P<old>[^\n#]*?)(?P<comment>[ \t]+#[^\n]*)?$", re.MULTILINE)
    match = line.match(text, start.start())
    if match is None or not match["old"].strip():
        raise InputError(f"id '{name}' is not a value on one line of its config; set the ids it is made of")
    new = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).split("\n...")[0].strip()
    return f"{text[: match.start()]}{name}: {new}{match['comment'] or ''}{text[match.end() :]}"


def freeze_bundle(bundle: Path, target: Path, values: Mapping[str, Any]) -> Path:
    """Copy a bundle without its weights and write `values` into every config that has the id; overlays are dropped.

    The copy runs by itself, with the values of the run it was made for.

    Raises:
        InputError: not a bundle, or a value for an id that none of its configs has.
    """
    configs = bundle / "configs"
    if not (configs / "metadata.json").exists():
        raise InputError(f"{bundle}: not a bundle (no configs/metadata.json)")
    check_ids(set(values), configs, "--set")
    if target.exists():
        shutil.rmtree(target)
    (target / "configs").mkdir(parents=True)
    for path in sorted(bundle.rglob("*")):
        relative = path.relative_to(bundle)
        if path.is_dir() or relative.parts[0] == "models" or "__pycache__" in relative.parts:
            continue
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        if relative.parts[0] != "configs" or path.suffix != ".yaml":
            shutil.copyfile(path, target / relative)
        elif is_stage_config(_load(path)):
            text = path.read_text(encoding="utf-8")
            for name, value in values.items():
                text = write_value(text, name, value)
            with atomic_path(target / relative) as part:
                part.write_text(text, encoding="utf-8")
    return target
