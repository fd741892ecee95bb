"""One row's scores from all folds and their trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.scores.counts import count_cases
from monai_wsss.data import PreparedDataset
from monai_wsss.metrics import CaseCounts, bootstrap_mean, paired_difference, summarise

_MEANS = ("negatives", "lesions", "dataset", "papers", "classification")


def pool(turns: Sequence[Sequence[CaseCounts]], labels: Sequence[str]) -> dict[str, Any]:
    """Scores of a row as `summarise` makes them, averaged over the turns, with intervals over patients.

    A patient's Dice is its mean over the turns. A slice counts once a turn, so that its mean is that of the turns, and
    the interval draws a patient with the slices of all turns: they add no patients.

    Args:
        turns: of each turn, a training of every fold, the counts of every case, whichever fold it tested in.
        labels: names of the labels.

    Returns:
        `{patients, positives, negatives, lesions, dataset, papers, classification, counts, per_patient, spread}`, with
        several labels also `classes`; `spread` holds the means of each turn, `{patients: [...], positives: [...]}`.

    Raises:
        ValueError: turns whose cases differ.
    """
    names = [sorted(counts.case for counts in cases) for cases in turns]
    if any(found != names[0] for found in names):
        raise ValueError("every turn must have the same cases")
    each = [summarise(cases, labels) for cases in turns]
    of_patient = [{item["patient"]: item["dice"] for item in scores["per_patient"]} for scores in each]
    per_patient = {patient: mean([found[patient] for found in of_patient]) for patient in of_patient[0]}
    pooled = {
        "labels": list(labels),
        "patients": {"dice": bootstrap_mean(list(per_patient.values()), list(per_patient))},
        "positives": _positives(turns, labels, each),
        **{key: mean([scores[key] for scores in each]) for key in _MEANS},
        "counts": each[0]["counts"],
        "per_patient": per_patient,
        "spread": {key: [scores[key]["dice"]["mean"] for scores in each] for key in ("patients", "positives")},
    }
    if "classes" in each[0]:  # each with every score would be a hundred times this
        pooled["classes"] = {
            name: mean([scores["classes"][name]["dataset"] for scores in each]) for name in each[0]["classes"]
        }
    return pooled


def score_rows(dataset: PreparedDataset, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Scores of every folder of masks on the test cases, by row."""
    cases, labels = dataset.cases("test"), dataset.labels
    return {name: pool([count_cases(folder, cases, labels)], labels) for name, folder in folders.items()}


def dice_difference(base: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    """Paired difference of Dice per patient, `base` minus the other, of two outputs of `pool` on the same patients."""
    ours, theirs = base["per_patient"], scores["per_patient"]
    return paired_difference(list(ours.values()), [theirs[patient] for patient in ours], list(ours))


def mean(values: Sequence[Any]) -> Any:
    """Mean of numbers, or of dictionaries of numbers key by key; what is None is left out, and None if all are."""
    if isinstance(values[0], Mapping):
        return {key: mean([value[key] for value in values]) for key in values[0]}
    known = [value for value in values if value is not None]
    if not known or all(value == known[0] for value in known):
        return known[0] if known else None  # a count stays a whole number
    return sum(known) / len(known)


def _positives(
    turns: Sequence[Sequence[CaseCounts]], labels: Sequence[str], each: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    if len(turns) == 1:
        return each[0]["positives"]
    every = [replace(counts, case=f"{counts.case}, {turn}") for turn, cases in enumerate(turns) for counts in cases]
    together = summarise(every, labels)["positives"]
    return {key: score | {"n": each[0]["positives"][key]["n"]} for key, score in together.items()}
