"""The scores of a data set from the counts of its cases."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monai_wsss.metrics.case_counts import CaseCounts
from monai_wsss.metrics.classification import auc, expected_calibration_error, f1
from monai_wsss.metrics.intervals import bootstrap_mean
from monai_wsss.metrics.lesions import lesion_f1
from monai_wsss.metrics.paper_scores import paper_scores
from monai_wsss.metrics.segmentation import dice, iou, mean_iou, pixel_accuracy


def summarise(
    cases: Sequence[CaseCounts], labels: Sequence[str], samples: int = 2000, seed: int = 0, threshold: float = 0.5
) -> dict[str, Any]:
    """All scores as plain data (numbers, lists, None where a score is not defined: never NaN).

    With several labels each headline score is the mean over the labels (macro); ``classes`` holds every label's own.

    - ``patients.dice``: Dice over all voxels of a patient, mean over patients. A patient whose truth and prediction are
      both empty scores 1; ``counts.patients_empty`` says how many (patient, label) pairs those are.
    - ``positives.dice``, ``positives.iou``: mean over the slices with the label in their truth.
    - ``negatives``: of the slices (and cases) without the label, the share without any predicted voxel (``clean``,
      ``cases_clean``) and the mean number of false-positive voxels (``voxels``, ``cases_voxels``).
    - ``lesions``: pooled over all cases, any overlap counts (``lesion_counts``).
    - ``dataset``: from one confusion matrix of all voxels; mIoU includes the background, Dice does not.
    - ``papers``: means over slices as papers print them, and what an empty prediction scores (``PaperScores``).
    - ``classification``: of slices, whose truth is whether the label is in them; ``auc_slice_position`` is the AUC of
      closeness to the volume's middle slice alone, the shortcut that any AUC of slices must beat.

    Intervals resample patients (``bootstrap_mean``).

    Args:
        cases: counts of all cases, at least one.
        labels: names of the labels 1..K.
        samples: resamples of the intervals.
        seed: of the resampling.
        threshold: of the slice probability, for the classifier's F1.

    Raises:
        ValueError: no case, or counts that do not fit the labels.
    """
    if not cases:
        raise ValueError("there is no case to score")
    size = len(labels) + 1
    if wrong := [case.case for case in cases if case.matrices.shape[1:] != (size, size)]:
        raise ValueError(f"counts of {wrong[0]} do not have {len(labels)} labels")
    cases = sorted(cases, key=lambda case: case.case)
    ids = list(range(1, size))
    result = _scores(cases, ids, samples, seed, threshold)
    whole = torch.stack([case.matrices.sum(0) for case in cases]).sum(0)
    result["dataset"] = {
        "miou": _number(mean_iou(whole)),
        "pixel_accuracy": _number(pixel_accuracy(whole)),
        "dice": result["dataset"]["dice"],
    }
    result["counts"] = _counts(cases)
    if len(ids) > 1:
        result["classes"] = {
            name: _scores(cases, [k], samples, seed, threshold) for k, name in zip(ids, labels, strict=True)
        }
    result["per_patient"] = [
        {"patient": name, "dice": _number(dice(matrix)[1:].mean())} for name, matrix in _patient_matrices(cases).items()
    ]
    result["per_case"] = [_case_row(case) for case in cases]
    return result


def _scores(cases: Sequence[CaseCounts], ids: list[int], samples: int, seed: int, threshold: float) -> dict[str, Any]:
    """The scores over the labels ``ids``, each a mean over them."""
    per_patient = _patient_matrices(cases)
    patient_dice = dice(torch.stack(list(per_patient.values())))[:, ids].mean(1)

    slices = torch.cat([case.matrices for case in cases])
    of_patient = [case.patient for case in cases for _ in range(len(case.matrices))]
    slice_dice, slice_iou = dice(slices)[:, ids], iou(slices)[:, ids]
    positive = _true_voxels(slices)[:, ids] > 0
    row, column = positive.nonzero(as_tuple=True)
    groups, classes = [of_patient[index] for index in row.tolist()], column.tolist()
    per_case = torch.stack([case.matrices.sum(0) for case in cases])
    clean, voxels, negatives = _negatives(slices, ids)
    cases_clean, cases_voxels, negative_cases = _negatives(per_case, ids)
    lesions = torch.stack([case.lesions for case in cases]).sum(0)[[k - 1 for k in ids]]
    tp, fp, fn = lesions.sum(0).tolist()
    whole = per_case.sum(0)
    return {
        "patients": {"dice": bootstrap_mean(patient_dice, list(per_patient), samples=samples, seed=seed)},
        "positives": {
            "dice": bootstrap_mean(slice_dice[positive], groups, classes, samples, seed),
            "iou": bootstrap_mean(slice_iou[positive], groups, classes, samples, seed),
        },
        "negatives": {
            "clean": clean,
            "voxels": voxels,
            "slices": negatives,
            "cases_clean": cases_clean,
            "cases_voxels": cases_voxels,
            "cases": negative_cases,
        },
        "lesions": {"f1": _number(lesion_f1(lesions).nanmean()), "tp": tp, "fp": fp, "fn": fn},
        "dataset": {
            "iou": _number(iou(whole, empty=torch.nan)[ids].nanmean()),
            "dice": _number(dice(whole, empty=torch.nan)[ids].nanmean()),
        },
        "papers": {name: _number(value[ids].nanmean()) for name, value in paper_scores(slices)._asdict().items()},
        "classification": _classification(cases, ids, threshold),
    }


def _negatives(matrices: Tensor, ids: list[int]) -> tuple[float | None, float | None, int]:
    """Share of clean negatives, mean false-positive voxels, and number of (item, label) pairs without the label."""
    negative = _true_voxels(matrices)[:, ids] == 0
    claimed = matrices.sum(-2)[:, ids]
    count = negative.sum(0)
    clean = ((claimed == 0) & negative).sum(0) / count
    voxels = (claimed * negative).sum(0) / count
    return _number(clean.nanmean()), _number(voxels.nanmean()), int(count.sum())


def _classification(cases: Sequence[CaseCounts], ids: list[int], threshold: float) -> dict[str, Any]:
    known = [case for case in cases if case.probability is not None]
    rows: dict[str, list[float | None]] = {"auc": [], "f1": [], "ece": [], "auc_slice_position": []}
    slices = 0
    if known:
        probability = torch.cat([case.probability for case in known if case.probability is not None])
        present = _true_voxels(torch.cat([case.matrices for case in known])) > 0
        place = torch.cat([_closeness_to_middle(len(case.matrices)) for case in known])
        for k in ids:
            given = ~probability[:, k - 1].isnan()
            score, target = probability[given, k - 1], present[given, k]
            rows["auc"].append(auc(score, target))
            rows["f1"].append(f1(score, target, threshold))
            rows["ece"].append(expected_calibration_error(score, target))
            rows["auc_slice_position"].append(auc(place[given], target))
            slices += int(given.sum())
    means: dict[str, Any] = {}
    for name, values in rows.items():
        defined = [value for value in values if value is not None]
        means[name] = sum(defined) / len(defined) if defined else None
    return means | {"slices": slices}


def _counts(cases: Sequence[CaseCounts]) -> dict[str, int]:
    per_patient = torch.stack(list(_patient_matrices(cases).values()))
    empty = (_true_voxels(per_patient) + per_patient.sum(-2))[:, 1:] == 0
    positive = torch.cat([_true_voxels(case.matrices)[:, 1:].any(1) for case in cases])
    return {
        "patients": len(per_patient),
        "patients_empty": int(empty.sum()),
        "cases": len(cases),
        "slices": len(positive),
        "positive_slices": int(positive.sum()),
        "missing": sum(case.missing for case in cases),
    }


def _case_row(case: CaseCounts) -> dict[str, Any]:
    whole = case.matrices.sum(0)
    positive = _true_voxels(case.matrices)[:, 1:] > 0
    tp, fp, fn = case.lesions.sum(0).tolist()
    row: dict[str, Any] = {
        "case": case.case,
        "patient": case.patient,
        "dice": _number(dice(whole)[1:].mean()),
        "positive_dice": _number(dice(case.matrices)[:, 1:][positive].mean()),
        "slices": len(positive),
        "positive_slices": int(positive.any(1).sum()),
        "true_voxels": int(_true_voxels(whole)[1:].sum()),
        "predicted_voxels": int(whole.sum(-2)[1:].sum()),
        "lesions": {"tp": tp, "fp": fp, "fn": fn},
        "missing": case.missing,
    }
    if len(case.lesions) > 1:
        row["dice_of_labels"] = dice(whole)[1:].tolist()
    return row


def _patient_matrices(cases: Sequence[CaseCounts]) -> dict[str, Tensor]:
    matrices: dict[str, Tensor] = {}
    for case in cases:
        matrices[case.patient] = matrices.get(case.patient, 0) + case.matrices.sum(0)
    return matrices


def _true_voxels(matrices: Tensor) -> Tensor:
    """True voxels of every label, (..., C), of confusion matrices (..., C, C)."""
    return matrices.sum(-1)


def _closeness_to_middle(depth: int) -> Tensor:
    # whole numbers before the division, so that slices equally far on both sides tie exactly
    return -(2 * torch.arange(depth) + 1 - depth).abs().double() / depth


def _number(value: Tensor) -> float | None:
    number = float(value)
    return number if number == number else None
