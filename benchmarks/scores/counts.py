"""Counts of every test case of a row."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.scores.kept import kept_or_found
from benchmarks.scores.slice_probabilities import Probabilities, read_probabilities
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.metrics import CaseCounts, count_case
from monai_wsss.workflow.label_maps import check_geometry, read_label_map
from monai_wsss.workflow.manifest import folder_hash


def count_cases(folder: Path, cases: Sequence[Case], labels: Sequence[str]) -> list[CaseCounts]:
    """Counts of the cases' masks in `folder`, and of the probabilities in its slices.csv; as `evaluate` counts.

    Raises:
        InputError: a mask that cannot be read or is on another grid than the truth.
    """
    table = folder / "slices.csv"
    chances = [read_probabilities(table, label) for label in labels] if table.is_file() else []
    found = []
    for case in cases:
        assert case.truth is not None  # the table has checked
        truth, affine = read_label_map(case.truth, len(labels), truth=True)
        mask, own = folder / f"{case.case}.nii.gz", torch.zeros_like(truth)
        if mask.is_file():
            own, own_affine = read_label_map(mask, len(labels))
            check_geometry(mask, own.shape, own_affine, truth.shape, affine)
        probability = _table(chances, case.case, len(truth))
        missing, patient = not mask.is_file(), case.patient
        found.append(
            count_case(case.case, own, truth, len(labels), patient=patient, probability=probability, missing=missing)
        )
    return found


def kept_counts(folder: Path, dataset: PreparedDataset, kept: Path) -> list[CaseCounts]:
    """`count_cases` of the test cases, from the file `kept` where masks and truths are those that it was made from."""
    cases = dataset.cases("test")
    digest = hashlib.sha256(f"{folder_hash(folder)}".encode())
    for case in cases:
        digest.update(f"{case.case}\0{case.patient}\0{folder_hash(Path(str(case.truth)))}".encode())
    plain = kept_or_found(
        kept, digest.hexdigest(), lambda: [to_plain(item) for item in count_cases(folder, cases, dataset.labels)]
    )
    return [from_plain(item) for item in plain]


def to_plain(counts: CaseCounts) -> dict[str, Any]:
    """Counts as JSON: of the matrices the cells that are not zero, `[slice, true, predicted, voxels]`."""
    filled = counts.matrices.nonzero()
    return {
        "case": counts.case,
        "patient": counts.patient,
        "shape": list(counts.matrices.shape),
        "cells": torch.cat([filled, counts.matrices[tuple(filled.T)][:, None]], 1).tolist(),
        "lesions": counts.lesions.tolist(),
        "probability": None if counts.probability is None else _without_nan(counts.probability),
        "missing": counts.missing,
    }


def from_plain(item: Mapping[str, Any]) -> CaseCounts:
    """What `to_plain` wrote."""
    matrices = torch.zeros(item["shape"], dtype=torch.int64)
    cells = torch.tensor(item["cells"], dtype=torch.int64).reshape(-1, 4)
    matrices[tuple(cells[:, :3].T)] = cells[:, 3]
    chances = item["probability"]
    if chances is not None:
        chances = [[torch.nan if value is None else value for value in row] for row in chances]
    return CaseCounts(
        item["case"],
        item["patient"],
        matrices,
        torch.tensor(item["lesions"], dtype=torch.int64),
        None if chances is None else torch.tensor(chances, dtype=torch.float64),
        item["missing"],
    )


def _without_nan(table: Tensor) -> list[list[float | None]]:
    return [[value if value == value else None for value in row] for row in table.tolist()]


def _table(of_classes: Sequence[Probabilities], case: str, depth: int) -> Tensor | None:
    """Probabilities (D, K) of a case, NaN where unknown; None where none is known."""
    columns = [chances.get(case, {}) for chances in of_classes]
    if not any(columns):
        return None
    rows = [[column.get(index, torch.nan) for column in columns] for index in range(depth)]
    return torch.tensor(rows, dtype=torch.float64)
