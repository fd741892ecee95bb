"""How good a run's masks, growing labels and boundaries are, as `evaluate` scores them, for a table of accuracy."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmarks.rows.run_parts import choice_of, stage_of
from monai_wsss.workflow.boundary_scores import score_boundaries
from monai_wsss.workflow.label_quality import score_label_quality, score_mask_quality
from monai_wsss.workflow.mask_folders import made_folders
from monai_wsss.workflow.tracking import Tracker


def quality_of(run: Path, data: Path, done: Collection[str], folder: Path) -> dict[str, Any]:
    """`mask_quality` of what the segmenter learnt from, `label_quality` of the supervision that grew and
    `boundary_quality` of the walk, where the run has them. Scored into `folder`: a run may have stopped before
    `evaluate`.
    """
    stage = stage_of(run, data, "evaluate.yaml", "cpu")
    made = made_folders(choice_of(run, "refine"), choice_of(run, "supervision"))
    found: dict[str, Any] = {"mask_quality": score_mask_quality(run, stage.dataset, stage.preprocessing, made, folder)}
    if "dsrg" in done:
        tracker = Tracker("none", run, stage.name)
        found["label_quality"] = score_label_quality(run, stage.dataset, stage.preprocessing, folder, tracker)
    if "walk" in done:
        tolerance = stage.boundary_tolerance
        found["boundary_quality"] = score_boundaries(run, stage.dataset, stage.preprocessing, tolerance, folder)
    files = {name: folder / f"{name}.json" for name, scores in found.items() if scores}
    written = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}
    # a committed table names no case
    return {name: content | {"skipped": len(content["skipped"])} for name, content in written.items()}
