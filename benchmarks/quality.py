"""How good a run's labels and boundaries are, as `evaluate` scores them, for a table of accuracy."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmarks.run_parts import stage_of
from monai_wsss.workflow.boundary_scores import score_boundaries
from monai_wsss.workflow.label_quality import score_label_quality
from monai_wsss.workflow.tracking import Tracker

_NEEDS = {"label_quality": "dsrg", "boundary_quality": "walk"}  # the stage whose work is scored


def quality_of(run: Path, data: Path, done: Collection[str], folder: Path) -> dict[str, Any]:
    """`label_quality` of the supervision that grew and `boundary_quality` of the walk, where the run has them.

    What `evaluate` wrote is read; a run that stopped before it is scored here, into `folder`.
    """
    wanted = [name for name, stage in _NEEDS.items() if stage in done]
    if "evaluate" in done:
        folder = run / "evaluation"
    else:
        _score(run, data, wanted, folder)
    files = {name: folder / f"{name}.json" for name in wanted}
    found = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}
    # a committed table names no case
    return {name: content | {"skipped": len(content["skipped"])} for name, content in found.items()}


def _score(run: Path, data: Path, wanted: Collection[str], folder: Path) -> None:
    stage = stage_of(run, data, "evaluate.yaml", "cpu")
    for name in wanted:
        (folder / f"{name}.json").unlink(missing_ok=True)  # of an earlier call
    if "label_quality" in wanted:
        score_label_quality(run, stage.dataset, stage.preprocessing, folder, Tracker("none", run, stage.name))
    if "boundary_quality" in wanted:
        score_boundaries(run, stage.dataset, stage.preprocessing, stage.boundary_tolerance, folder)
