"""The table of accuracy: trivial rows, each step of one or more methods, and what learns from true masks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.rows.cells import Cell, check_counts, make_cells, rows_of, runs_of
from benchmarks.rows.film_boxes import read_boxes
from benchmarks.rows.localisers import is_localiser
from benchmarks.rows.method_rows import MethodRows, method_rows
from benchmarks.rows.methods_file import Method, Methods
from benchmarks.rows.row_names import AFTER, AFTER_LOCALISER, STEPS, TRIVIAL, rows_after
from benchmarks.rows.runs import Runs
from benchmarks.scores.box_rows import box_counts, boxed_films
from benchmarks.scores.cell_rows import CellRows
from benchmarks.scores.classifier_scores import DEFINITIONS as OF_SLICES
from benchmarks.scores.classifier_scores import accuracy_difference, score_predictions, slice_predictions
from benchmarks.scores.counts import kept_counts
from benchmarks.scores.mask_boxes import DEFINITIONS as OF_BOXES
from benchmarks.scores.mask_boxes import box_scores, film_scores, same_films
from benchmarks.scores.mask_rows import mask_scores, same_voxels
from benchmarks.scores.measured import how_measured, learnt_from_masks, minutes_of, protocol_of
from benchmarks.scores.nuisance_rows import nuisance_classifiers
from benchmarks.scores.quality import quality_of
from monai_wsss.data import PreparedDataset, write_json
from monai_wsss.errors import InputError
from monai_wsss.workflow.evaluation import DEFINITIONS

logger = logging.getLogger(__name__)

_Made = dict[tuple[Cell, str], MethodRows]  # by cell and name of the method


def accuracy(
    data: Path,
    bundle: Path,
    work: Path,
    overlays: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    until: str | None = None,
    extras: Sequence[str] | None = None,
    beside: Mapping[str, Path] | None = None,
    from_run: Path | None = None,
    folds: int = 1,
    seeds: int = 1,
) -> dict[str, Any]:
    """The table of one bundle: :func:`measure` with its trivial rows, all its steps, and the rows of `extras`.

    Args:
        data: prepared folder with true masks of the test cases, for the ceiling of all.
        bundle: bundle folder.
        work: folder of this table's runs; a second call goes on where the first stopped.
        overlays: the bundle's overlays.
        overrides: ids set over them.
        device: device id.
        until: last stage of the method, for ablations of its first steps; the rows that need later ones are left out.
        extras: keys of `EXTRAS`, rows that cost a run or maps of their own; None takes all, or none with `until`.
        beside: folders of other such tables on the same data by label; those steps of each are added as rows that do
            not come out the same here.
        from_run: see :func:`measure`.
        folds: the same.
        seeds: the same.
    """
    methods = one_method(bundle, overlays, overrides, until, extras)
    return measure(data, methods, work, device, beside, from_run, folds, seeds)


def one_method(
    bundle: Path,
    overlays: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    until: str | None = None,
    extras: Sequence[str] | None = None,
) -> Methods:
    """The methods of a table of one bundle; arguments as `accuracy`'s."""
    rows = None if extras is None else (*TRIVIAL, *extras)
    return Methods((Method("", bundle, tuple(overlays), dict(overrides or {}), until),), rows)


