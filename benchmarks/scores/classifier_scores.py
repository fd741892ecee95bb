"""How well a run's classifier tells test slices with the finding from those without."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rows.run_parts import stage_of
from benchmarks.scores.auc_interval import auc_interval
from benchmarks.scores.slice_probabilities import labelled_images
from monai_wsss.engines import load_weights
from monai_wsss.errors import InputError
from monai_wsss.metrics import bootstrap_mean, expected_calibration_error, f1, paired_difference

DEFINITIONS = {
    "accuracy, sensitivity, specificity, f1": "of slices, at probability 0.5; a volume with one label for all of its "
    "slices counts once, by its highest slice",
    "auc": "within a fold and seed, mean over them weighted by their pairs: classifiers of two folds differ in level",
    "ece": "expected calibration error of the positive class in 15 equal bins",
    "interval": "95 % percentile bootstrap over patients, 2000 resamples; seeds add no patients",
}
_THRESHOLD = 0.5
Slices = Sequence[Mapping[str, Any]]
"""Slices as :func:`slice_predictions` returns them, those of one fold and seed."""


@torch.no_grad()
def slice_predictions(run: Path, data: Path, device: str = "auto") -> list[dict[str, Any]]:
    """Test slices with a certain label: `{patient, case, number, positive, probability}`, as plain data.

    `number` counts a case's slices with a certain label. The classifier is the one that `classify` kept, with the
    output stride that it learnt with. A volume with one label for all of its slices is one item, by its highest slice.

    Args:
        run: with a finished stage `classify`.
        data: prepared folder of one class.
        device: device id.

    Raises:
        InputError: several classes, or no classifier.
    """
    stage = stage_of(run, data, "classify.yaml", device)
    if len(stage.dataset.labels) != 1:
        raise InputError(f"{data}: {len(stage.dataset.labels)} classes; the table of classifiers is of one")
    weights = run / "classifier" / "model.pt"
    if not weights.is_file():
        raise InputError(f"{run}: has no classifier; run its stage classify first")
    network = load_weights(stage.network, weights).to(stage.device).eval()
    found = []
    for case in stage.dataset.cases("test"):
        batches = stage.volume(case).split(stage.batch_size)
        chances = torch.cat([network(batch.to(stage.device)).float().sigmoid().cpu() for batch in batches])[:, 0]
        images = labelled_images([case], {case.case: dict(enumerate(chances.tolist()))})
        for number, (chance, positive) in enumerate(zip(images.probability, images.positive, strict=True)):
            item = {"patient": case.patient, "case": case.case, "number": number}
            found.append({**item, "positive": positive, "probability": chance})
    return found


def classifier_scores(run: Path, data: Path, device: str = "auto") -> dict[str, Any]:
    """:func:`score_predictions` of one run.

    Raises:
        InputError: as :func:`slice_predictions`, or no test slice with a certain label.
    """
    found = slice_predictions(run, data, device)
    if not found:
        raise InputError(f"{data}: no test slice has a certain label; a table of classifiers needs some")
    return score_predictions([found])


def score_predictions(cells: Sequence[Slices]) -> dict[str, Any]:
    """Scores of slices together, where each fold and seed is a cell of its own; the order of the cells is free.

    Args:
        cells: of each fold and seed its slices, one at least.

    Returns:
        `{accuracy, sensitivity, specificity, auc}` with intervals, `{f1, ece, counts, per_patient}`; None where a score
        is not defined. `per_patient` is a patient's share of slices that are right, mean over the seeds.

    Raises:
        ValueError: no slice.
    """
    items = [(number, item) for number, cell in enumerate(cells) for item in cell]
    if not items:
        raise ValueError("there is no slice to score.")
    items.sort(key=lambda pair: (pair[1]["case"], pair[1]["number"], pair[0]))
    patients = [item["patient"] for _, item in items]
    chances, positive = (np.array([item[key] for _, item in items], float) for key in ("probability", "positive"))
    right = (chances >= _THRESHOLD) == positive
    chance, truth = torch.from_numpy(chances), torch.from_numpy(positive)
    slices = {(item["case"], item["number"]): item for _, item in items}
    with_finding = {item["patient"] for item in slices.values() if item["positive"]}
    return {
        "accuracy": _mean(right, patients),
        "auc": auc_interval(chances.tolist(), positive.astype(bool).tolist(), patients, [cell for cell, _ in items]),
        "f1": f1(chance, truth, _THRESHOLD),
        "sensitivity": _mean(right, patients, positive == 1),
        "specificity": _mean(right, patients, positive == 0),
        "ece": expected_calibration_error(chance, truth),
        "counts": {
            "patients": len(set(patients)),
            "patients_without": len(set(patients) - with_finding),
            "slices": len(slices),
            "positive_slices": sum(bool(item["positive"]) for item in slices.values()),
        },
        "per_patient": _by_patient(right, patients),
    }


def accuracy_difference(base: Sequence[Slices], other: Sequence[Slices]) -> dict[str, Any]:
    """Paired difference of accuracy, `base` minus the other, over the same slices in the same cells.

    Raises:
        ValueError: the slices differ.
    """
    ours, theirs = _right(base), _right(other)
    if ours.keys() != theirs.keys():
        raise ValueError("two classifiers are compared on the same slices, these differ.")
    patients = [patient for *_, patient in ours]
    return paired_difference(list(ours.values()), [theirs[key] for key in ours], patients)


def _right(cells: Sequence[Slices]) -> dict[tuple[int, str, int, str], float]:
    return {
        (number, item["case"], item["number"], item["patient"]): float(
            (item["probability"] >= _THRESHOLD) == item["positive"]
        )
        for number, cell in enumerate(cells)
        for item in cell
    }


def _mean(right: np.ndarray, patients: Sequence[str], rows: np.ndarray | None = None) -> dict[str, Any]:
    kept = [index for index in range(len(right)) if rows is None or rows[index]]
    return bootstrap_mean(right[kept].astype(float).tolist(), [patients[index] for index in kept])


def _by_patient(right: np.ndarray, patients: Sequence[str]) -> dict[str, float]:
    shares = defaultdict(list)
    for patient, value in zip(patients, right, strict=True):
        shares[patient].append(float(value))
    return {patient: float(np.mean(values)) for patient, values in sorted(shares.items())}
