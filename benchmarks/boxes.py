"""The table of boxes: class maps against boxes on films that their classifier never saw, and its AUC."""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.auc_interval import auc_interval
from benchmarks.box_rows import (
    CENTRE,
    LUNGS,
    Film,
    Score,
    average_box_score,
    average_map_score,
    map_score,
    points_score,
)
from benchmarks.film_boxes import film_size, read_boxes
from benchmarks.film_maps import film_maps, probabilities
from benchmarks.folds import patient_folds, shuffle_labels, write_variant
from benchmarks.run_parts import classifier_of, config_of
from benchmarks.steps import first_masks
from monai_wsss.data import PreparedDataset
from monai_wsss.data.presence import is_certain, is_present
from monai_wsss.errors import InputError
from monai_wsss.metrics import bootstrap_mean, paired_difference
from monai_wsss.workflow import Pipeline
from monai_wsss.workflow.manifest import Manifest

logger = logging.getLogger(__name__)

METHODS = {
    "cam": "CAM",
    "grad_cam": "Grad-CAM",
    "grad_cam_pp": "Grad-CAM++",
    "grad_cam_pp_code": "Grad-CAM++, published code",
    "layer_cam": "LayerCAM",
}
_COMPARED = ("cam", "grad_cam", "grad_cam_pp", "layer_cam")
_LAST = "last"  # the features before pooling
_PLAIN = "class maps"  # of a bundle that knows one method
SHUFFLED, RANDOM, AVERAGE_MAP = "shuffled labels", "random weights", "mean map of the other patients' films"
CENTRE_ROW, LUNG_ROW = "film centre", "centre of a lung, drawn"
AVERAGE_ROW = "average box of the other patients (knows boxes)"

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
        bundle: bundle folder; its stage `classify` runs, and its `seed.yaml` makes the maps.
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
    known = read_boxes(boxes, data)
    for case in dataset.cases():
        film_size(case)
    began = time.perf_counter()
    ready = [
        _train(part, data, bundle, work / f"fold{index}", overlays, dict(overrides or {}), seed, shuffled, device)
        for index, part in enumerate(patient_folds(dataset, folds, seed))
    ]
    seconds = {"classify": _seconds(fold.method for fold in ready)}
    if shuffled:
        seconds[f"classify, {SHUFFLED}"] = _seconds(fold.shuffled for fold in ready if fold.shuffled)
    logger.info("folds ready after %.1f min; maps of %d films", (time.perf_counter() - began) / 60, len(known))
    began = time.perf_counter()
    classifier = _classifier_scores(ready, device)
    films = [
        Film(case.case, case.patient, film_size(case), known[case.case])
        for case in sorted(dataset.cases(), key=lambda case: case.case)
        if case.case in known
    ]
    threshold = _threshold(ready[0].method)
    rows, own = _rows(ready, films, threshold, seed, device)
    seconds["maps and scores"] = time.perf_counter() - began
    record, content = Manifest(ready[0].method).stage("classify"), Manifest(ready[0].method).content
    return {
        "kind": "boxes",
        "bundle": content["bundle"],
        "overlays": content["overlays"],
        "overrides": content["overrides"],
        "protocol": "W0: no box before the scores; checkpoints by image-level loss, the threshold is the config's.",
        "seeds": [record["seed"]],
        "folds": folds,
        "fold_seed": seed,
        "device": record["device"],
        "threads": record["threads"],
        "versions": record["versions"],
        "minutes": {name: round(value / 60, 1) for name, value in seconds.items()},
        "counts": _counts(dataset, films),
        "threshold": threshold,
        "method": own,
        "definitions": DEFINITIONS,
        "classifier": classifier,
        "nuisance": _nuisance(data),
        "rows": _summaries(rows, own, films),
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
    def classify(labelled: PreparedDataset, name: str) -> Path:
        prepared, run = write_variant(labelled, data, folder / f"{name}_data"), folder / name
        logger.info("%s: %s", folder.name, name)
        Pipeline(
            str(bundle), str(prepared), str(run), None, overlays, values, device, "none", until_stage="classify"
        ).run()
        return run

    method = classify(dataset, "method")
    other = classify(shuffle_labels(dataset, seed), "shuffled") if shuffled else None
    return _Fold(dataset, folder / "method_data", method, other)


def _seconds(runs: Iterable[Path]) -> float:
    return sum(Manifest(run).stage("classify")["seconds"] for run in runs)


def _threshold(run: Path) -> float:
    """The share of a map's maximum from which the bundle's own pseudo masks say lesion."""
    stage, threshold_id = first_masks(run)
    return float(config_of(run, f"{stage}.yaml")[threshold_id])


def _classifier_scores(folds: Sequence[_Fold], device: str) -> dict[str, Any]:
    found = {"classifier": _out_of_fold_auc(folds, [fold.method for fold in folds], device)}
    shuffled = [fold.shuffled for fold in folds if fold.shuffled]
    if shuffled:
        found[f"classifier, {SHUFFLED}"] = _out_of_fold_auc(folds, shuffled, device)
    return found


def _out_of_fold_auc(folds: Sequence[_Fold], runs: Sequence[Path], device: str) -> dict[str, Any]:
    items: list[tuple[float, bool, str, int]] = []
    for index, (fold, run) in enumerate(zip(folds, runs, strict=True)):
        cases = [case for case in fold.dataset.test if is_certain(case.classes[0])]
        chances = probabilities(run, fold.data, cases, device)
        items += [(chances[case.case], bool(is_present(case.classes[0])), case.patient, index) for case in cases]
    scores, positive, patients, fold_of = (list(column) for column in zip(*items, strict=True))
    return {
        "pooled": auc_interval(scores, positive, patients),
        "within_folds": auc_interval(scores, positive, patients, fold_of),
    }


def _rows(
    folds: Sequence[_Fold], films: Sequence[Film], threshold: float, seed: int, device: str
) -> tuple[dict[str, list[Score]], str]:
    """Scores of the films by row, and the name of the row that is the bundle's own."""
    methods, best = _methods(config_of(folds[0].method, "seed.yaml"))
    own = methods[best]
    kinds: dict[str, dict[str, Tensor]] = {name: {} for name in (RANDOM, SHUFFLED, *methods)}
    boxed = {film.case for film in films}
    for index, fold in enumerate(folds):
        cases = [case for case in fold.dataset.test if case.case in boxed]
        trained = classifier_of(fold.method, "seed.yaml")
        for name, settings in methods.items():
            kinds[name] |= film_maps(fold.method, trained, cases, settings, device)
        kinds[RANDOM] |= film_maps(
            fold.method, classifier_of(fold.method, "seed.yaml", seed + index), cases, own, device
        )
        if fold.shuffled:
            kinds[SHUFFLED] |= film_maps(fold.method, classifier_of(fold.shuffled, "seed.yaml"), cases, own, device)
    rows = {
        CENTRE_ROW: [points_score(CENTRE, film) for film in films],
        LUNG_ROW: [points_score(LUNGS, film) for film in films],
        AVERAGE_ROW: [average_box_score(films, film) for film in films],
        AVERAGE_MAP: [average_map_score(kinds[best], films, film, threshold) for film in films],
    }
    rows |= {
        name: [map_score(maps[film.case], film, threshold) for film in films] for name, maps in kinds.items() if maps
    }
    return rows, best


def _methods(config: Mapping[str, Any]) -> tuple[dict[str, dict[str, str]], str]:
    """Rows of the methods that are compared, with the ids of `seed.yaml` that make them, and the bundle's own row.

    CAM knows the last features alone; the others are taken there too, and at the bundle's own layer if that is another.
    """
    own = config.get("cam_method")
    if own is None:
        return {_PLAIN: {}}, _PLAIN
    layer, rows, best = config["cam_target"], {}, ""
    for target in dict.fromkeys((_LAST, layer)):
        for method in dict.fromkeys((*_COMPARED, own)):
            if method == "cam" and target != _LAST:
                continue
            name = METHODS.get(method, method) + ("" if target == _LAST else f", {target}")
            rows[name] = {"cam_method": method, "cam_target": target}
            if (method, target) == (own, _LAST if method == "cam" else layer):
                best = name
    return rows, best


def _summaries(rows: Mapping[str, Sequence[Score]], own: str, films: Sequence[Film]) -> dict[str, Any]:
    patients = [film.patient for film in films]
    hits = {name: [score.hit for score in scores] for name, scores in rows.items()}
    overlaps = {name: [s.iou for s in scores if s.iou is not None] for name, scores in rows.items()}
    return {
        name: {
            "hits": sum(hits[name]),
            "pointing": bootstrap_mean(hits[name], patients),
            "box_iou": bootstrap_mean(overlaps[name], patients) if overlaps[name] else None,
            "difference": paired_difference(hits[own], hits[name], patients),
            "iou_difference": paired_difference(overlaps[own], overlaps[name], patients) if overlaps[name] else None,
        }
        for name in rows
    }


def _counts(dataset: PreparedDataset, films: Sequence[Film]) -> dict[str, int]:
    cases = dataset.cases()
    return {
        "patients": len({case.patient for case in cases}),
        "films": len(cases),
        "positive_films": sum(bool(is_present(case.classes[0])) for case in cases),
        "boxed_patients": len({film.patient for film in films}),
        "boxed_films": len(films),
        "boxes": sum(len(film.boxes) for film in films),
    }


def _nuisance(data: Path) -> dict[str, float]:
    """What `prepare` found that tells the label without the finding: variable -> AUC, where it tells anything."""
    path = data / "shortcuts.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))["shortcuts"]
    return {item["variable"]: item["auc"] for item in found if item["auc"] is not None and not item["reason"]}
