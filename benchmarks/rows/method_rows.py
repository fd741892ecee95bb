"""The rows of one method in one cell: trivial masks, the method's steps, and the runs beside it."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.rows.baselines import all_background, brightest_blob, position_prior
from benchmarks.rows.cells import STEPS_FILE
from benchmarks.rows.geometry import mask_to_source
from benchmarks.rows.localisers import (
    LOCALISERS,
    is_localiser,
    localiser_masks,
    localiser_of,
    random_localiser,
    trained_localisers,
    write_prior_masks,
)
from benchmarks.rows.row_names import (
    BACKGROUND,
    BLOB,
    CEILING,
    DSRG,
    EXTRAS,
    FEW_SHOT,
    METHOD,
    PRIOR,
    RANDOM,
    SHUFFLED,
)
from benchmarks.rows.run_parts import preprocessing_of
from benchmarks.rows.runs import Runs
from benchmarks.rows.steps import Masks, other_classifier_masks, prior_masks, step_masks
from monai_wsss.data import PreparedDataset, write_json, write_mask
from monai_wsss.ops import body_mask
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.manifest import folder_hash

_MADE_FILE = "made.json"  # the rows that are there, and what they were made from
_FIRST = (BACKGROUND, BLOB, PRIOR, SHUFFLED, RANDOM)  # rows that are no steps of the method


@dataclass(frozen=True)
class MethodRows:
    """Rows of a method in a cell.

    Attributes:
        work: folder of its runs.
        folders: folder of masks by row, in the table's order.
        steps: the rows that the method itself makes, in its order.
        done: stages of the method.
    """

    work: Path
    folders: Mapping[str, Path]
    steps: Sequence[str]
    done: Sequence[str]


def method_rows(
    runs: Runs,
    until: str | None = None,
    extras: Sequence[str] = (),
    trivial: bool = True,
    shared: Sequence[Path] = (),
) -> MethodRows:
    """Run a method, and what is compared with it, where that is not done yet; write the masks of its rows.

    Args:
        runs: the method's runs.
        until: last stage.
        extras: keys of `EXTRAS`.
        trivial: whether to make the rows that need no training.
        shared: runs whose stages are taken where they are the same, the first of several that have it.
    """
    work, file = runs.work, runs.work / _MADE_FILE
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if known and known["from"] == _made_from(runs, until, extras, trivial):
        return MethodRows(
            work, {name: work / path for name, path in known["rows"].items()}, known["steps"], known["done"]
        )
    done = runs.until(until)
    if shared:
        runs.share(shared, until)
    method = runs.run_method(until)
    makers, prior = _makers(runs, done, runs.shuffled() if "shuffled" in extras else None, "random" in extras, trivial)
    dataset = PreparedDataset.read(runs.data)
    folders = write_rows(dataset, preprocessing_of(method), makers, prior, work / "rows", trivial)
    folders |= _earlier_networks(runs, done)
    folders |= {METHOD: method / "predictions"} if "infer" in done else {}
    steps = [name for name in folders if name not in _FIRST]
    if steps and steps[-1] not in (DSRG, METHOD) and (method / "seeds" / "slices.csv").is_file():
        shutil.copyfile(method / "seeds" / "slices.csv", folders[steps[-1]] / "slices.csv")  # for its scores
    beside = {"ungated": runs.ungated, "few-shot": runs.few_shot, "ceiling": runs.supervised}
    folders |= {EXTRAS[key]: make() for key, make in beside.items() if key in extras}
    rows = {name: folder.relative_to(work).as_posix() for name, folder in folders.items()}
    write_json(work / STEPS_FILE, {name: rows[name] for name in (*steps, FEW_SHOT, CEILING) if name in rows})
    made_from = _made_from(runs, until, extras, trivial)
    write_json(file, {"from": made_from, "rows": rows, "steps": steps, "done": done})
    return MethodRows(work, folders, steps, done)


def write_rows(
    dataset: PreparedDataset,
    preprocess: GridPreprocessing,
    makers: Mapping[str, Masks],
    prior_masks: Path | None,
    folder: Path,
    trivial: bool = True,
) -> dict[str, Path]:
    """Write the trivial rows and those of `makers` in the source's geometry; returns their folders."""
    prior = None
    if prior_masks is not None and trivial:
        training = [np.load(prior_masks / f"{case.case}.npy") for case in dataset.cases("training")]
        prior = position_prior(torch.from_numpy(np.concatenate(training)), len(dataset.labels))
    folders: dict[str, Path] = {}
    for case in dataset.cases("test") if trivial or makers else ():
        image = preprocess({"image": str(case.image)})["image"]
        volume = torch.as_tensor(image)[0].movedim(-1, 0)
        masks = _trivial(volume, prior, len(dataset.labels)) if trivial else {}
        masks |= {name: maker(case) for name, maker in makers.items()}
        for name, mask in masks.items():
            folders[name] = folder / name.replace(" ", "_").replace(",", "")
            write_mask(folders[name] / f"{case.case}.nii.gz", mask_to_source(mask, image, preprocess), case.image)
    return folders


