"""How a table was measured: settings, device, versions, minutes and protocol, from the records of its runs."""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows.baselines import BLOB_OF_CLASSES
from benchmarks.rows.localisers import LOCALISERS
from benchmarks.rows.row_names import BLOB, CEILING, FEW_SHOT, PRIOR
from benchmarks.rows.run_parts import config_of
from benchmarks.rows.runs import TRAINING_FILE
from monai_wsss.workflow.manifest import Manifest

_FROM_MASKS = {FEW_SHOT: "few_shot", CEILING: "supervised"}  # row -> its run
_BESIDE = [
    *((run, "train") for run in _FROM_MASKS.values()),
    *(("shuffled", name) for name in ("classify", *LOCALISERS)),
]
"""Runs beside the method's, and their stages that take time."""


def how_measured(method: Path, done: Sequence[str]) -> dict[str, Any]:
    """Settings, seed, device and versions of a run whose last stage is that of `done`."""
    content = Manifest(method).content
    last = content["stages"][done[-1]]
    return {
        "bundle": content["bundle"],
        "overlays": content["overlays"],
        "overrides": content["overrides"],
        "seeds": [last["seed"]],
        "folds": 1,
        "device": last["device"],
        "threads": last["threads"],
        "versions": last["versions"],
    }


def protocol_of(folds: int, seeds: int, rows: Collection[str], method: Path, boxes: bool = False) -> str:
    """What was known when, and what the rows rest on; `method` is the run of the base, `boxes` stand for true masks."""
    split = "fixed split" if folds == 1 else f"{folds} folds over patients, out-of-fold predictions pooled"
    of_fold = "" if folds == 1 else " a fold, none in two folds"
    times = f"one seed{of_fold}" if seeds == 1 else f"{seeds} seeds{of_fold}, averaged per patient"
    text = f"W0: no {'box before the scores' if boxes else 'true mask before evaluate'}; {split}, {times}."
    quantile = config_of(method, "train.yaml").get("threshold_quantile")
    if quantile is not None:
        text += f" A map's threshold is its {quantile:g} quantile on negative validation images."
    if BLOB in rows:
        masks = "masks of brain MRI" if boxes else "training masks"
        text += f" The brightest blob's constants were chosen on {masks}, so that row knows more than W0 allows."
    elif PRIOR in rows:
        text += f" {BLOB_OF_CLASSES}"
    return text


def learnt_from_masks(rows: Collection[str], works: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Row -> how its network learnt from true masks, once a folder of runs that made it."""
    files = {row: [work / run / TRAINING_FILE for work in works] for row, run in _FROM_MASKS.items() if row in rows}
    return {
        row: [json.loads(file.read_text(encoding="utf-8")) for file in found if file.is_file()]
        for row, found in files.items()
    }


def minutes_of(places: Iterable[tuple[Path, Sequence[str]]]) -> dict[str, float]:
    """Minutes of stages by name, summed over `places`, each a folder of runs and the stages that its method did.

    A stage that several runs share was run once and counts once; runs beside the method's are named before the stage.
    """
    seconds: dict[str, float] = {}
    seen = set()
    for work, done in places:
        parts = [(name, work / "method", name) for name in done]
        parts += [(f"{run} {name}", work / run, name) for run, name in _BESIDE]
        for label, run, name in parts:
            record = Manifest(run).stage(name)
            once = (name, record.get("started"), record.get("output"))
            if "seconds" in record and once not in seen:
                seen.add(once)
                seconds[label] = seconds.get(label, 0.0) + record["seconds"]
    return {label: round(value / 60, 1) for label, value in seconds.items()}
