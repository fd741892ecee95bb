"""The table of DSRG's growing thresholds: Dice of its network for every pair, before the retraining round."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.accuracy import check_truths
from benchmarks.rows.runs import Runs
from benchmarks.scores.measured import how_measured
from benchmarks.scores.pooling import dice_difference, score_rows
from monai_wsss.data import PreparedDataset
from monai_wsss.workflow.bundle_config import known_defaults
from monai_wsss.workflow.manifest import Manifest

_IDS = ("dsrg_foreground", "dsrg_background")


def threshold_grid(
    data: Path,
    bundle: Path,
    work: Path,
    foreground: Sequence[float],
    background: Sequence[float],
    overlays: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    from_run: Path | None = None,
) -> dict[str, Any]:
    """Train DSRG once a pair of thresholds, and once with the bundle's own pair; score each on the test cases.

    Args:
        data: prepared folder with true masks of the test cases.
        bundle: bundle folder.
        work: folder of the runs, one a pair; a second call goes on where the first stopped.
        foreground: probabilities from which a lesion's seeds grow, in [0, 1].
        background: the same of the background.
        overlays: the bundle's overlays.
        overrides: ids set over them.
        device: device id.
        from_run: run whose first stages are taken where they are the same; None takes those of the first pair.

    Returns:
        `{kind: grid, bundle, ..., base, cells: [{foreground, background, dice, positives, difference, minutes}]}`;
        `difference` is Dice per patient of the bundle's own pair minus that of the cell.

    Raises:
        InputError: a test case without a true mask, a run without the stage dsrg, or as the stages.
    """
    dataset = PreparedDataset.read(data)
    check_truths(data, dataset)
    defaults = known_defaults(bundle / "configs")
    own = tuple(float(defaults[name]) for name in _IDS)
    methods: dict[tuple[float, ...], Path] = {}
    scores: dict[tuple[float, ...], Any] = {}
    done = Runs(data, bundle, work, overlays, overrides or {}, device).until("dsrg")
    for pair in dict.fromkeys((own, *product(foreground, background))):
        values = dict(overrides or {}) | dict(zip(_IDS, pair, strict=True))
        runs = Runs(data, bundle, work / "_".join(f"{value:g}" for value in pair), overlays, values, device)
        methods[pair] = runs.run_method("dsrg", from_run or methods.get(own))
        scores[pair] = score_rows(dataset, {"": runs.grown()})[""]
    cells = [
        {
            "foreground": pair[0],
            "background": pair[1],
            "dice": found["patients"]["dice"],
            "positives": found["positives"]["dice"],
            "difference": dice_difference(scores[own], found),
            "minutes": round(Manifest(methods[pair]).stage("dsrg")["seconds"] / 60, 1),
        }
        for pair, found in sorted(scores.items())
    ]
    return {
        "kind": "grid",
        **how_measured(methods[own], done),
        "overrides": dict(overrides or {}),
        "protocol": "W0: no true mask before evaluate; fixed split, one seed. The bundle's pair is the paper's; a pair "
        "chosen by this table would have been chosen on test masks.",
        "counts": scores[own]["counts"],
        "base": {"foreground": own[0], "background": own[1]},
        "cells": cells,
    }
