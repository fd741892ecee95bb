"""A bundle with its overlays and settings written into its configs."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_check import check_components, check_values
from monai_wsss.workflow.bundle_config import check_ids, is_stage_config, load_config, stage_parts

# What a bundle consists of beside its weights. Data and runs may lie in its folder too; they must not be copied along.
_PARTS = ("LICENSE", "configs", "docs", "scripts")


def overlay_values(bundle: Path, overlays: Sequence[str]) -> dict[str, Any]:
    """Top-level ids that overlays set, later ones winning.

    Raises:
        InputError: an overlay that the bundle does not have, or an id that none of its configs has.
    """
    values: dict[str, Any] = {}
    configs = bundle / "configs"
    for name in overlays:
        path = configs / f"{name.removesuffix('.yaml')}.yaml"
        others = [p for p in configs.glob("*.yaml") if p.name not in stage_parts(configs)]
        found = sorted(p.stem for p in others if not is_stage_config(load_config(p)))
        if path.stem not in found:
            raise InputError(f"{bundle}: no overlay '{name}'; it has {', '.join(found) or 'none'}")
        overlay = load_config(path)
        check_ids(set(overlay), configs, str(path))
        values.update(check_values(overlay, configs, f"{path}: "))
    return values


def write_value(text: str, name: str, value: Any) -> str:
    """Config text with the one-line top-level id `name` set to `value`, its comment kept; unchanged without the id.

    Raises:
        InputError: the id's value goes over several lines or holds a `#`; such an id cannot be set from outside.
    """
    start = re.search(rf"^{re.escape(name)}:", text, re.MULTILINE)
    if start is None:
        return text
    value_and_comment = r"(?P<old>[^\n#]*?)(?P<comment>[ \t]+#[^\n]*)?$"
    no_more_lines = r"(?!\n[ \t]+[^\s#])"
    line = re.compile(f"{re.escape(name)}:{value_and_comment}{no_more_lines}", re.MULTILINE)
    match = line.match(text, start.start())
    if match is None or not match["old"].strip():
        raise InputError(f"id '{name}' is not a value on one line of its config; set the ids it is made of")
    new = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).split("\n...")[0].strip()
    return f"{text[: match.start()]}{name}: {new}{match['comment'] or ''}{text[match.end() :]}"


def freeze_bundle(bundle: Path, target: Path, values: Mapping[str, Any]) -> Path:
    """Copy a bundle without its weights and write `values` into every config that has the id; overlays are dropped.

    The copy runs by itself, with the values of the run it was made for. It replaces `target`, which may be `bundle`.

    Raises:
        InputError: not a bundle, a value for an id that none of its configs has, or a value that does not fit.
    """
    configs = bundle / "configs"
    if not (configs / "metadata.json").exists():
        raise InputError(f"{bundle}: not a bundle (no configs/metadata.json)")
    check_ids(set(values), configs, "--set")
    values = check_values(values, configs, "--set ")
    part = target.with_name(f".{target.name}.part")
    if part.exists():
        shutil.rmtree(part)
    try:
        for path in _files(bundle):
            copy = part / path.relative_to(bundle)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.parent != configs or path.suffix != ".yaml" or path.name in stage_parts(configs):
                shutil.copyfile(path, copy)
            elif is_stage_config(load_config(path)):
                text = path.read_text(encoding="utf-8")
                for name, value in values.items():
                    text = write_value(text, name, value)
                copy.write_text(text, encoding="utf-8")
        check_components(part / "configs")
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _files(bundle: Path) -> list[Path]:
    paths = [path for name in _PARTS for path in (bundle / name, *sorted((bundle / name).rglob("*")))]
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
