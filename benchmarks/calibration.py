"""How far the classifier's probabilities of test images can be taken at their word."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scores.pooled_runs import Folders, as_list, pool, run_settings, same_cases
from benchmarks.scores.slice_probabilities import Labelled, labelled_images, read_probabilities
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.metrics import ECE_BINS, auc, bootstrap_mean, expected_calibration_error

DEFINITIONS = {
    "images": "films or slices of the test split with a certain label; a volume with one label counts once, by its "
    "highest slice",
    "bins": "of equal width, closed on the right; the share of positives in a bin beside the mean probability there",
    "ece": "sum over bins of the share of images in it times |mean probability - share of positives|",
    "brier": "mean of (probability - label)^2",
    "brier_share": "the same of one probability for all images, their share of positives",
    "interval": "95 % percentile bootstrap over patients, all images of a drawn patient together, 2000 resamples",
}


def calibration(data: Path, runs: Mapping[str, Folders], bins: int = ECE_BINS) -> dict[str, Any]:
    """Reliability of the slice probabilities in finished runs' `predictions`, against image-level labels alone.

    Args:
        data: prepared folder with the labels of the predicted cases.
        runs: run folder by name, or one a fold; the same cases in all.
        bins: of the probabilities.

    Returns:
        `{kind: "calibration", definitions, runs, rows: {name: {counts, auc, ece, brier, brier_share, bins: [{low, high,
        n, probability, share}]}}}`; with several labels a row each, `NAME, LABEL`.

    Raises:
        InputError: a run without predictions, or without an image that has a certain label and a probability.
        ValueError: no bin.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2; Brier, 1950.
    """
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, got {bins}")
    dataset = PreparedDataset.read(data)
    folders = {name: [run / "predictions" for run in as_list(paths)] for name, paths in runs.items()}
    rows = {}
    for index, label in enumerate(dataset.labels):
        found = {
            name: pool((read_probabilities(folder / "slices.csv", label) for folder in paths), name)
            for name, paths in folders.items()
        }
        predicted = set(same_cases(found))
        cases = [case for case in dataset.cases() if case.case in predicted]
        for name, probabilities in found.items():
            images = labelled_images(cases, probabilities, index)
            if not images.positive:
                raise InputError(f"{name}: no predicted image has a label of {label} and a probability")
            rows[f"{name}, {label}" if len(dataset.labels) > 1 else name] = _reliability(images, bins)
    return {
        "kind": "calibration",
        "definitions": DEFINITIONS,
        "runs": {name: run_settings(paths) for name, paths in folders.items()},
        "rows": rows,
    }


def _reliability(images: Labelled, bins: int) -> dict[str, Any]:
    probability = np.array(images.probability)
    positive = np.array(images.positive, float)
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], probability, side="left")  # closed on the right, as the ECE's
    share = positive.mean()
    filled = []
    for index, (low, high) in enumerate(pairwise(edges)):
        inside = np.flatnonzero(place == index)
        patients = [images.patients[number] for number in inside]
        filled.append(
            {
                "low": float(low),
                "high": float(high),
                "n": len(inside),
                "probability": float(probability[inside].mean()) if len(inside) else None,
                "share": bootstrap_mean(positive[inside].tolist(), patients),
            }
        )
    score, target = torch.from_numpy(probability), torch.from_numpy(positive)
    return {
        "counts": {
            "patients": len(set(images.patients)),
            "images": len(positive),
            "positive": int(positive.sum()),
        },
        "auc": auc(score, target),
        "ece": expected_calibration_error(score, target, bins),
        "brier": bootstrap_mean(((probability - positive) ** 2).tolist(), images.patients),
        "brier_share": float(share * (1 - share)),
        "bins": filled,
    }
