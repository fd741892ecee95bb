"""The shortcut audit: how well does what says nothing of the finding predict the label?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, SplineTransformer

from monai_wsss.data import Case
from monai_wsss.data.nuisance import VARIABLES, slice_positions
from monai_wsss.data.presence import is_absent, is_present, sign_of

WARN_ABOVE = 0.7
_FOLDS = 5
_MIN_PATIENTS = 5  # with the finding, and without: a fold needs one of each
_FEW_PATIENTS = 30  # below it, an AUC above the limit may be chance
_MAX_ROWS = {"case": 20_000, "slice": 100_000}


@dataclass(frozen=True)
class Shortcut:
    """What one nuisance variable alone tells about one class.

    Attributes:
        label: the class.
        variable: a key of `VARIABLES`, "slice position" or "site".
        auc: cross-validated, 0.5 for chance; None if it cannot be had.
        reason: why there is no AUC, or why it is 0.5 by definition.
        positive_patients, negative_patients: patients with a case or slice that has the finding, and that lacks it.
    """

    label: str
    variable: str
    auc: float | None
    reason: str
    positive_patients: int
    negative_patients: int

    @property
    def warning(self) -> str:
        """One line if the variable predicts too well, else nothing."""
        if self.auc is None or self.auc <= WARN_ABOVE:
            return ""
        fewest = min(self.positive_patients, self.negative_patients)
        chance = f" (or it is chance: only {fewest} patients on one side)" if fewest < _FEW_PATIENTS else ""
        return (
            f"{self.variable} alone predicts {self.label} with AUC {self.auc:.2f}: "
            f"a network may learn it instead of the finding{chance}"
        )


@dataclass(frozen=True)
class Audit:
    """The AUC of each nuisance variable for each class."""

    shortcuts: tuple[Shortcut, ...]

    @property
    def warnings(self) -> list[str]:
        """One line for each variable that predicts too well, the best predictor first."""
        ranked = sorted(self.shortcuts, key=lambda s: (-(s.auc or 0), s.label, s.variable))
        return [shortcut.warning for shortcut in ranked if shortcut.warning]

    def lines(self) -> list[str]:
        """Return the warnings, or one line that says there are none; then the classes that could not be judged."""
        lines = self.warnings
        judged = [shortcut for shortcut in self.shortcuts if shortcut.auc is not None]
        if judged and not lines:
            best = max(judged, key=lambda s: s.auc or 0)
            lines.append(
                f"no nuisance variable alone predicts a class with an AUC above {WARN_ABOVE:g} "
                f"(highest: {best.variable} for {best.label}, {best.auc:.2f})"
            )
        for label in dict.fromkeys(shortcut.label for shortcut in self.shortcuts):
            of_label = [shortcut for shortcut in self.shortcuts if shortcut.label == label]
            if all(shortcut.auc is None for shortcut in of_label):
                lines.append(f"{label} cannot be audited for shortcuts: {of_label[0].reason}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {"warn_above": WARN_ABOVE, "folds": _FOLDS, "shortcuts": [asdict(s) for s in self.shortcuts]}


@dataclass(frozen=True)
class _Rows:
    """Labelled rows of one class: which case, positive or not, weight, relative slice position (if slices)."""

    case: np.ndarray
    positive: np.ndarray
    weight: np.ndarray
    position: np.ndarray | None = None


def audit(
    cases: Sequence[Case], labels: Sequence[str], nuisance: Mapping[str, Mapping[str, Any]], seed: int = 0
) -> Audit:
    """Return the cross-validated AUC with which each nuisance variable alone predicts each class.

    A logistic regression on splines of the variable's ranks (so that any smooth relation counts, not only a rising
    one) or on its categories; five folds over patients, stratified by the class; out-of-fold scores pooled. Both
    signs weigh the same in the fit. A slice inherits its volume's variables; only "slice position" is its own. Above
    20,000 rows (100,000 slices) a part of them is drawn.

    Args:
        cases: the volumes; patients and sites come from them. Soft labels from 0.5 count as positive.
        labels: class names.
        nuisance: case -> `image_nuisance`; cases may be missing.
        seed: of the folds and of the drawing; the result does not depend on the order of `cases`.
    """
    cases = sorted(cases, key=lambda case: (case.patient, case.case))
    frame = pd.DataFrame([dict(nuisance.get(case.case, {})) for case in cases])
    frame = frame.reindex(columns=[key for keys in VARIABLES.values() for key in keys])
    variables = {name: _columns(frame[list(keys)]) for name, keys in VARIABLES.items()}
    variables["site"] = _columns(pd.DataFrame({"site": [case.site for case in cases]}))
    patients = np.unique([case.patient for case in cases], return_inverse=True)[1] if cases else np.zeros(0, int)
    found = []
    for k, label in enumerate(labels):
        rows = _case_rows(cases, k, np.random.default_rng(seed))
        count = [len(np.unique(patients[rows.case[rows.positive == sign]])) for sign in (1, 0)]
        lacking = "" if min(count) >= _MIN_PATIENTS else _too_few(count)
        folds = None if lacking else _folds(rows, patients, seed)
        slices = None if lacking else _slice_rows(cases, k, np.random.default_rng(seed))
        for name in ("slice position", *variables):
            if lacking or folds is None:
                auc, reason = None, lacking
            elif name != "slice position":
                auc, reason = _auc(variables[name], rows, patients, folds)
            elif slices is None:
                auc, reason = None, "only whole images are labelled"
            else:
                auc, reason = _auc(np.asarray(slices.position)[:, None], slices, patients, folds, own=True)
            found.append(Shortcut(label, name, auc, reason, count[0], count[1]))
    return Audit(tuple(found))


def _columns(frame: pd.DataFrame) -> np.ndarray:
    """Return numbers `(cases, columns)`, with a column that marks the missing ones, or categories as text."""
    frame = frame.dropna(axis=1, how="all")
    texts = frame.select_dtypes(exclude="number")
    if texts.shape[1]:
        return frame.fillna("").astype(str).to_numpy(dtype=object)
    missing = frame.isna().to_numpy()
    values = frame.fillna(frame.median()).to_numpy(dtype=float)
    return np.hstack([values, missing[:, missing.any(axis=0)].astype(float)])


def _case_rows(cases: Sequence[Case], k: int, rng: np.random.Generator) -> _Rows:
    """Up to two rows a case, positive and negative, weighted with its slices; one where the case is labelled."""
    rows: list[tuple[int, int, float]] = []
    for index, case in enumerate(cases):
        known = [sign for row in case.slice_classes or () if (sign := sign_of(row[k])) != "unknown"]
        known = known or [sign for value in case.classes[k : k + 1] if (sign := sign_of(value)) != "unknown"]
        positive = known.count("positive")
        rows += [(index, sign, n) for sign, n in ((1, positive), (0, len(known) - positive)) if n]
    table = np.array(rows, dtype=float).reshape(-1, 3)
    table = table[_draw(table[:, 1], _MAX_ROWS["case"], rng)]
    return _Rows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2])


def _slice_rows(cases: Sequence[Case], k: int, rng: np.random.Generator) -> _Rows | None:
    chosen = [(index, case.slice_classes) for index, case in enumerate(cases) if len(case.slice_classes or ()) > 1]
    if not chosen:
        return None
    label = np.concatenate([[row[k] for row in slices] for _, slices in chosen])  # type: ignore[union-attr]
    case = np.concatenate([np.full(len(slices or ()), index) for index, slices in chosen])
    position = np.concatenate([slice_positions(len(slices or ())) for _, slices in chosen])
    known = np.flatnonzero(is_absent(label) | is_present(label))
    known = known[_draw(label[known] >= 0.5, _MAX_ROWS["slice"], rng)]
    return _Rows(case[known], (label[known] >= 0.5).astype(int), np.ones(len(known)), position[known])


def _draw(positive: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Return indices of at most `limit` rows, drawn so that the rarer sign keeps all it can."""
    chosen = [np.flatnonzero(positive == sign) for sign in (0, 1)]
    share = max(limit // 2, limit - min(len(part) for part in chosen))
    parts = [part if len(part) <= share else rng.choice(part, share, replace=False) for part in chosen]
    return np.sort(np.concatenate(parts)) if sum(map(len, chosen)) > limit else np.arange(len(positive))


def _too_few(count: Sequence[int]) -> str:
    sign, number = min(zip(("with", "without"), count, strict=True), key=lambda pair: pair[1])
    patients = {0: "no patient", 1: "only 1 patient"}.get(number, f"only {number} patients")
    return f"{patients} {sign} it, {_MIN_PATIENTS} are needed"


def _folds(rows: _Rows, patients: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of each patient, -1 for patients without a row."""
    fold_of = np.full(patients.max() + 1, -1)
    splitter = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    groups = patients[rows.case]
    for fold, (_, held_out) in enumerate(splitter.split(rows.positive, rows.positive, groups)):
        fold_of[groups[held_out]] = fold
    return fold_of


def _auc(
    values: np.ndarray, rows: _Rows, patients: np.ndarray, fold_of: np.ndarray, own: bool = False
) -> tuple[float | None, str]:
    """`values` are those of the cases, or, if `own`, of the rows."""
    features = values if own else values[rows.case]
    if not features.shape[1]:
        return None, "not known"
    if all(len(set(column)) == 1 for column in features.T):
        return 0.5, "the same everywhere"
    fold = fold_of[patients[rows.case]]
    scores = np.zeros(len(fold))
    for number in range(_FOLDS):
        train, test = np.flatnonzero((fold != number) & (fold >= 0)), np.flatnonzero(fold == number)
        signs = [rows.weight[train] @ (rows.positive[train] == sign) for sign in (0, 1)]
        if not min(signs):
            return None, "too few patients for five folds"
        if not len(test):  # no patient of this fold has labelled slices
            continue
        weight = rows.weight[train] / np.take(signs, rows.positive[train])
        model = make_pipeline(*_encoder(features[train]), LogisticRegression(max_iter=300))
        model.fit(features[train], rows.positive[train], logisticregression__sample_weight=weight * len(train) / 2)
        scores[test] = model.decision_function(features[test])
    used = fold >= 0
    auc = roc_auc_score(rows.positive[used], scores[used], sample_weight=rows.weight[used])
    return round(float(auc), 4), ""


def _encoder(train: np.ndarray) -> tuple[Any, ...]:
    if train.dtype == object:
        return (OneHotEncoder(handle_unknown="ignore"),)
    knots = np.repeat(np.linspace(0, 1, 5)[:, None], train.shape[1], axis=1)
    ranks = QuantileTransformer(n_quantiles=min(100, len(train)), random_state=0)
    return ranks, SplineTransformer(knots=knots, extrapolation="constant")
