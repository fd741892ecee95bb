"""The boxes of films: a table `file,x,y,width,height` in pixels of the film, for evaluation only."""

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import pandas as pd
import torch
from torch import Tensor

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.data.case_resolver import CaseResolver
from monai_wsss.data.clear_names import stem_of
from monai_wsss.errors import InputError

_COLUMNS = ("file", "x", "y", "width", "height")
_SLACK = 1.0  # pixels that a box may reach beyond its film: tables are rounded


def read_boxes(path: Path, data: Path) -> dict[str, Tensor]:
    """Boxes of every boxed case, float64 (N, 4): x0, y0, x1, y1 with x to the film's right and y down.

    Raises:
        InputError: a column or a film is missing, a value is no number, or a box lies outside its film.
    """
    try:
        table = pd.read_csv(path, dtype={"file": str})
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table; give a CSV file with {', '.join(_COLUMNS)}") from error
    if lacking := [name for name in _COLUMNS if name not in table]:
        raise InputError(f"{path}: has no column {lacking[0]}; expected {', '.join(_COLUMNS)}")
    resolver, cases = CaseResolver.of_prepared(data), {c.case: c for c in PreparedDataset.read(data).cases()}
    found: dict[str, list[Tensor]] = {}
    for line, row in enumerate(table.itertuples(index=False), start=2):
        case = _case(resolver, cases, str(row.file))
        if case is None:
            raise InputError(f"{path}: line {line}: no film of this name in {data}; prepare the folder that has it")
        try:
            x, y, width, height = (float(getattr(row, name)) for name in _COLUMNS[1:])
        except ValueError as error:
            raise InputError(f"{path}: line {line}: x, y, width and height must be numbers of pixels") from error
        box = torch.tensor([x, y, x + width, y + height], dtype=torch.float64)
        size = torch.tensor(film_size(case), dtype=torch.float64)
        inside = (box[:2] >= -_SLACK).all() and (box[2:] <= size + _SLACK).all()
        if not (inside and width > 0 and height > 0):  # NaN too
            raise InputError(f"{path}: line {line}: the box is not inside the film of {size.int().tolist()} pixels")
        found.setdefault(case.case, []).append(box)
    return {case: torch.stack(boxes) for case, boxes in found.items()}


def film_size(case: Case) -> tuple[int, int]:
    """Columns and rows of a film.

    Raises:
        InputError: several slices.
    """
    shape = tuple(nib.load(case.image).shape)  # type: ignore[attr-defined]
    if len(shape) > 2 and max(shape[2:]) > 1:
        raise InputError(f"{case.case}: has {shape[2]} slices; boxes are for films")
    return int(shape[0]), int(shape[1])


def _case(resolver: CaseResolver, cases: Mapping[str, Case], file: str) -> Case | None:
    names = (resolver.case(name) for name in (file, stem_of(Path(file))))
    return next((cases[name] for name in names if name in cases), None)
