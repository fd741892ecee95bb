"""The rows of a table while they are scored, cell by cell."""

from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from benchmarks.rows.cells import Cell
from benchmarks.rows.row_names import CEILING, FEW_SHOT

T = TypeVar("T")


class CellRows(Generic[T]):
    """What was found of each test case, by row and cell, in the order in which rows come.

    Args:
        same: whether what was found of the cases of a cell is the same for two rows.
    """

    def __init__(self, same: Callable[[Sequence[T], Sequence[T]], bool]) -> None:
        self._same = same
        self._found: dict[str, dict[Cell, list[T]]] = {}
        self._step: dict[str, str] = {}

    def add(self, name: str, step: str, cell: Cell, found: list[T]) -> None:
        """Note what was found of a cell's cases; `step` is what rows of different methods have in common."""
        self._found.setdefault(name, {})[cell] = found
        self._step[name] = step

    def names(self, kept: Collection[str] = ()) -> list[str]:
        """The rows that a table shows; what learns from true masks is last.

        A row that comes out the same as an earlier one of its step in every cell is left out, unless it is in `kept`.
        """
        names = [name for name in self._found if name in kept or not self._is_twin(name)]
        return sorted(names, key=lambda name: name in (FEW_SHOT, CEILING))

    def cells(self, name: str) -> dict[Cell, list[T]]:
        """What was found of each cell's cases."""
        return dict(self._found[name])

    def turns(self, name: str) -> list[list[T]]:
        """What was found of the cases in each turn, all folds together."""
        turns: dict[int, list[T]] = {}
        for cell, found in self._found[name].items():
            turns.setdefault(cell.turn, []).extend(found)
        return list(turns.values())

    def _is_twin(self, name: str) -> bool:
        names = list(self._found)
        earlier = [other for other in names[: names.index(name)] if self._step[other] == self._step[name]]
        return any(self._alike(self._found[name], self._found[other]) for other in earlier)

    def _alike(self, one: dict[Cell, list[T]], other: dict[Cell, list[T]]) -> bool:
        return one.keys() == other.keys() and all(self._same(one[cell], other[cell]) for cell in one)
