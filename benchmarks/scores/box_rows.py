"""The rows of the table of boxes: what knows no film, and how a map is scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.rows.film_boxes import film_size
from monai_wsss.data import PreparedDataset
from monai_wsss.data.presence import is_present
from monai_wsss.metrics.boxes import best_box_iou, component_boxes, pointing_hits

# Shares of the film's width and height.
CENTRE = ((0.5, 0.5),)
LUNGS = ((0.3, 0.5), (0.7, 0.5))


@dataclass(frozen=True)
class Film:
    """A film with boxes: case, patient, (columns, rows), and boxes (N, 4) in its pixels."""

    case: str
    patient: str
    size: tuple[int, int]
    boxes: Tensor


@dataclass(frozen=True)
class Score:
    """Of one film: expected hit of the pointing game, and IoU of the boxes, None where the row claims no box."""

    hit: float
    iou: float | None


def boxed_films(dataset: PreparedDataset, boxes: Mapping[str, Tensor]) -> list[Film]:
    """The films that have boxes, see `read_boxes`, by name."""
    cases = sorted(dataset.cases(), key=lambda case: case.case)
    return [Film(c.case, c.patient, film_size(c), boxes[c.case]) for c in cases if c.case in boxes]


def box_counts(dataset: PreparedDataset, films: Sequence[Film]) -> dict[str, int]:
    """On how many films and patients a table of boxes rests."""
    cases = dataset.cases()
    return {
        "patients": len({case.patient for case in cases}),
        "films": len(cases),
        "positive_films": sum(bool(is_present(case.classes[0])) for case in cases),
        "boxed_patients": len({film.patient for film in films}),
        "boxed_films": len(films),
        "boxes": sum(len(film.boxes) for film in films),
    }


def map_score(values: Tensor, film: Film, threshold: float) -> Score:
    """Score of a map `(columns, rows)`; its box holds the largest component above `threshold` times its maximum."""
    boxes = film.boxes[None, None]
    hit = pointing_hits(values[None, None], boxes)
    box = component_boxes(values[None, None], threshold * float(values.max()))
    return Score(float(hit), float(best_box_iou(box, boxes)))


def points_score(points: Sequence[tuple[float, float]], film: Film) -> Score:
    """Score of fixed points, of which one is drawn at random; shares of the film's size."""
    values = torch.zeros(film.size)
    for point in points:
        column, row = (min(int(share * n), n - 1) for share, n in zip(point, film.size, strict=True))
        values[column, row] = 1
    return Score(float(pointing_hits(values[None, None], film.boxes[None, None])), None)


def average_box_score(films: Sequence[Film], film: Film) -> Score:
    """Score of the mean box of the other patients' films, as shares of their size: it knows boxes, unlike a method."""
    others = [other.boxes.mean(0) / _scale(other) for other in films if other.patient != film.patient]
    if not others:
        return Score(0.0, 0.0)
    box = torch.stack(others).mean(0)
    centre = ((float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2),)
    found = (box * _scale(film))[None, None]
    return Score(points_score(centre, film).hit, float(best_box_iou(found, film.boxes[None, None])))


def average_map_score(maps: Mapping[str, Tensor], films: Sequence[Film], film: Film, threshold: float) -> Score:
    """Score of the mean class map of the other patients' boxed films: what a map owes to no film in particular."""
    others = [maps[other.case] for other in films if other.patient != film.patient]
    if not others:
        return Score(0.0, 0.0)
    resized = [F.interpolate(one[None, None], film.size, mode="bilinear", align_corners=False)[0, 0] for one in others]
    return map_score(torch.stack(resized).mean(0), film, threshold)


def _scale(film: Film) -> Tensor:
    return torch.tensor([*film.size, *film.size], dtype=torch.float64)