def _made_from(runs: Runs, until: str | None, extras: Sequence[str], trivial: bool) -> str:
    """Digest of all that the rows follow from: settings, data, and the records of the runs, which change with them."""
    bundle, data = folder_hash(runs.bundle / "configs"), folder_hash(runs.data / "dataset.json")
    weights = [folder_hash(Path(value)) for value in runs.values.values() if str(value).endswith((".pt", ".pth"))]
    records = {path.parent.name: folder_hash(path) for path in sorted(runs.work.glob("*/run.json"))}
    asked = [list(runs.overlays), dict(runs.values), until, list(extras), trivial]
    content = json.dumps([bundle, data, weights, records, asked], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _makers(
    runs: Runs, done: Sequence[str], shuffled: Path | None, random: bool, trivial: bool
) -> tuple[dict[str, Masks], Path | None]:
    """What makes the rows of masks that no stage writes, and the folder of the masks whose places the prior takes."""
    make = _localiser_makers if is_localiser(runs.bundle) else _map_makers
    return make(runs, done, shuffled, random, runs.work / "prior_masks" if trivial else None)


def _map_makers(
    runs: Runs, done: Sequence[str], shuffled: Path | None, random: bool, prior: Path | None
) -> tuple[dict[str, Masks], Path | None]:
    """Of a method with class maps."""
    method, data, device = runs.method, runs.data, runs.device
    makers = {SHUFFLED: other_classifier_masks(method, data, shuffled, device=device)} if shuffled else {}
    makers |= {RANDOM: other_classifier_masks(method, data, None, runs.seed, device)} if random else {}
    return makers | step_masks(method, data, done, device), prior_masks(method, done) if prior else None


def _localiser_makers(
    runs: Runs, done: Sequence[str], shuffled: Path | None, random: bool, prior: Path | None
) -> tuple[dict[str, Masks], Path | None]:
    """Of a method whose localisers, one a stage, make the masks. The prior's are written to `prior`."""
    method, data, device, trained = runs.method, runs.data, runs.device, trained_localisers(done)
    makers = {}
    if shuffled:
        makers[SHUFFLED] = localiser_masks(method, localiser_of(shuffled, LOCALISERS["train"]), data, device)
    if random:
        makers[RANDOM] = localiser_masks(method, random_localiser(method, data, runs.seed, device), data, device)
    return makers, write_prior_masks(method, trained[-1], data, prior, device) if trained and prior else None


def _earlier_networks(runs: Runs, done: Sequence[str]) -> dict[str, Path]:
    """Predictions of the networks that a method trains before its last."""
    if is_localiser(runs.bundle):
        trained = [one for one in trained_localisers(done) if one is not LOCALISERS["train"]]
        return {one.row: runs.localised(one) for one in trained}
    return {DSRG: runs.grown()} if "dsrg" in done else {}


def _trivial(volume: Tensor, prior: Tensor | None, num_labels: int) -> dict[str, Tensor]:
    """Masks (D, H, W) of the rows that need no training; brightness does not tell classes apart."""
    body = body_mask(volume.movedim(0, -1)[None, None])[0, 0].movedim(-1, 0)
    masks = {BACKGROUND: all_background(volume)}
    masks |= {BLOB: brightest_blob(volume, body)} if num_labels == 1 else {}
    return masks if prior is None else masks | {PRIOR: prior.expand_as(volume) * body}