def measure(
    data: Path,
    methods: Methods,
    work: Path,
    device: str = "auto",
    beside: Mapping[str, Path] | None = None,
    from_run: Path | None = None,
    folds: int = 1,
    seeds: int = 1,
    boxes: Path | None = None,
) -> dict[str, Any]:
    """Run every method, and what is compared with it, where that is not done yet, and score all rows on test cases.

    In each cell, a fold and a seed, a method takes the stages of an earlier one that are the same. The predictions of
    all folds are pooled, so that every patient is scored once, and then averaged over the seeds of a fold.

    Args:
        data: prepared folder with true masks of the test cases, for the ceiling of all.
        methods: what is compared.
        work: folder of this table's runs; a second call goes on where the first stopped.
        device: device id.
        beside: folders of other tables of one bundle, by label; see `accuracy`.
        from_run: run whose stages are taken where they are the same, or another table's `work` with the same cells.
        folds: 1 takes the data's own split; more are made over patients, see `patient_folds`.
        seeds: of each fold, none of which two folds share, see `make_cells`; one fold with one seed has the bundle's.
        boxes: table of boxes of films, see `read_boxes`, by which masks are scored where there are no true ones.

    Returns:
        `{bundle, overlays, overrides, protocol, ..., base, rows: {name: scores}}`; `base` is the row that the others
        are compared with: the last step of the first method, or of the one that the methods file names.

    Raises:
        InputError: a case without a true mask, a row that `until` leaves without its run, or as the stages.
    """
    dataset = PreparedDataset.read(data)
    methods, known = _by_boxes(methods, dataset, data, boxes, folds)
    cells = _cells(data, dataset, methods, work, device, folds, seeds, known is not None)
    besides = {cell: {label: rows_of(other, cell) for label, other in (beside or {}).items()} for cell in cells}
    made = _make(data, methods, work, device, from_run, cells)
    if methods.classifies:
        base, rows = _classifier_rows(methods, made, device)
    else:
        base, rows = _mask_rows(methods, made, besides, work, dataset, known)

    chosen = methods.of_base
    run = made[cells[-1], chosen.name]
    table = {
        **({} if known is None else _of_films(_tested(dataset, folds), known)),
        **how_measured(run.work / "method", run.done),
        "overrides": dict(chosen.values),
        **({"seeds": sorted(cell.seed or 0 for cell in cells)} if len(cells) > 1 else {}),
        "folds": folds,
        **methods.described(),
        "protocol": protocol_of(folds, seeds, rows, run.work / "method", known is not None),
        "minutes": minutes_of((one.work, one.done) for one in made.values()),
        "from_masks": learnt_from_masks(rows, [one.work for one in made.values()]),
        "definitions": OF_SLICES if methods.classifies else DEFINITIONS if known is None else OF_BOXES,
        "nuisance": nuisance_classifiers(*dict.fromkeys(cell.data for cell in cells)),
        "base": base,
        "rows": rows,
    }
    if len(made) > 1 or methods.classifies or known is not None or is_localiser(chosen.bundle):
        return table
    return table | quality_of(run.work / "method", data, run.done, work / "quality")


def run_fold(
    data: Path,
    methods: Methods,
    work: Path,
    device: str = "auto",
    from_run: Path | None = None,
    folds: int = 1,
    seeds: int = 1,
    boxes: Path | None = None,
    fold: int = 0,
) -> None:
    """Make the runs of one fold alone; several processes may each make another in the same `work`.

    Args:
        data: see :func:`measure`, for this and what follows.
        methods: what is compared.
        work: folder of this table's runs.
        device: device id.
        from_run: whose stages are taken.
        folds: over patients.
        seeds: of each fold.
        boxes: table of boxes that the films will be scored by.
        fold: from 0.

    Raises:
        InputError: there is no such fold, or as `measure`.
    """
    if not 0 <= fold < folds:
        raise InputError(f"--fold {fold}: --folds {folds} makes the folds 0 to {folds - 1}")
    dataset = PreparedDataset.read(data)
    methods, known = _by_boxes(methods, dataset, data, boxes, folds)
    cells = _cells(data, dataset, methods, work, device, folds, seeds, known is not None)
    _make(data, methods, work, device, from_run, [cell for cell in cells if cell.fold == fold])


def _by_boxes(
    methods: Methods, dataset: PreparedDataset, data: Path, boxes: Path | None, folds: int
) -> tuple[Methods, dict[str, Tensor] | None]:
    """The methods up to their masks, and the boxes by which these are scored; without `boxes` as they are, and None.

    Raises:
        InputError: several classes, no boxed film to score, or a row or table that boxes say nothing of.
    """
    if boxes is None:
        return methods, None
    if len(dataset.labels) != 1:
        raise InputError(f"--boxes: the data have {len(dataset.labels)} classes; boxes are of one")
    if methods.classifies:
        raise InputError("--boxes: a table of classifiers has no masks; leave it out")
    if needing := sorted({"few-shot", "ceiling"} & set(methods.rows or ())):
        raise InputError(f"--row {needing[0]}: learns from true masks, which boxes are not; choose other rows")
    known = read_boxes(boxes, data)
    if not boxed_films(_tested(dataset, folds), known):
        raise InputError(f"{boxes}: no film of the test split has a box; give --folds 5, or another split")
    upto = tuple(replace(method, until=method.until or "infer") for method in methods.methods)
    return replace(methods, methods=upto), known


