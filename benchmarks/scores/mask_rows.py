"""Scores of rows of masks against true masks."""

from collections.abc import Collection, Sequence
from typing import Any

from benchmarks.scores.cell_rows import CellRows
from benchmarks.scores.counts import to_plain
from benchmarks.scores.pooling import dice_difference, pool
from monai_wsss.metrics import CaseCounts


def same_voxels(one: Sequence[CaseCounts], other: Sequence[CaseCounts]) -> bool:
    """Whether two rows claim the same voxels in every case; probabilities do not matter."""
    return [to_plain(counts)["cells"] for counts in one] == [to_plain(counts)["cells"] for counts in other]


def mask_scores(
    rows: CellRows[CaseCounts], labels: Sequence[str], base: str, kept: Collection[str] = ()
) -> dict[str, Any]:
    """Pooled scores by row, each with its paired difference from `base`; see `CellRows.names` for `kept`."""
    pooled = {name: pool(rows.turns(name), labels) for name in rows.names({base, *kept})}
    for scores in pooled.values():
        scores["difference"] = dice_difference(pooled[base], scores)
    for scores in pooled.values():
        del scores["per_patient"]  # a committed table names no patient
    return pooled
