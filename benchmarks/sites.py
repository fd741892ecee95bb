"""The table across sites: every site is tested by what learnt from the other sites alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.boxes import nuisance_of
from benchmarks.rows.folds import patient_labels, resplit, write_variant
from benchmarks.rows.localisers import LOCALISERS, is_localiser, trained_localisers
from benchmarks.rows.method_rows import write_rows
from benchmarks.rows.row_names import METHOD
from benchmarks.rows.run_parts import preprocessing_of
from benchmarks.rows.runs import Runs
from benchmarks.scores.auc_interval import auc_interval
from benchmarks.scores.measured import how_measured
from benchmarks.scores.pooling import score_rows
from benchmarks.scores.slice_probabilities import labelled_images, read_probabilities
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.data.presence import is_present
from monai_wsss.data.split import split_leave_out_site
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest

DEFINITIONS = {
    "split": "as `prepare --leave-out-site`: patients with any image from the site test, the others train or validate",
    "auc": "of the row's own image probabilities; a volume with one label counts once, by its highest slice",
    "iou": "TP / (TP + FP + FN), mean over slices whose truth holds the label, if all test cases have a true mask",
    "interval": "95 % percentile bootstrap over patients, 2000 resamples",
}


def sites_table(
    data: Path,
    bundle: Path,
    work: Path,
    overlays: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Run the bundle once a site, trained on the others, and score each stage's localiser, or the method, on the site.

    Args:
        data: prepared folder of one class and at least two sites; its own split is not looked at.
        bundle: bundle folder.
        work: folder of the runs; a second call goes on where the first stopped.
        overlays: the bundle's overlays.
        overrides: ids set over them; `seed` is also that of the validation patients.
        device: device id.

    Returns:
        `{kind: "sites", ..., sites: {site: {counts, rows: {name: {auc, iou, dice, clean}}}}}`.

    Raises:
        InputError: several classes, fewer than two sites, a site without both answers, or as the stages.
    """
    dataset = PreparedDataset.read(data)
    values = dict(overrides or {})
    parts = {site: _leave_out(dataset, site, int(values.get("seed", 0))) for site in _sites(data, dataset)}
    found, minutes, run = {}, {}, work
    for number, (site, part) in enumerate(parts.items()):
        folder = work / f"site{number}"
        runs = Runs(write_variant(part, data, folder / "data"), bundle, folder, overlays, values, device)
        done = runs.until("infer")
        run = runs.run_method("infer")
        folders = {
            one.row: runs.localised(one)
            for one in (trained_localisers(done) if is_localiser(bundle) else [])
            if one is not LOCALISERS["train"]
        }
        folders[METHOD] = run / "predictions"
        found[site] = {"counts": _counts(part.test), "rows": _rows(part, folders, run, folder)}
        seconds = sum(record["seconds"] for record in Manifest(run).content["stages"].values())
        minutes[f"tested on {site}"] = round(seconds / 60, 1)
    return {
        "kind": "sites",
        **how_measured(run, done),
        "protocol": "W0: no true mask before the scores; one seed.",
        "definitions": DEFINITIONS,
        "minutes": minutes,
        "nuisance": nuisance_of(data),
        "sites": found,
    }


def _sites(data: Path, dataset: PreparedDataset) -> list[str]:
    """Names of the sites.

    Raises:
        InputError: what cannot be tested across sites.
    """
    if len(dataset.labels) != 1:
        raise InputError(f"{data}: {len(dataset.labels)} classes; the table across sites is of one")
    sites = sorted({case.site for case in dataset.cases() if case.site})
    if len(sites) < 2:
        raise InputError(f"{data}: {len(sites)} sites; prepare with a labels table that has a column site with two")
    for site in sites:
        answers = {float(case.classes[0]) for case in dataset.cases() if case.site == site}
        if not {0.0, 1.0} <= answers:
            raise InputError(f"{data}: site {site} lacks positive or negative images; its AUC needs both")
    return sites


def _leave_out(dataset: PreparedDataset, site: str, seed: int) -> PreparedDataset:
    sites: dict[str, set[str]] = {}
    for case in dataset.cases():
        if case.site:
            sites.setdefault(case.patient, set()).add(case.site)
    return resplit(dataset, split_leave_out_site(sites, patient_labels(dataset), site, seed=seed).split_of)


def _rows(part: PreparedDataset, folders: Mapping[str, Path], run: Path, folder: Path) -> dict[str, Any]:
    """Scores by row; those of masks where every test case has a true one, beside the trivial rows."""
    masks: dict[str, Any] = {}
    if all(case.truth is not None for case in part.test):
        folders = write_rows(part, preprocessing_of(run), {}, None, folder / "rows") | dict(folders)
        masks = score_rows(part, folders)
    rows: dict[str, Any] = {}
    for name, place in folders.items():
        rows[name] = {"auc": _auc(part, place / "slices.csv")}
        if name in masks:
            scores = masks[name]
            rows[name] |= {"iou": scores["positives"]["iou"], "dice": scores["patients"]["dice"]}
            rows[name] |= {"clean": scores["negatives"]["clean"]}
    return rows


def _auc(part: PreparedDataset, table: Path) -> dict[str, Any] | None:
    """AUC of the probabilities in a table of slices; None where there is none."""
    if not table.is_file():
        return None
    images = labelled_images(part.test, read_probabilities(table, part.labels[0]))
    return auc_interval(*images) if images.probability else None


def _counts(cases: Sequence[Case]) -> dict[str, int]:
    rows = [row for case in cases for row in case.slice_classes or (case.classes,)]
    return {
        "patients": len({case.patient for case in cases}),
        "images": len(rows),
        "positive": int(np.sum(is_present(rows))),
    }
