"""The head CT pictures of Kaggle: 100 with a haemorrhage and 100 without, whose files look alike within each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from monai_wsss.data.atomic import write_table
from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.discovery import find_volumes
from monai_wsss.data.formats.head_picture import SIDE, HeadPicture, find_head, square_picture
from monai_wsss.data.formats.native_format import NativeData
from monai_wsss.data.generic_reason import generic_reason
from monai_wsss.data.labels.table_file import read_table
from monai_wsss.data.labels.table_text import plain_name
from monai_wsss.data.nuisance import VARIABLES, image_nuisance
from monai_wsss.data.picture import read_picture
from monai_wsss.data.volume import Volume
from monai_wsss.errors import InputError

CLASS = "haemorrhage"
_KEY, _LABEL = "id", "hemorrhage"
_SIGNS = {"0": 0, "1": 1}
_COARSEST = 128  # pixels of a head's longer side: smaller heads do not make the others coarser
_TELLS = 0.7  # an AUC above it is worth a warning, as in the audit of `prepare`
_FOLDS = 5  # also the fewest pictures of a class that an AUC is given for
_HEAD, _OUTSIDE = "the head's size", "what is outside the head"


@dataclass
class _Heads:
    """What the pictures of the table hold."""

    heads: dict[str, HeadPicture] = field(default_factory=dict)  # by the picture's name, as are all
    original: dict[str, dict[str, float | str | None]] = field(default_factory=dict)  # its nuisance variables
    left_out: dict[str, str] = field(default_factory=dict)  # why


def read_head_ct(input: Path, labels: Path | None, scratch: Path) -> NativeData:
    """Write labels.csv and normalised pictures for the rows of the table; see `NativeFormat`.

    The classes' pictures differ in size, colour mode and burned-in text, which a network learns sooner than blood. So
    each becomes 8-bit grey, cut to the head, black outside it and `SIDE` pixels square, and none is sharper than the
    smallest head allows (see `square_picture`). Notes say what was normalised and how well it told the classes before.

    Args:
        input: folder that holds the pictures, `<id>.png` (000.png for id 0) at any depth; two of one id are refused.
        labels: table with the columns id and hemorrhage (0 or 1); None takes `input`/labels.csv.
        scratch: folder to write into.

    Raises:
        InputError: no table, other columns, no row with a picture of a head, or two pictures of one id.
    """
    path = input / "labels.csv" if labels is None else labels
    if labels is None and not path.is_file():
        raise InputError(f"{input}: no labels.csv in it; give the data set's table to --labels")
    rows = _read_rows(path)
    pictures, unreadable, others = _find_pictures(input, rows)
    missing = [line for name, (_, line) in rows.items() if name not in pictures and name not in unreadable]
    if len(missing) == len(rows):
        raise InputError(f"{path}: none of its {len(rows)} pictures is below {input}; give the folder of its pictures")
    found = _find_heads(pictures, unreadable)
    if not found.heads:
        reason = next(iter(found.left_out.values()))
        raise InputError(f"{input}: no picture of a head among the {len(found.left_out)} of the table ({reason})")
    smallest = min(head.side for head in found.heads.values())
    detail = min(max(smallest, _COARSEST), SIDE)
    (scratch / "pictures").mkdir()
    for name, head in found.heads.items():
        Image.fromarray(square_picture(head.pixels, detail)).save(scratch / "pictures" / f"{name}.png")
    table = [(f"{name}.png", value) for name in found.heads for value in rows[name][0]]
    write_table(scratch / "labels.csv", ("file", CLASS), table)
    signs = {name: _SIGNS[values[0]] for name, (values, _) in rows.items() if len(values) == 1 and values[0] in _SIGNS}
    line_of = {name: line for name, (_, line) in rows.items()}
    return NativeData(
        scratch / "pictures",
        scratch / "labels.csv",
        classes=(CLASS,),
        rows_without_file=tuple(f"line {line}" for line in missing),
        notes=(*_losses(found, line_of, others), *_changes(found, detail), *_before(found, signs)),
    )


def _read_rows(path: Path) -> dict[str, tuple[list[str], int]]:
    """Return name of the picture -> its different labels, and the line of its first row."""
    table = read_table(path, known=(_KEY, _LABEL))
    columns = {plain_name(name): name for name in table.columns}
    if _KEY not in columns or _LABEL not in columns:
        raise InputError(f"{path}: no columns id and hemorrhage; give the data set's labels.csv to --labels")
    rows: dict[str, tuple[list[str], int]] = {}
    cells = (table[columns[_KEY]].tolist(), table[columns[_LABEL]].tolist())
    for line, name, value in zip(table.index.tolist(), *cells, strict=True):
        if name:
            values, _ = rows.setdefault(_name(name), ([], line))
            if value not in values:
                values.append(value)
    return rows


def _name(text: str) -> str:
    """Return the name of a picture without suffix: 000 for 0, 000 and 000.png."""
    stem = stem_of(text)
    return f"{int(stem):03d}" if stem.isdecimal() else stem


def _find_pictures(input: Path, rows: Mapping[str, object]) -> tuple[dict[str, Volume], dict[str, str], int]:
    """Return name -> picture of the table, name -> why it cannot be read, and how many others there are."""
    volumes, skipped = find_volumes(input)
    pictures: dict[str, Volume] = {}
    others = 0
    for volume in volumes:
        name = _name(volume.path.name)
        if volume.kind != "picture" or name not in rows:
            others += volume.kind == "picture"
        elif name in pictures:
            raise InputError(f"{volume.path}: {pictures[name].path} has the same id; remove one of them")
        else:
            pictures[name] = volume
    unreadable = {name: item.reason for item in skipped if (name := _name(Path(item.file).name)) in rows}
    return pictures, {name: reason for name, reason in unreadable.items() if name not in pictures}, others


def _find_heads(pictures: Mapping[str, Volume], unreadable: Mapping[str, str]) -> _Heads:
    found = _Heads(left_out=dict(unreadable))
    for name, volume in pictures.items():
        try:
            array, affine = read_picture(volume.path)
            head = find_head(array[..., 0].T)
        except InputError as error:
            found.left_out[name] = generic_reason(error, volume.files)
        except ValueError as error:
            found.left_out[name] = str(error)
        else:
            found.heads[name] = head
            found.original[name] = {**image_nuisance(array, affine, volume), _HEAD: head.side, _OUTSIDE: head.outside}
    return found


def _losses(found: _Heads, line_of: Mapping[str, int], others: int) -> list[str]:
    lines: dict[str, list[int]] = {}
    for name, reason in found.left_out.items():
        lines.setdefault(reason, []).append(line_of[name])
    notes = []
    for reason, own in sorted(lines.items()):
        where = f"{'line' if len(own) == 1 else 'lines'} {', '.join(map(str, sorted(own)))} of the table"
        notes.append(f"{_count(len(own), 'picture is', 'pictures are')} left out ({where}): {reason}")
    if others:
        notes.append(f"{_count(others, 'picture has', 'pictures have')} no row in the table and are left out")
    return notes


def _changes(found: _Heads, detail: int) -> list[str]:
    notes = [
        f"{_count(len(found.heads), 'picture was', 'pictures were')} normalised: grey, cut to the head, black outside "
        f"it, {SIDE} x {SIDE} pixels, none with more detail than {detail} pixels give; infer does not do "
        "this to new pictures"
    ]
    small = [head.side for head in found.heads.values() if head.side < detail]
    if small:
        heads = _count(len(small), "head is", "heads are")
        notes.append(f"{heads} smaller than {detail} pixels, down to {min(small)}, and remain less sharp")
    return notes


def _before(found: _Heads, signs: Mapping[str, int]) -> list[str]:
    """Say how well each nuisance variable of the pictures as distributed told the classes, alone."""
    names = [name for name in found.heads if name in signs]
    positive = np.array([signs[name] for name in names], dtype=int)
    if min(np.bincount(positive, minlength=2)) < _FOLDS:
        return [f"Fewer than {_FOLDS} pictures of a class: how well their files alone told the classes is not known"]
    keys = {**VARIABLES, _HEAD: (_HEAD,), _OUTSIDE: (_OUTSIDE,)}
    aucs = {
        variable: auc
        for variable, own in keys.items()
        if (auc := _auc([[found.original[name][key] for name in names] for key in own], positive)) is not None
    }
    if not aucs:
        return ["As distributed, the pictures' files are alike"]
    said = ", ".join(f"{variable} {aucs[variable]:.2f}" for variable in sorted(aucs, key=lambda v: (-aucs[v], v)))
    notes = [f"As distributed, each of these alone tells {CLASS} with an AUC of: {said}"]
    if aucs.get(_HEAD, 0) > _TELLS:
        notes.append("Sharpness still says something of a head's size in pixels, and shortcuts.json may not see it")
    return notes


def _auc(columns: Sequence[Sequence[float | str | None]], positive: np.ndarray) -> float | None:
    """Return the cross-validated AUC of a small tree on the columns; None if they are the same everywhere.

    A tree sees sizes that one class alone has, whether larger, smaller or between those of the other.
    """
    values = np.stack([_numbers(column) for column in columns], axis=1)
    if (values == values[0]).all():
        return None
    tree = DecisionTreeClassifier(max_depth=3, min_samples_leaf=3, class_weight="balanced", random_state=0)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(tree, values, positive, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(positive, scores))


def _numbers(column: Sequence[float | str | None]) -> np.ndarray:
    """Return numbers; of texts their ranks, and -1 for what is unknown."""
    if any(isinstance(value, str) for value in column):
        rank = {text: index for index, text in enumerate(sorted({str(value) for value in column}))}
        return np.array([rank[str(value)] for value in column], dtype=float)
    return np.array([-1.0 if value is None else value for value in column], dtype=float)


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