def _tested(dataset: PreparedDataset, folds: int) -> PreparedDataset:
    """The cases that test in some fold."""
    return dataset if folds > 1 else replace(dataset, training=(), validation=())


def _cells(
    data: Path,
    dataset: PreparedDataset,
    methods: Methods,
    work: Path,
    device: str,
    folds: int,
    seeds: int,
    boxes: bool = False,
) -> list[Cell]:
    """Folds and seeds, once all that can be refused before anything runs is refused."""
    own = methods.methods
    check_counts(folds, seeds, any("seed" in method.values for method in own))
    extras = [key for method in own for key in _extras(methods, method, _runs(data, work, method, device))]
    for method in own:
        _check_rows(method, _runs(data, work, method, device), method is methods.of_base and not methods.classifies)
    if not methods.classifies and not boxes:
        check_truths(data, dataset, extras, folds > 1)
    return make_cells(data, work, folds, seeds)


def _make(data: Path, methods: Methods, work: Path, device: str, from_run: Path | None, cells: Sequence[Cell]) -> _Made:
    """What every method makes in each cell, with the stages that are the same taken from the one before."""
    own = methods.methods
    shared = {cell: [] if from_run is None else runs_of(from_run, cell) for cell in cells}
    made: _Made = {}
    for cell in cells:
        for method in own:
            logger.info("%s", " ".join(["cell", *cell.place.parts, method.name]))
            runs = _runs(cell.data, work / cell.place, method, device, cell.seed)
            extras, trivial = _extras(methods, method, runs), method is own[0] and methods.wants_trivial
            made[cell, method.name] = method_rows(runs, method.until, extras, trivial, shared[cell])
            shared[cell].insert(0, runs.method)  # the nearest first
    return made


def _mask_rows(
    methods: Methods,
    made: _Made,
    besides: Mapping[Cell, Mapping[str, Mapping[str, Path]]],
    work: Path,
    dataset: PreparedDataset,
    boxes: Mapping[str, Tensor] | None,
) -> tuple[str, dict[str, Any]]:
    """The row that others are compared with, and scores of all rows."""
    rows: CellRows[Any] = CellRows(same_voxels if boxes is None else same_films)
    count: Callable[[Path, PreparedDataset, Path], list[Any]] = kept_counts
    if boxes is not None:
        count = partial(film_scores, boxes=boxes)
    base = ""
    for (cell, name), found in made.items():
        method, tested = methods.by_name(name), PreparedDataset.read(cell.data)
        shown = methods.shown(method, list(found.folders), found.steps)
        for step, row in shown.items():
            rows.add(row, step, cell, count(found.folders[step], tested, found.work / "scores" / _file(step)))
        if method is methods.of_base:
            base = [row for step, row in shown.items() if step in found.steps or not found.steps][-1]
    for cell, others in besides.items():
        tested = PreparedDataset.read(cell.data)
        for label, folders in others.items():
            for step, folder in folders.items():
                row = f"{step} ({label})"
                rows.add(row, step, cell, count(folder, tested, work / cell.place / "scores" / _file(row)))
    kept = [method.name for method in methods.methods]
    if boxes is None:
        return base, mask_scores(rows, dataset.labels, base, kept)
    return base, box_scores(rows, boxed_films(dataset, boxes), base, kept)


def _of_films(tested: PreparedDataset, boxes: Mapping[str, Tensor]) -> dict[str, Any]:
    return {"kind": "mask_boxes", "counts": box_counts(tested, boxed_films(tested, boxes))}


def _classifier_rows(methods: Methods, made: _Made, device: str) -> tuple[str, dict[str, Any]]:
    """The same of the methods' classifiers, on test slices."""
    slices: dict[str, list[list[dict[str, Any]]]] = {}
    for (cell, name), found in made.items():
        slices.setdefault(name, []).append(slice_predictions(found.work / "method", cell.data, device))
    base, rows = methods.of_base.name, {}
    for name, cells in slices.items():
        rows[name] = score_predictions(cells) | {"difference": accuracy_difference(slices[base], cells)}
        del rows[name]["per_patient"]  # a committed table names no patient
    return base, rows


