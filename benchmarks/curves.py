"""Curves of robustness: Dice against the number of labelled training patients, and against wrong labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.accuracy import check_truths
from benchmarks.rows.folds import write_variant
from benchmarks.rows.label_variants import flip_labels, training_subset
from benchmarks.rows.method_rows import method_rows
from benchmarks.rows.row_names import BLOB, DSRG, METHOD
from benchmarks.rows.runs import Runs
from benchmarks.scores.measured import how_measured
from benchmarks.scores.pooling import dice_difference, score_rows
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest

PATIENTS, NOISE = "patients", "noise"
DEFINITIONS = {
    PATIENTS: "training patients whose labels are used, in random nested subsets with and without a finding alike; the "
    "labels of validation stay; the epochs are so many more that every point takes about as many steps",
    NOISE: "share of the labels of training and validation images that are turned, at random and nested; those of the "
    "test split are never used",
    "dice": "per patient over the whole volume, and mean over true positive slices",
    "difference": "Dice per patient with all patients and their own labels minus that of the point, paired",
    "auc": "of the classifier on test slices with their own labels",
    "interval": "95 % percentile bootstrap over test patients, 2000 resamples; not over choices of patients and labels",
}


@dataclass(frozen=True)
class _Point:
    """A run on one variant of the labels: its stages, its folder, its scores by row."""

    done: Sequence[str]
    method: Path
    scores: Mapping[str, Any]


def label_curves(
    data: Path,
    bundle: Path,
    work: Path,
    overlays: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    patients: Sequence[float] = (0.25, 0.5, 1.0),
    noise: Sequence[float] = (0.05, 0.1, 0.2),
    device: str = "auto",
    until: str | None = None,
    seed: int = 0,
    from_run: Path | None = None,
) -> dict[str, Any]:
    """Run the bundle once a variant of the labels; score its segmenter, and the masks before it, on the same cases.

    All patients with their own labels are always measured: the end of one curve and the start of the other.

    Args:
        data: prepared folder with true masks of the test cases; its own split is kept.
        bundle: bundle folder.
        work: folder of the runs; a second call goes on where the first stopped.
        overlays: the bundle's overlays.
        overrides: ids set over them.
        patients: shares of the training patients, in (0, 1].
        noise: shares of turned labels, in [0, 1].
        device: device id.
        until: last stage, one that makes masks; None runs all.
        seed: of the choice of patients and labels; that of training is the id `seed`.
        from_run: run whose stages are taken where they are the same, such as that of a table of accuracy.

    Returns:
        `{kind: "curves", bundle, ..., references, curves: {patients | noise: [{x, rows: {name: {patients, positives,
        difference}}, auc, ...}]}}`; with `references` of the rows that need no training.

    Raises:
        InputError: a test case without a true mask, `until` before any mask, or as the stages.
        ValueError: a share out of its range.
    """
    dataset = PreparedDataset.read(data)
    check_truths(data, dataset)
    variants: list[tuple[str, float, PreparedDataset, int]] = [
        (PATIENTS, share, training_subset(dataset, share, seed), 0) for share in sorted(set(patients) - {1.0})
    ]
    variants += [(NOISE, share, *flip_labels(dataset, share, seed)) for share in sorted(set(noise) - {0.0})]

    own, everyone = Runs(data, bundle, work / "all", overlays, dict(overrides or {}), device), _patients(dataset)
    whole = _measure(dataset, own, until, from_run)
    base = _row(whole, whole, 0) | {"training_patients": everyone}
    curves: dict[str, list[dict[str, Any]]] = {PATIENTS: [], NOISE: [base | {"x": 0.0}]}
    minutes = {"all": _minutes(whole.method)}
    for kind, share, variant, flipped in variants:
        folder, patients = work / f"{kind}_{share:g}", _patients(variant)
        values = {**own.values, **(own.epochs(everyone / patients) if kind == PATIENTS else {})}
        runs = replace(own, data=write_variant(variant, data, folder / "data"), work=folder, values=values)
        point = _measure(dataset, runs, until)
        row = _row(point, whole, flipped) | {"training_patients": patients}
        curves[kind].append(row | {"x": row["training_patients"] if kind == PATIENTS else share})
        minutes[f"{kind} {share:g}"] = _minutes(point.method)
    curves[PATIENTS].append(base | {"x": base["training_patients"]})
    scores = whole.scores
    return {
        "kind": "curves",
        **how_measured(whole.method, whole.done),
        "protocol": "W0: no true mask before evaluate; fixed split, one seed, one choice of patients and labels.",
        "definitions": DEFINITIONS,
        "minutes": minutes,
        "counts": next(iter(scores.values()))["counts"] | {"validation_patients": _patients(dataset, "validation")},
        "references": {name: _dice(scores[name]) for name in (BLOB,) if name in scores},
        "curves": {kind: points for kind, points in curves.items() if len(points) > 1},
    }


def _measure(dataset: PreparedDataset, runs: Runs, until: str | None, shared: Path | None = None) -> _Point:
    """Run the method and score its last masks, those that they were learnt from, and the brightest blob's."""
    rows = method_rows(runs, until, shared=[shared] if shared else [])
    if not rows.steps:
        raise InputError(f"--until {until}: makes no masks; choose a later stage")
    shown = [BLOB, *[name for name in rows.steps if name not in (DSRG, METHOD)][-1:], rows.steps[-1]]
    folders = {name: folder for name, folder in rows.folders.items() if name in shown}
    return _Point(rows.done, runs.method, score_rows(dataset, folders))


def _row(point: _Point, whole: _Point, flipped: int) -> dict[str, Any]:
    rows = {
        name: _dice(scores) | {"difference": dice_difference(whole.scores[name], scores)}
        for name, scores in point.scores.items()
        if name != BLOB
    }
    last = list(point.scores.values())[-1]
    return {"flipped": flipped, "rows": rows, "auc": last["classification"]["auc"]}


def _dice(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {"patients": scores["patients"]["dice"], "positives": scores["positives"]["dice"]}


def _patients(dataset: PreparedDataset, split: str = "training") -> int:
    return len({case.patient for case in dataset.cases(split)})


def _minutes(method: Path) -> float:
    return round(sum(record["seconds"] for record in Manifest(method).content["stages"].values()) / 60, 1)
