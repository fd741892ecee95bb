"""The table of accuracy: trivial rows, each step of the method, and the supervised ceiling on the same test cases."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch
from torch import Tensor

from benchmarks.baselines import all_background, brightest_blob, position_prior
from benchmarks.folds import shuffle_labels, write_variant
from benchmarks.geometry import mask_to_grid, mask_to_source
from benchmarks.run_parts import preprocessing_of
from benchmarks.steps import Layout, Masks, layout_of, other_classifier_masks, step_masks
from monai_wsss.data import Case, PreparedDataset, write_array, write_json, write_mask
from monai_wsss.errors import InputError
from monai_wsss.metrics import paired_difference
from monai_wsss.ops import body_mask
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import Pipeline
from monai_wsss.workflow.bundle_config import load_config
from monai_wsss.workflow.evaluation import evaluate
from monai_wsss.workflow.manifest import Manifest

BACKGROUND, BLOB, PRIOR = "all background", "brightest blob", "position prior"
METHOD, UNGATED, CEILING = "segmenter", "segmenter, no classifier gate", "supervised ceiling"
SHUFFLED, RANDOM = "class maps, shuffled labels", "class maps, random weights"
EXTRAS = {"ungated": UNGATED, "ceiling": CEILING, "shuffled": SHUFFLED, "random": RANDOM}
_AFTER = {"ungated": "infer", "ceiling": "infer", "shuffled": "seed", "random": "seed"}  # stages that they need


def accuracy(
    data: Path,
    bundle: Path,
    work: Path,
    overlays: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    until: str | None = None,
    extras: Sequence[str] | None = None,
    beside: Sequence[Path] = (),
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
        beside: folders of other such tables on the same data, whose steps are added as rows.

    Returns:
        `{bundle, overlays, overrides, protocol, ..., base, rows: {name: scores}}`; `base` is the method's last row.

    Raises:
        InputError: a case without a true mask, a row that `until` leaves without its run, or as the stages.
    """
    dataset = PreparedDataset.read(data)
    stages = load_config(bundle / "configs" / "pipeline.yaml")["stages"]
    names = [stage["name"] for stage in stages]
    if until is not None and until not in names:
        raise InputError(f"--until {until}: no such stage; {bundle.name} has {', '.join(names)}")
    done = names[: names.index(until) + 1] if until else names
    wanted = (list(EXTRAS) if until is None else []) if extras is None else list(extras)
    for extra in wanted:
        if extra not in EXTRAS:
            raise InputError(f"--row {extra}: no such row; choose among {', '.join(EXTRAS)}")
        if _AFTER[extra] not in done:
            raise InputError(f"--row {extra}: needs the stage {_AFTER[extra]}, which comes after --until {until}")
    _check_truths(data, dataset, "ceiling" in wanted)

    layout, method, values = layout_of(names), work / "method", dict(overrides or {})
    run = partial(_run, bundle, overlays=overlays, values=values, device=device)
    run(data, method, until=until)
    given = [stage for stage in stages if stage["name"] in ("train", "infer")]
    if "ceiling" in wanted:
        _supervise(dataset, method, work / "supervised", layout)
        run(data, work / "supervised", stages=given, gate=False)
    if "ungated" in wanted:
        for name in ("classifier", "segmenter"):
            shutil.copytree(method / name, work / "ungated" / name, dirs_exist_ok=True)
        run(data, work / "ungated", stages=given[1:], gate=False)
    if "shuffled" in wanted:
        shuffled = write_variant(shuffle_labels(dataset), data, work / "shuffled_data")
        run(shuffled, work / "shuffled", until="classify")

    makers = step_masks(layout, method, data, [row for row, stage in layout.steps.items() if stage in done], device)
    if "random" in wanted:
        makers = {RANDOM: other_classifier_masks(method, data, None, device=device)} | makers
    if "shuffled" in wanted:
        makers = {SHUFFLED: other_classifier_masks(method, data, work / "shuffled", device=device)} | makers
    prior = layout.prior if layout.prior_stage in done and len(dataset.labels) == 1 else None
    folders = _write_rows(dataset, preprocessing_of(method), makers, method / prior if prior else None, work / "rows")
    folders |= {METHOD: method / "predictions"} if "infer" in done else {}
    base = list(folders)[-1]
    if base != METHOD and (method / "seeds" / "slices.csv").is_file():
        shutil.copyfile(method / "seeds" / "slices.csv", folders[base] / "slices.csv")  # probabilities, for its scores
    folders |= {UNGATED: work / "ungated" / "predictions"} if "ungated" in wanted else {}
    folders |= {CEILING: work / "supervised" / "predictions"} if "ceiling" in wanted else {}
    for other in beside:
        folders |= _rows_beside(other, layout)
    cases = dataset.cases("test")
    truths = {case.case: case.truth for case in cases if case.truth is not None}
    patients = {case.case: case.patient for case in cases}
    rows = {name: evaluate(folder, truths, None, patients, dataset.labels) for name, folder in folders.items()}
    return _table(rows, base, method, work)


