"""The table of accuracy: trivial rows, each step of the method, and the supervised ceiling on the same test cases."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.baselines import all_background, brightest_blob, position_prior
from benchmarks.geometry import mask_to_source
from benchmarks.localisers import (
    LOCALISERS,
    is_localiser,
    localiser_masks,
    localiser_of,
    random_localiser,
    trained_localisers,
    write_prior_masks,
)
from benchmarks.quality import quality_of
from benchmarks.run_parts import config_of, preprocessing_of
from benchmarks.runs import Runs
from benchmarks.steps import Masks, other_classifier_masks, prior_masks, step_masks
from monai_wsss.data import PreparedDataset, write_json, write_mask
from monai_wsss.errors import InputError
from monai_wsss.metrics import paired_difference
from monai_wsss.ops import body_mask
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.evaluation import evaluate
from monai_wsss.workflow.manifest import Manifest

BACKGROUND, BLOB, PRIOR = "all background", "brightest blob", "position prior"
DSRG, METHOD = "DSRG", "segmenter"  # before and after the retraining round
UNGATED, CEILING = "segmenter, no classifier gate", "supervised ceiling"
SHUFFLED, RANDOM = "class maps, shuffled labels", "class maps, random weights"
EXTRAS = {"ungated": UNGATED, "ceiling": CEILING, "shuffled": SHUFFLED, "random": RANDOM}
_Rows = tuple[dict[str, Masks], dict[str, Masks], Path | None, dict[str, Path]]  # others, steps, prior, predicted
_BESIDE = [("supervised", "train"), *(("shuffled", name) for name in ("classify", *LOCALISERS))]  # runs and stages
STEPS_FILE = "steps.json"  # rows that the method made -> their folders
_AFTER = {"ungated": "infer", "ceiling": "infer", "shuffled": "seed", "random": "seed"}  # stages that they need
_AFTER_LOCALISER = {"ungated": "infer", "shuffled": "train", "random": "train"}  # nothing there learns from masks


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
) -> dict[str, Any]:
    """Run the bundle and what is compared with it where that is not done yet, and score every row on the test cases.

    With several classes the trivial rows that are made for one, brightest blob and position prior, are left out.

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
        from_run: run whose first stages are taken where they are the same.

    Returns:
        `{bundle, overlays, overrides, protocol, ..., base, rows: {name: scores}}`; `base` is the method's last row.

    Raises:
        InputError: a case without a true mask, a row that `until` leaves without its run, or as the stages.
    """
    dataset = PreparedDataset.read(data)
    runs = Runs(data, bundle, work, overlays, dict(overrides or {}), device)
    done = runs.until(until)
    localises = is_localiser(bundle)
    after = _AFTER_LOCALISER if localises else _AFTER
    wanted = (list(after) if until is None else []) if extras is None else list(extras)
    for extra in wanted:
        if extra not in after:
            raise InputError(f"--row {extra}: {bundle.name} has no such row; choose among {', '.join(after)}")
        if after[extra] not in done:
            raise InputError(f"--row {extra}: needs the stage {after[extra]}, which comes after --until {until}")
    check_truths(data, dataset, "ceiling" in wanted)
    besides = {label: _steps_of(other) for label, other in (beside or {}).items()}

    method = runs.run_method(until, from_run)
    make = _localiser_rows if localises else _pseudo_mask_rows
    makers, steps, prior, made = make(runs, done, wanted, work / "prior_masks" if len(dataset.labels) == 1 else None)
    folders = write_rows(dataset, preprocessing_of(method), makers | steps, prior, work / "rows") | made
    folders |= {METHOD: method / "predictions"} if "infer" in done else {}
    base = list(folders)[-1]
    if base not in (DSRG, METHOD) and (method / "seeds" / "slices.csv").is_file():
        shutil.copyfile(method / "seeds" / "slices.csv", folders[base] / "slices.csv")  # probabilities, for its scores
    folders |= {UNGATED: runs.ungated()} if "ungated" in wanted else {}
    folders |= {CEILING: runs.supervised()} if "ceiling" in wanted else {}
    own = [name for name in (*steps, *made, METHOD, CEILING) if name in folders]
    write_json(work / STEPS_FILE, {name: folders[name].relative_to(work).as_posix() for name in own})
    rows = score_rows(dataset, folders)
    for label, others in besides.items():
        rows |= _new_rows(label, score_rows(dataset, others), rows)
    table = table_of(rows, base, work, done)
    return table if localises else table | quality_of(method, data, done, work / "quality")


def _pseudo_mask_rows(runs: Runs, done: Sequence[str], wanted: Sequence[str], prior: Path | None) -> _Rows:
    """Rows of a method that makes masks of class maps, and learns from them; no prior without a folder for it."""
    method, data, device = runs.method, runs.data, runs.device
    makers = {}
    if "shuffled" in wanted:
        makers[SHUFFLED] = other_classifier_masks(method, data, runs.shuffled(), device=device)
    if "random" in wanted:
        makers[RANDOM] = other_classifier_masks(method, data, None, device=device)
    made = {DSRG: runs.grown()} if "dsrg" in done else {}
    return makers, step_masks(method, data, done, device), prior_masks(method, done) if prior else None, made


def _localiser_rows(runs: Runs, done: Sequence[str], wanted: Sequence[str], prior: Path | None) -> _Rows:
    """Rows of a method whose localisers, one a stage, make the masks. The prior's are written to `prior`."""
    method, data, device, final = runs.method, runs.data, runs.device, LOCALISERS["train"]
    makers = {}
    if "shuffled" in wanted:
        makers[SHUFFLED] = localiser_masks(method, localiser_of(runs.shuffled(), final), data, device)
    if "random" in wanted:
        makers[RANDOM] = localiser_masks(method, random_localiser(method, data, device=device), data, device)
    trained = trained_localisers(done)
    last = write_prior_masks(method, trained[-1], data, prior, device) if trained and prior else None
    return makers, {}, last, {one.row: runs.localised(one) for one in trained if one is not final}


