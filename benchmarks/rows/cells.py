"""The cells of a table, a fold and a seed each: prepared folder, place, and runs to share stages with."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows.folds import patient_folds, write_variant
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError

STEPS_FILE = "steps.json"  # rows that a method made -> their folders, in the folder of its runs


@dataclass(frozen=True)
class Cell:
    """A fold and a seed.

    Attributes:
        fold: from 0.
        seed: of the training; None leaves it to the bundle.
        turn: which training of the fold, from 0.
        data: prepared folder with the fold's split.
        place: where a table's folder of runs holds those of the cell; empty where there is one cell.
    """

    fold: int
    seed: int | None
    data: Path
    place: Path
    turn: int = 0


def check_counts(folds: int, seeds: int, given_seed: bool) -> None:
    """Refuse numbers of folds and seeds that cannot be.

    Raises:
        InputError: none of either, or a given seed where every cell has its own.
    """
    if folds < 1 or seeds < 1:
        raise InputError(f"--folds {folds} --seeds {seeds}: give at least 1 of each; one fold is the data's own split")
    if folds * seeds > 1 and given_seed:
        raise InputError(f"--folds {folds} --seeds {seeds}: every training has a seed of its own; leave out --set seed")


def make_cells(data: Path, work: Path, folds: int = 1, seeds: int = 1) -> list[Cell]:
    """Cells fold by fold; one fold is the data's own split, more are made over patients.

    No two cells have the same seed: no luck of a training is shared by all folds.

    Args:
        data: prepared folder.
        work: folder of the table's runs; the folds' splits are written into it.
        folds: over patients, see `patient_folds`.
        seeds: trainings of each fold; the t-th of fold f has the seed t * `folds` + f, so that more of them leave those
            there as they are.
    """
    folders = [data]
    if folds > 1:
        parts = patient_folds(PreparedDataset.read(data), folds)
        folders = [write_variant(part, data, work / f"fold_{index}" / "data") for index, part in enumerate(parts)]
    if folds == seeds == 1:
        return [Cell(0, None, data, Path())]
    return [
        Cell(fold, own, folder, Path(f"fold_{fold}") / f"seed_{own}", turn)
        for fold, folder in enumerate(folders)
        for turn, own in enumerate(range(fold, folds * seeds, folds))
    ]


def runs_of(source: Path, cell: Cell) -> list[Path]:
    """Runs whose stages a cell may take: `source` itself, or those of the same cell where it is a table's folder.

    Raises:
        InputError: there is none.
    """
    found = [source] if (source / "run.json").is_file() else sorted(_methods_in(source / cell.place))
    if not found:
        raise InputError(f"{source}: no run there; name a run folder, such as WORK/method, or another table's --work")
    return found


def rows_of(source: Path, cell: Cell) -> dict[str, Path]:
    """Folders of the masks that another table's method made in the same cell, by row.

    Raises:
        InputError: no such table.
    """
    folder = source / cell.place
    steps = folder / STEPS_FILE
    if not steps.is_file():
        run = f"python -m benchmarks accuracy --work {source}"
        raise InputError(f"{folder}: no rows of such a table; run `{run}` first")
    return {name: folder / path for name, path in json.loads(steps.read_text(encoding="utf-8")).items()}


def _methods_in(folder: Path) -> Iterator[Path]:
    """Runs of one method, or of each of several, in a cell's folder."""
    yield from (path.parent for pattern in ("method/run.json", "*/method/run.json") for path in folder.glob(pattern))