def _check_truths(data: Path, dataset: PreparedDataset, ceiling: bool) -> None:
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


def _run(
    bundle: Path,
    data: Path,
    out: Path,
    *,
    overlays: Sequence[str],
    values: Mapping[str, Any],
    device: str,
    stages: Sequence[Mapping[str, str]] | None = None,
    until: str | None = None,
    gate: bool = True,
) -> None:
    settings = dict(values) | ({} if gate else {"infer_gate_probability": 0.0})
    Pipeline(str(bundle), str(data), str(out), stages, overlays, settings, device, "none", until_stage=until).run()


def _supervise(dataset: PreparedDataset, method: Path, ceiling: Path, layout: Layout) -> None:
    """True masks of training and validation in the place of pseudo masks; none of the test split."""
    shutil.copytree(method / "classifier", ceiling / "classifier", dirs_exist_ok=True)
    preprocess = preprocessing_of(method)
    for case in dataset.cases("training") + dataset.cases("validation"):
        mask = mask_to_grid(case, preprocess) if len(dataset.labels) == 1 else _labels_to_grid(case, preprocess)
        for folder in layout.learnt:
            write_array(ceiling / folder / f"{case.case}.npy", mask)


def _labels_to_grid(case: Case, preprocess: GridPreprocessing) -> np.ndarray:
    """A case's true labels on the network's grid, uint8 (D, H, W), by the nearest neighbour; 255 (ignored) stays."""
    image = preprocess({"image": str(case.image)})["image"]
    source = nib.load(case.truth)
    labels = np.asarray(source.dataobj, dtype=np.float32).reshape(1, *source.shape[:2], -1)
    on_grid = ResampleToMatch(mode="nearest", padding_mode="zeros")(MetaTensor(labels, affine=source.affine), image)
    return np.ascontiguousarray(np.moveaxis(on_grid[0].numpy().round().astype(np.uint8), -1, 0))


def _write_rows(
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


def _rows_beside(other: Path, layout: Layout) -> dict[str, Path]:
    """Rows of another table's folder that the method made: its steps, and its predictions."""
    found = {name: _folder(other / "rows", name) for name in layout.steps} | {METHOD: other / "method" / "predictions"}
    there = {f"{name} ({other.name})": folder for name, folder in found.items() if folder.is_dir()}
    if not there:
        raise InputError(f"{other}: no rows of such a table; run `python -m benchmarks accuracy --work {other}` first")
    return there


def _trivial(volume: Tensor, prior: Tensor | None) -> dict[str, Tensor]:
    """Masks (D, H, W) of the rows that need no training, of one class."""
    body = body_mask(volume.movedim(0, -1)[None, None])[0, 0].movedim(-1, 0)
    masks = {BLOB: brightest_blob(volume, body)}
    return masks if prior is None else masks | {PRIOR: prior.expand_as(volume) & body}


def _table(rows: Mapping[str, Any], base: str, method: Path, work: Path) -> dict[str, Any]:
    """What is kept: pooled scores without case names, paired differences from the method, minutes and device."""
    cases = {item["case"]: item for item in rows[base]["per_case"]}
    kept = {}
    for name, scores in rows.items():
        pairs = [(cases[item["case"]], item) for item in scores["per_case"]]
        ours, theirs = (torch.tensor([pair[i]["dice"] for pair in pairs]) for i in (0, 1))
        groups = [pair[0]["patient"] for pair in pairs]
        kept[name] = {key: value for key, value in scores.items() if key not in ("per_case", "definitions")}
        if "classes" in scores:  # each with every score would be a hundred times this
            kept[name]["classes"] = {label: own["dataset"] for label, own in scores["classes"].items()}
        kept[name]["difference"] = paired_difference(ours, theirs, groups)
    protocol = "W0: no true mask before evaluate; fixed split, one seed."
    if BLOB in rows:
        protocol += (
            " The brightest blob's constants were chosen on training masks, so that row knows more than W0 allows."
        )
    content = Manifest(method).content
    last = list(content["stages"].values())[-1]
    return {
        "bundle": content["bundle"],
        "overlays": content["overlays"],
        "overrides": content["overrides"],
        "protocol": protocol,
        "seeds": [last["seed"]],
        "folds": 1,
        "device": last["device"],
        "threads": last["threads"],
        "versions": last["versions"],
        "minutes": _minutes(method, work),
        "definitions": rows[base]["definitions"],
        "base": base,
        "rows": kept,
    }


def _minutes(method: Path, work: Path) -> dict[str, float]:
    seconds = {name: record["seconds"] for name, record in Manifest(method).content["stages"].items()}
    for folder, stage in (("supervised", "train"), ("shuffled", "classify")):
        if (record := Manifest(work / folder).stage(stage)) and "seconds" in record:
            seconds[f"{folder} {stage}"] = record["seconds"]
    return {name: round(value / 60, 1) for name, value in seconds.items()}


def save(table: Mapping[str, Any], path: Path) -> None:
    """Write the table's JSON."""
    write_json(path, table)