def score_rows(dataset: PreparedDataset, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Scores of every folder of masks on the test cases, by row."""
    cases = dataset.cases("test")
    truths = {case.case: case.truth for case in cases if case.truth is not None}
    patients = {case.case: case.patient for case in cases}
    return {name: evaluate(folder, truths, None, patients, dataset.labels) for name, folder in folders.items()}


def check_truths(data: Path, dataset: PreparedDataset, ceiling: bool = False) -> None:
    """Every test case needs a true mask, and the ceiling needs those of the others."""
    if lacking := sum(case.truth is None for case in dataset.test):
        raise InputError(
            f"{data}: {lacking} of {len(dataset.test)} test cases have no true mask; prepare with --masks, or leave "
            "out the images that truth_problems in prepare.json names"
        )
    if ceiling and (lacking := sum(case.truth is None for case in dataset.cases())):
        raise InputError(
            f"{data}: {lacking} of {len(dataset.cases())} cases have no true mask, which the row ceiling learns from; "
            "choose other rows (--row)"
        )


def write_rows(
    dataset: PreparedDataset,
    preprocess: GridPreprocessing,
    makers: Mapping[str, Masks],
    prior_masks: Path | None,
    folder: Path,
) -> dict[str, Path]:
    """Write the trivial rows and those of `makers` in the source's geometry; returns their folders."""
    prior = None
    if prior_masks is not None:
        training = [np.load(prior_masks / f"{case.case}.npy") for case in dataset.cases("training")]
        prior = position_prior(torch.from_numpy(np.concatenate(training)))
    folders: dict[str, Path] = {}
    for case in dataset.cases("test"):
        image = preprocess({"image": str(case.image)})["image"]
        volume = torch.as_tensor(image)[0].movedim(-1, 0)
        masks = {BACKGROUND: all_background(volume)}
        masks |= _trivial(volume, prior) if len(dataset.labels) == 1 else {}
        masks |= {name: maker(case) for name, maker in makers.items()}
        for name, mask in masks.items():
            folders[name] = _folder(folder, name)
            write_mask(folders[name] / f"{case.case}.nii.gz", mask_to_source(mask, image, preprocess), case.image)
    return folders


def _folder(rows: Path, name: str) -> Path:
    return rows / name.replace(" ", "_").replace(",", "")


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


def _steps_of(other: Path) -> dict[str, Path]:
    """Folders of another table's rows that the method made: its steps, and its predictions."""
    steps = other / STEPS_FILE
    if not steps.is_file():
        raise InputError(f"{other}: no rows of such a table; run `python -m benchmarks accuracy --work {other}` first")
    return {name: other / folder for name, folder in json.loads(steps.read_text(encoding="utf-8")).items()}


def _new_rows(label: str, others: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, Any]:
    """Another table's rows by name and label, without those of steps that both runs have in common."""
    same = {name for name in others.keys() & rows.keys() if others[name]["per_case"] == rows[name]["per_case"]}
    return {f"{name} ({label})": scores for name, scores in others.items() if name not in same}


def _trivial(volume: Tensor, prior: Tensor | None) -> dict[str, Tensor]:
    """Masks (D, H, W) of the rows that need no training, of one class."""
    body = body_mask(volume.movedim(0, -1)[None, None])[0, 0].movedim(-1, 0)
    masks = {BLOB: brightest_blob(volume, body)}
    return masks if prior is None else masks | {PRIOR: prior.expand_as(volume) & body}


def table_of(rows: Mapping[str, Any], base: str, work: Path, done: Sequence[str]) -> dict[str, Any]:
    """What is kept: pooled scores without case names, paired differences from the base, minutes and device."""
    kept = {}
    for name, scores in rows.items():
        kept[name] = {
            key: value for key, value in scores.items() if key not in ("per_case", "per_patient", "definitions")
        }
        if "classes" in scores:  # each with every score would be a hundred times this
            kept[name]["classes"] = {label: own["dataset"] for label, own in scores["classes"].items()}
        kept[name]["difference"] = dice_difference(rows[base], scores)
    protocol = "W0: no true mask before evaluate; fixed split, one seed."
    quantile = config_of(work / "method", "train.yaml").get("threshold_quantile")
    if quantile is not None:
        protocol += f" A map's threshold is its {quantile:g} quantile on negative validation images."
    if BLOB in rows:
        protocol += (
            " The brightest blob's constants were chosen on training masks, so that row knows more than W0 allows."
        )
    return {
        **how_measured(work / "method", done),
        "protocol": protocol,
        "minutes": _minutes(work, done),
        "definitions": rows[base]["definitions"],
        "base": base,
        "rows": kept,
    }


def dice_difference(base: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    """Paired difference of Dice per patient, `base` minus the other, of two outputs of `evaluate`."""
    ours, theirs = ({item["patient"]: item["dice"] for item in found["per_patient"]} for found in (base, scores))
    return paired_difference(*(torch.tensor([found[name] for name in ours]) for found in (ours, theirs)), list(ours))


def how_measured(method: Path, done: Sequence[str]) -> dict[str, Any]:
    """Settings, seed, device and versions of a run whose last stage is that of `done`."""
    content = Manifest(method).content
    last = content["stages"][done[-1]]
    return {
        "bundle": content["bundle"],
        "overlays": content["overlays"],
        "overrides": content["overrides"],
        "seeds": [last["seed"]],
        "folds": 1,
        "device": last["device"],
        "threads": last["threads"],
        "versions": last["versions"],
    }


def _minutes(work: Path, done: Sequence[str]) -> dict[str, float]:
    """Minutes of the method's stages and of the runs beside it, by name; shared stages took them in the other run."""
    parts = [(name, work / "method", name) for name in done]
    parts += [(f"{run} {name}", work / run, name) for run, name in _BESIDE]
    records = {label: Manifest(folder).stage(name) for label, folder, name in parts}
    return {label: round(record["seconds"] / 60, 1) for label, record in records.items() if "seconds" in record}


def save(table: Mapping[str, Any], path: Path) -> None:
    """Write the table's JSON."""
    write_json(path, table)
