"""The table of boxes: class maps against boxes on films that their classifier never saw, and its AUC."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.rows.box_methods import BoxMethods, classifier_methods, localiser_methods
from benchmarks.rows.film_boxes import film_size, read_boxes
from benchmarks.rows.folds import patient_folds, shuffle_labels, write_variant
from benchmarks.rows.localisers import is_localiser
from benchmarks.scores.auc_interval import auc_interval
from benchmarks.scores.box_rows import (
    CENTRE,
    LUNGS,
    Film,
    Score,
    average_box_score,
    average_map_score,
    box_counts,
    boxed_films,
    map_score,
    points_score,
)
from benchmarks.scores.mask_boxes import AVERAGE_ROW, CENTRE_ROW, LUNG_ROW, summaries
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.data.presence import is_certain, is_present
from monai_wsss.errors import InputError
from monai_wsss.workflow import Pipeline
from monai_wsss.workflow.manifest import Manifest

logger = logging.getLogger(__name__)

SHUFFLED, RANDOM, AVERAGE_MAP = "shuffled labels", "random weights", "mean map of the other patients' films"

DEFINITIONS = {
    "pointing": "share of boxed films whose map has its maximum in a box, no tolerance; of tied pixels one is drawn",
    "box_iou": "IoU of the box of the map's largest component above `threshold` of its maximum with the box that it "
    "fits best, mean over boxed films; 0 where there is none",
    "methods": "at the last features before pooling, or at the layer that is named; scaled to [0, 1] by minimum and "
    "maximum, so that CAM keeps its negative evidence, of which Grad-CAM at the last features is the positive part",
    "maps": "of the labelled class in films of the fold's test patients, in the film's own pixels, not gated",
    CENTRE_ROW: f"the pixel at {CENTRE[0]} of the film's width and height",
    LUNG_ROW: f"one of {LUNGS[0]} and {LUNGS[1]} of the film's width and height, each half the time",
    AVERAGE_ROW: "mean of the corners of the boxes of the other patients' films: an oracle, not a method",
    AVERAGE_MAP: "mean of the bundle's class maps of the other patients' boxed films",
    SHUFFLED: "classifiers trained on the same films with their labels in random order",
    RANDOM: "the same network as it is built, without training or pre-trained weights",
    "pooled": "AUC of all films together, each scored by the classifier of the fold in which its patient tests",
    "within_folds": "the same, only films of one fold compared: classifiers of different folds differ in level",
    "nuisance": "cross-validated AUC of one variable that says nothing of the finding, five folds over patients",
    "interval": "95 % percentile bootstrap over patients, 2000 resamples; differences are paired",
}


@dataclass(frozen=True)
class _Fold:
    dataset: PreparedDataset
    data: Path
    method: Path
    shuffled: Path | None


def boxes_table(
    data: Path,
    boxes: Path,
    bundle: Path,
    work: Path,
    overlays: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    folds: int = 5,
    seed: int = 0,
    shuffled: bool = True,
    device: str = "auto",
) -> dict[str, Any]:
    """Train a classifier a fold where that is not done yet, and score its maps on the boxed films of the fold's test.

    Args:
        data: prepared folder of films with one class.
        boxes: table of boxes, see `read_boxes`; read for the scores alone.
        bundle: bundle folder; its stage `classify` runs, and its `seed.yaml` makes the maps. If its localisers make the
            masks, all of them are trained, and each makes maps.
        work: folder of the folds; a second call goes on where the first stopped.
        overlays: the bundle's overlays.
        overrides: ids set over them; `seed` is that of the training.
        folds: over patients, see `patient_folds`.
        seed: of the folds, the shuffling and the random weights.
        shuffled: also train a classifier on shuffled labels in every fold, which doubles the time.
        device: device id.

    Returns:
        `{kind: "boxes", ..., classifier: {...}, rows: {name: {pointing, box_iou, difference, ...}}}`.

    Raises:
        InputError: several classes, a film with several slices, or as `read_boxes`, `patient_folds` and the stages.
    """
    dataset = PreparedDataset.read(data)
    if len(dataset.labels) != 1:
        raise InputError(f"{data}: {len(dataset.labels)} classes; boxes are of one")
    known, localises = read_boxes(boxes, data), is_localiser(bundle)
    for case in dataset.cases():
        film_size(case)
    began = time.perf_counter()
    ready = [
        _train(part, data, bundle, work / f"fold{index}", overlays, dict(overrides or {}), seed, shuffled, device)
        for index, part in enumerate(patient_folds(dataset, folds, seed))
    ]
    seconds = _seconds([fold.method for fold in ready])
    others = _seconds([fold.shuffled for fold in ready if fold.shuffled])
    seconds |= {f"{stage}, {SHUFFLED}": value for stage, value in others.items()}
    last = list(Manifest(ready[0].method).content["stages"])[-1]
    logger.info("folds ready after %.1f min; maps of %d films", (time.perf_counter() - began) / 60, len(known))
    began = time.perf_counter()
    methods = localiser_methods(list(seconds), device) if localises else classifier_methods(ready[0].method, device)
    classifier = _classifier_scores(ready, methods)
    films = boxed_films(dataset, known)
    rows = _rows(ready, films, methods, seed)
    seconds["maps and scores"] = time.perf_counter() - began
    record, content = Manifest(ready[0].method).stage(last), Manifest(ready[0].method).content
    return {
        "kind": "boxes",
        "bundle": content["bundle"],
        "overlays": content["overlays"],
        "overrides": content["overrides"],
        "protocol": "W0: no box before the scores; checkpoints by image-level loss, the threshold is "
        + ("a quantile of the maps of negative validation films." if localises else "the config's."),
        "seeds": [record["seed"]],
        "folds": folds,
        "fold_seed": seed,
        "device": record["device"],
        "threads": record["threads"],
        "versions": record["versions"],
        "minutes": {name: round(value / 60, 1) for name, value in seconds.items()},
        "counts": box_counts(dataset, films),
        "threshold": methods.threshold,
        "method": methods.own,
        "definitions": DEFINITIONS | dict(methods.definitions),
        "classifier": classifier,
        "nuisance": nuisance_of(data),
        "rows": summaries(rows, methods.own, films),
    }


def _train(
    dataset: PreparedDataset,
    data: Path,
    bundle: Path,
    folder: Path,
    overlays: Sequence[str],
    values: Mapping[str, Any],
    seed: int,
    shuffled: bool,
    device: str,
) -> _Fold:
    def train(labelled: PreparedDataset, name: str) -> Path:
        prepared, run = write_variant(labelled, data, folder / f"{name}_data"), folder / name
        logger.info("%s: %s", folder.name, name)
        last = "train" if is_localiser(bundle) else "classify"
        Pipeline(str(bundle), str(prepared), str(run), None, overlays, values, device, "none", until_stage=last).run()
        return run

    method = train(dataset, "method")
    other = train(shuffle_labels(dataset, seed), "shuffled") if shuffled else None
    return _Fold(dataset, folder / "method_data", method, other)


def _seconds(runs: Sequence[Path]) -> dict[str, float]:
    """What the stages took, all runs together."""
    found: dict[str, float] = {}
    for run in runs:
        for stage, record in Manifest(run).content["stages"].items():
            found[stage] = found.get(stage, 0.0) + record["seconds"]
    return found


def _classifier_scores(folds: Sequence[_Fold], methods: BoxMethods) -> dict[str, Any]:
    found = {
        name: _out_of_fold_auc(folds, [fold.method for fold in folds], chances)
        for name, chances in methods.chances.items()
    }
    name, chances = list(methods.chances.items())[-1]
    if shuffled := [fold.shuffled for fold in folds if fold.shuffled]:
        found[f"{name}, {SHUFFLED}"] = _out_of_fold_auc(folds, shuffled, chances)
    return found


def _out_of_fold_auc(
    folds: Sequence[_Fold], runs: Sequence[Path], chances: Callable[[Path, Path, Sequence[Case]], dict[str, float]]
) -> dict[str, Any]:
    items = []
    for index, (fold, run) in enumerate(zip(folds, runs, strict=True)):
        cases = [case for case in fold.dataset.test if is_certain(case.classes[0])]
        found = chances(run, fold.data, cases)
        items += [(found[case.case], bool(is_present(case.classes[0])), case.patient, index) for case in cases]
    scores, positive, patients, fold_of = (list(column) for column in zip(*items, strict=True))
    return {
        "pooled": auc_interval(scores, positive, patients),
        "within_folds": auc_interval(scores, positive, patients, fold_of),
    }


def _rows(folds: Sequence[_Fold], films: Sequence[Film], methods: BoxMethods, seed: int) -> dict[str, list[Score]]:
    """Scores of the films by row."""
    kinds: dict[str, dict[str, Tensor]] = {name: {} for name in (RANDOM, SHUFFLED, *methods.maps)}
    boxed = {film.case for film in films}
    for index, fold in enumerate(folds):
        cases = [case for case in fold.dataset.test if case.case in boxed]
        for name, maps in methods.maps.items():
            kinds[name] |= maps(fold.method, cases)
        kinds[RANDOM] |= methods.random(fold.method, fold.data, cases, seed + index)
        if fold.shuffled:
            kinds[SHUFFLED] |= methods.maps[methods.own](fold.shuffled, cases)
    threshold = methods.threshold
    rows = {
        CENTRE_ROW: [points_score(CENTRE, film) for film in films],
        LUNG_ROW: [points_score(LUNGS, film) for film in films],
        AVERAGE_ROW: [average_box_score(films, film) for film in films],
        AVERAGE_MAP: [average_map_score(kinds[methods.own], films, film, threshold) for film in films],
    }
    return rows | {
        name: [map_score(maps[film.case], film, threshold) for film in films] for name, maps in kinds.items() if maps
    }


def nuisance_of(data: Path) -> dict[str, float]:
    """What `prepare` found that tells the label without the finding: variable -> AUC, where it tells anything."""
    path = data / "shortcuts.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))["shortcuts"]
    return {item["variable"]: item["auc"] for item in found if item["auc"] is not None and not item["reason"]}
