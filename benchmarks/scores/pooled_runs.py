"""Predictions of one method that lie in one folder, or in a folder a fold."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.scores.measured import how_measured
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest

Folders = Path | Sequence[Path]
"""A folder, or one a fold, in which every case is predicted once."""
Value = TypeVar("Value")


def as_list(folders: Folders) -> list[Path]:
    """The folders of a method."""
    return [folders] if isinstance(folders, Path) else list(folders)


def pool(found: Iterable[Mapping[str, Value]], name: str) -> dict[str, Value]:
    """What the folders of a method hold by case, as one.

    Raises:
        InputError: a case in two of them.
    """
    pooled: dict[str, Value] = {}
    for part in found:
        if twice := pooled.keys() & part.keys():
            raise InputError(f"{name}: case {min(twice)} is in two folders; give one folder a fold")
        pooled |= part
    return pooled


def same_cases(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The cases of all methods, sorted.

    Raises:
        InputError: no method, or methods that differ in their cases.
    """
    if not methods:
        raise InputError("no folder of predictions was given")
    first, *others = methods
    for name in others:
        if differ := methods[first].keys() ^ methods[name].keys():
            raise InputError(f"{name}: {len(differ)} cases are not in both it and {first}; compare the same test cases")
    return sorted(methods[first])


def run_settings(folders: Folders) -> dict[str, Any] | None:
    """`how_measured` of the run whose `predictions` a method's first folder is; None for other masks."""
    paths = as_list(folders)
    run = paths[0].parent
    if paths[0].name != "predictions" or not Manifest(run).stage("infer"):
        return None
    if "bundle" not in Manifest(run).content:  # stages by themselves, such as what learns from true masks
        return None
    settings, seeds = how_measured(run, ["infer"]), {Manifest(path.parent).stage("infer")["seed"] for path in paths}
    own = {name: value for name, value in settings["overrides"].items() if name != "seed"}  # stands among the seeds
    return settings | {"overrides": own, "folds": len(paths), "seeds": sorted(seeds)}
