"""Classifiers that see how an image was taken and stored, and nothing of what it shows: the hurdle of any AUC."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.scores.auc_interval import auc_interval
from monai_wsss.data import PreparedDataset
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.data.nuisance import VARIABLES, slice_positions
from monai_wsss.data.presence import is_absent, is_present

ALL = "all of them"
_VARIABLES = {"slice position": ("slice_position",), **VARIABLES, "site": ("site",)}


def nuisance_classifiers(*folds: Path) -> dict[str, dict[str, Any]]:
    """AUC on the test split of classifiers that see nuisance variables alone, and of one that sees all of them.

    Gradient-boosted trees of depth 3, 100 of them, learn from the image-level labels of training and validation: of
    slices where slices are labelled, else of whole images. A slice inherits its volume's variables, only its position
    is its own. Soft labels below 0.5 and unknown ones are left out, and so are variables that never vary.

    Args:
        folds: prepared folders, or the variants of one that `write_variant` makes: one, or one a fold.

    Returns:
        Name of the variable, or `ALL` -> ``{"auc": {mean, ci95, n, patients}}``, see `auc_interval`; only slices of one
        fold are compared. With several classes also ``classes``, the AUC of each; ``auc`` then compares slices
        of one class and fold, and ``n`` counts labels.
    """
    labels = PreparedDataset.read(folds[0]).labels
    frames = [_frame(folder).assign(fold=number) for number, folder in enumerate(folds)]
    frame = pd.concat(frames, ignore_index=True)
    for name in frame.columns.intersection([key for keys in _VARIABLES.values() for key in keys]):
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].astype("category").cat.codes.where(frame[name].notna())
    varying = {key for key in frame if frame[key].nunique(dropna=False) > 1}
    known = {name: [key for key in keys if key in varying] for name, keys in _VARIABLES.items()}
    known[ALL] = [key for keys in known.values() for key in keys]
    return {name: _auc(_scored(frame, keys, len(labels)), labels) for name, keys in known.items() if keys}


def _frame(folder: Path) -> pd.DataFrame:
    """One row a labelled slice or image: its case, patient, split, position, site, classes, and its case's variables.

    A variant has no table of its own, and its cache leads to the folder that has one.
    """
    dataset, rows = PreparedDataset.read(folder), []
    for split in SPLITS:
        for case in dataset.cases(split):
            labelled = case.slice_classes or (case.classes,)
            positions = slice_positions(len(labelled)) if case.slice_classes else [np.nan]
            of_case = {"case": case.case, "patient": case.patient, "test": split == "test", "site": case.site}
            for position, values in zip(positions, labelled, strict=True):
                rows.append(of_case | {"slice_position": position} | dict(enumerate(values)))
    table = (folder / "cache").resolve().parent / "nuisance.csv"
    frame = pd.DataFrame(rows)
    return frame.merge(pd.read_csv(table, dtype={"case": str}), on="case", how="left") if table.is_file() else frame


def _scored(frame: pd.DataFrame, keys: list[str], classes: int) -> pd.DataFrame:
    """Test rows with ``score`` and ``positive``, once for each class; fold by fold."""
    scored = []
    for fold in sorted(frame["fold"].unique()):
        for k in range(classes):
            rows = frame[(frame["fold"] == fold) & (is_present(frame[k]) | is_absent(frame[k]))]
            rows = rows.assign(positive=is_present(rows[k]), label=k, score=0.0)
            learnt, test = rows[~rows["test"]], rows[rows["test"]]
            if learnt["positive"].nunique() == 2 and len(test):
                model = HistGradientBoostingClassifier(max_depth=3, early_stopping=False, random_state=0)
                model.fit(learnt[keys].astype(float), learnt["positive"])
                test = test.assign(score=model.decision_function(test[keys].astype(float)))
            scored.append(test)
    return pd.concat(scored, ignore_index=True)


def _auc(scored: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {"auc": _interval(scored)}
    if len(labels) > 1:
        found["classes"] = {label: _interval(scored[scored["label"] == k]) for k, label in enumerate(labels)}
    return found


def _interval(scored: pd.DataFrame) -> Mapping[str, Any]:
    compared = scored.groupby(["fold", "label"]).ngroup()
    columns = (scored["score"], scored["positive"], scored["patient"], compared)
    return auc_interval(*(column.tolist() for column in columns))