def _runs(data: Path, work: Path, method: Method, device: str, seed: int | None = None) -> Runs:
    values = dict(method.values) | ({} if seed is None else {"seed": seed})
    return Runs(data, method.bundle, work / method.slug, method.overlays, values, device)


def _extras(methods: Methods, method: Method, runs: Runs) -> list[str]:
    """Keys of the extra rows of a method.

    Raises:
        InputError: one that it cannot have.
    """
    after, done = AFTER_LOCALISER if is_localiser(method.bundle) else AFTER, runs.until(method.until)
    wanted = methods.extras(method)
    for extra in wanted:
        if extra not in after:
            raise InputError(f"--row {extra}: there is no such row; choose among {', '.join(after)}")
        if after[extra] not in done:
            raise InputError(f"--row {extra}: needs the stage {after[extra]}, which comes after --until {method.until}")
    return wanted


def _check_rows(method: Method, runs: Runs, is_base: bool) -> None:
    """Refuse rows that a method will not make, and a base without a row to compare with.

    Raises:
        InputError: such rows.
    """
    possible = rows_after(runs.until(method.until))
    wanted = possible if method.rows is None else method.rows
    if lacking := [row for row in wanted if row not in possible]:
        makes = ", ".join(row for row in STEPS if row in possible)
        raise InputError(f"{method.name}: makes no row '{lacking[0]}'; it may make {makes or 'none'}")
    if is_base and method.rows is not None and not set(method.rows) - {"ungated"}:
        raise InputError(f"{method.name}: the others are compared with it, so that it needs a row: {', '.join(STEPS)}")


def check_truths(data: Path, dataset: PreparedDataset, extras: Sequence[str] = (), folds: bool = False) -> None:
    """Every test case needs a true mask; with folds, and for the ceiling, every case does.

    Args:
        data: prepared folder.
        dataset: what it holds.
        extras: keys of `EXTRAS`.
        folds: whether every case tests in one of them.

    Raises:
        InputError: a mask is not there, named by what needs it.
    """
    if lacking := sum(case.truth is None for case in dataset.test):
        raise InputError(
            f"{data}: {lacking} of {len(dataset.test)} test cases have no true mask; prepare with --masks, or leave "
            "out the images that truth_problems in prepare.json names"
        )
    lacking, every = sum(case.truth is None for case in dataset.cases()), len(dataset.cases())
    if lacking and "ceiling" in extras:
        reason = "which the row ceiling learns from; choose other rows (--row)"
        raise InputError(f"{data}: {lacking} of {every} cases have no true mask, {reason}")
    if lacking and folds:
        raise InputError(f"{data}: {lacking} of {every} cases have no true mask, and each tests in a fold; --folds 1")
    if "few-shot" in extras and all(case.truth is None for case in dataset.validation):
        reason = "which the row few-shot learns from; choose other rows (--row)"
        raise InputError(f"{data}: no validation case has a true mask, {reason}")


def named_folders(texts: Sequence[str]) -> dict[str, Path]:
    """Folders of `NAME=DIR` or of `DIR`, which is then called as the folder is.

    Raises:
        InputError: one name twice.
    """
    folders: dict[str, Path] = {}
    for text in texts:
        name, given, folder = text.partition("=")
        path = Path(folder if given else name)
        name = name if given else path.resolve().name
        if name in folders:
            raise InputError(f"--beside {text}: a second folder called {name}; give NAME=DIR")
        folders[name] = path
    return folders


def folders_of(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Folders by name of `NAME=DIR` or of `DIR`, as `named_folders`; a name again adds to its folders, one a fold."""
    folders: dict[str, list[Path]] = {}
    for text in texts:
        for name, folder in named_folders([text]).items():
            folders.setdefault(name, []).append(folder)
    return folders


def save(table: Mapping[str, Any], path: Path) -> None:
    """Write the table's JSON."""
    write_json(path, table)


def _file(row: str) -> str:
    """Name of the file that keeps a row's counts."""
    return f"{row.replace(' ', '_').replace('/', '_').replace(',', '')}.json"
