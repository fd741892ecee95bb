"""The rows of a table while they are counted, cell by cell."""

from collections.abc import Collection, Sequence
from typing import Any

from benchmarks.rows.cells import Cell
from benchmarks.rows.row_names import CEILING, FEW_SHOT
from benchmarks.scores.counts import to_plain
from benchmarks.scores.pooling import dice_difference, pool
from monai_wsss.metrics import CaseCounts


class RowCounts:
    """Counts by row and cell, in the order in which rows come."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[Cell, list[CaseCounts]]] = {}
        self._step: dict[str, str] = {}

    def add(self, name: str, step: str, cell: Cell, counts: list[CaseCounts]) -> None:
        """Note a row's counts in a cell; `step` is what rows of different methods have in common."""
        self._counts.setdefault(name, {})[cell] = counts
        self._step[name] = step

    def scores(self, labels: Sequence[str], base: str, kept: Collection[str] = ()) -> dict[str, Any]:
        """Pooled scores by row, each with its paired difference from `base`; what learns from true masks is last.

        A row that comes out the same as an earlier one of its step in every cell is left out, unless it is in `kept`.
        """
        last = [name for name in (FEW_SHOT, CEILING) if name in self._counts]
        names = [name for name in self._counts if name in kept or name == base or not self._is_twin(name)]
        pooled = {
            name: pool(self._seeds(name), labels) for name in (*(name for name in names if name not in last), *last)
        }
        for scores in pooled.values():
            scores["difference"] = dice_difference(pooled[base], scores)
        for scores in pooled.values():
            del scores["per_patient"]  # a committed table names no patient
        return pooled

    def _seeds(self, name: str) -> list[list[CaseCounts]]:
        """Counts of each seed, all folds together."""
        seeds: dict[int | None, list[CaseCounts]] = {}
        for cell, counts in self._counts[name].items():
            seeds.setdefault(cell.seed, []).extend(counts)
        return list(seeds.values())

    def _is_twin(self, name: str) -> bool:
        names = list(self._counts)
        earlier = [other for other in names[: names.index(name)] if self._step[other] == self._step[name]]
        return any(_same(self._counts[name], self._counts[other]) for other in earlier)


def _same(one: dict[Cell, list[CaseCounts]], other: dict[Cell, list[CaseCounts]]) -> bool:
    """Whether two rows claim the same voxels in every cell; probabilities do not matter."""
    return one.keys() == other.keys() and all(
        [to_plain(counts)["cells"] for counts in one[cell]] == [to_plain(counts)["cells"] for counts in other[cell]]
        for cell in one
    )
