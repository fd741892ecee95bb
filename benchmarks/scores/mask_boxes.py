"""Scores of rows of masks on films that have boxes in the place of true masks."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.rows.cells import Cell
from benchmarks.rows.film_boxes import film_size
from benchmarks.scores.auc_interval import auc_interval
from benchmarks.scores.box_rows import CENTRE, LUNGS, Film, Score, average_box_score, map_score, points_score
from benchmarks.scores.cell_rows import CellRows
from benchmarks.scores.kept import kept_or_found
from benchmarks.scores.slice_probabilities import read_probabilities
from monai_wsss.data import PreparedDataset
from monai_wsss.data.presence import is_certain, is_present
from monai_wsss.errors import InputError
from monai_wsss.metrics import bootstrap_mean, paired_difference
from monai_wsss.workflow.label_maps import read_label_map
from monai_wsss.workflow.manifest import folder_hash

CENTRE_ROW, LUNG_ROW = "film centre", "centre of a lung, drawn"
AVERAGE_ROW = "average box of the other patients (knows boxes)"

DEFINITIONS = {
    "pointing": "chance that a pixel drawn from the mask lies in a box, mean over boxed films; 0 of an empty mask",
    "box_iou": "IoU of the box of the mask's largest component with the box that it fits best, mean over boxed films; "
    "0 of an empty mask",
    "clean": "share of the films without the finding whose mask is empty",
    "marked": "share of the films with the finding whose mask is not empty",
    "auc": "of the row's own probabilities of films, means over seeds; films of one fold are compared with each other",
    CENTRE_ROW: f"the pixel at {CENTRE[0]} of the film's width and height",
    LUNG_ROW: f"one of {LUNGS[0]} and {LUNGS[1]} of the film's width and height, each half the time",
    AVERAGE_ROW: "mean of the corners of the boxes of the other patients' films: an oracle, not a method",
    "interval": "95 % percentile bootstrap over patients, 2000 resamples; differences are paired",
}


@dataclass(frozen=True)
class FilmScore:
    """Of one film and row.

    Attributes:
        case: the film.
        patient: its patient.
        positive: its label; None where it is uncertain.
        pixels: of the mask.
        hit: chance that a pixel of the mask lies in a box; None without boxes.
        iou: of the boxes; None without.
        probability: the row's own, of the film; None where it has none.
    """

    case: str
    patient: str
    positive: bool | None
    pixels: int
    hit: float | None
    iou: float | None
    probability: float | None


def film_scores(folder: Path, dataset: PreparedDataset, kept: Path, boxes: Mapping[str, Tensor]) -> list[FilmScore]:
    """Scores of the masks that a folder has of the test films.

    Args:
        folder: `CASE.nii.gz`, and `slices.csv` where the row knows probabilities.
        dataset: of one class.
        kept: file where the scores stay.
        boxes: of the boxed films, see `read_boxes`.

    Raises:
        InputError: a mask that cannot be read or is not of its film, or a volume of several slices.
    """
    cases = dataset.cases("test")
    table = folder / "slices.csv"
    chances = read_probabilities(table, dataset.labels[0]) if table.is_file() else {}

    def find() -> list[dict[str, Any]]:
        found = []
        for case in cases:
            file, hit, iou, mask = folder / f"{case.case}.nii.gz", None, None, None
            size = film_size(case)
            if file.is_file():
                labels = read_label_map(file, 1)[0]  # (1, columns, rows)
                if labels.shape != (1, *size):
                    raise InputError(f"{file}: is of {list(labels.shape[1:])} pixels, the film of {list(size)}")
                mask = labels[0]
            if case.case in boxes:
                score = Score(0.0, 0.0)
                if mask is not None and mask.any():
                    score = map_score(mask.float(), Film(case.case, case.patient, size, boxes[case.case]), 0.5)
                hit, iou = score.hit, score.iou
            label, of_film = case.classes[0], chances.get(case.case, {})
            positive = bool(is_present(label)) if is_certain(label) else None
            pixels = 0 if mask is None else int(mask.sum())
            chance = max(of_film.values(), default=None)
            found.append(asdict(FilmScore(case.case, case.patient, positive, pixels, hit, iou, chance)))
        return found

    known = [(case.case, case.patient, case.classes, boxes.get(case.case, np.empty(0)).tolist()) for case in cases]
    made_from = hashlib.sha256(f"{folder_hash(folder)}\0{known}".encode()).hexdigest()
    return [FilmScore(**item) for item in kept_or_found(kept, made_from, find)]


def same_films(one: Sequence[FilmScore], other: Sequence[FilmScore]) -> bool:
    """Whether two rows mark the same films in the same way; probabilities do not matter."""
    return [(s.case, s.pixels, s.hit, s.iou) for s in one] == [(s.case, s.pixels, s.hit, s.iou) for s in other]


def box_scores(
    rows: CellRows[FilmScore], films: Sequence[Film], base: str, kept: Collection[str] = ()
) -> dict[str, Any]:
    """Scores by row, each with its paired differences from `base`; see `CellRows.names` for `kept`.

    Args:
        rows: scores of all test films.
        films: the boxed ones; of one split those that test.
        base: a row.
        kept: rows that are shown whatever they are.
    """
    names = rows.names({base, *kept})
    tested = {score.case for turn in rows.turns(base) for score in turn}
    films = [film for film in films if film.case in tested]
    found: dict[str, list[Score]] = {
        CENTRE_ROW: [points_score(CENTRE, film) for film in films],
        LUNG_ROW: [points_score(LUNGS, film) for film in films],
        AVERAGE_ROW: [average_box_score(films, film) for film in films],
    }
    found |= {name: _of_boxed(rows.turns(name), films) for name in names}
    scores = summaries(found, base, films)
    for name in names:
        scores[name] |= _of_labels([film for turn in rows.turns(name) for film in turn])
        scores[name]["auc"] = _auc(rows.cells(name))
    return scores


def summaries(rows: Mapping[str, Sequence[Score]], own: str, films: Sequence[Film]) -> dict[str, Any]:
    """Means over films by row, with intervals over patients, and what the row `own` has more."""
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


def _of_boxed(turns: Sequence[Sequence[FilmScore]], films: Sequence[Film]) -> list[Score]:
    """Of each boxed film the mean over turns."""
    by_case: dict[str, list[FilmScore]] = {}
    for score in (score for turn in turns for score in turn if score.hit is not None):
        by_case.setdefault(score.case, []).append(score)
    means = []
    for film in films:
        found = by_case[film.case]
        means.append(Score(*(float(np.mean([getattr(one, key) for one in found])) for key in ("hit", "iou"))))
    return means


def _of_labels(films: Sequence[FilmScore]) -> dict[str, Any]:
    """What a row marks in films with and without the finding, all turns together."""
    negative = [film.pixels == 0 for film in films if film.positive is False]
    positive = [film.pixels > 0 for film in films if film.positive]
    return {
        "clean": float(np.mean(negative)) if negative else None,
        "marked": float(np.mean(positive)) if positive else None,
    }


def _auc(cells: Mapping[Cell, Sequence[FilmScore]]) -> dict[str, Any] | None:
    """AUC of a row's probabilities, each film's mean over turns; None where there are none of one of the two labels."""
    chances: dict[str, list[float]] = {}
    films: dict[str, tuple[bool, str, int]] = {}
    for cell, found in cells.items():
        for film in found:
            if film.positive is not None and film.probability is not None:
                chances.setdefault(film.case, []).append(film.probability)
                films[film.case] = (film.positive, film.patient, cell.fold)
    if len({positive for positive, *_ in films.values()}) < 2:
        return None
    positive, patients, folds = (list(column) for column in zip(*films.values(), strict=True))
    return auc_interval([float(np.mean(chances[case])) for case in films], positive, patients, folds)
