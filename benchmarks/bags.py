"""Study-level labels from slice labels: volumes cut into runs of consecutive slices, each with one label."""

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib

from monai_wsss.data import read_labels_table
from monai_wsss.data.labels.label_values import ABSENT, PRESENT, UNKNOWN
from monai_wsss.errors import InputError

SPLITS = ("train", "val", "test")
_SUFFIXES = (".nii.gz", ".nii")
_Slices = dict[int, tuple[int, ...]]


def write_bags(images: Path, labels: Path, masks: Path, split: Path, out: Path, slices: int = 8) -> dict[str, Any]:
    """Cut every patient's volume and mask into bags and write `out`/images, `out`/masks and two tables.

    labels.csv has a row a bag: present if one of its slices is, absent if all are, else empty. slice_labels.csv has the
    slices' own labels of the same bags, for the comparison. These studies are artificial: a real one is not cut so that
    its neighbours hold the rest of the lesion, and `prepare` normalises each bag by its own slices.

    Args:
        images: a volume a patient, `PatientID.nii.gz`.
        labels: table with PatientID, slice (from 0) and class columns, see `read_labels_table`.
        masks: true masks, named as the volumes; cut alike, for `evaluate` alone.
        split: JSON of train, val and test, a list of patients each.
        out: folder to write; must not be there.
        slices: of a bag; what is left of a volume is a bag of its own from half of that on, else joins the last.

    Returns:
        `{patients, bags, positive: {label: bags}}`.

    Raises:
        InputError: a file is missing, shapes differ, a slice has no row, or `out` is there.
        ValueError: fewer than two slices.
    """
    if slices < 2:
        raise ValueError(f"slices must be 2 or more, got {slices}: a slice is no bag")
    if out.exists():
        raise InputError(f"{out}: is there already; choose another folder")
    names, codes = _read_slices(labels)
    rows, slice_rows = [], []
    patients = _read_split(split)
    files = {patient: tuple(_volume(folder, patient) for folder in (images, masks)) for patient in patients}
    for patient, part in patients.items():
        image, mask = (_load(file) for file in files[patient])
        if image.shape != mask.shape or len(image.shape) != 3:
            raise InputError(f"{files[patient][1]}: has shape {mask.shape}, its volume {image.shape}; mend it")
        if unlabelled := set(range(image.shape[2])) - codes[patient].keys():
            raise InputError(f"{labels}: no row for slice {min(unlabelled)} of {patient}; label every slice")
        for number, (first, end) in enumerate(bag_bounds(image.shape[2], slices)):
            file = f"{patient}_{number:03d}.nii.gz"
            for folder, volume in (("images", image), ("masks", mask)):
                (out / folder).mkdir(parents=True, exist_ok=True)
                nib.save(volume.slicer[..., first:end], out / folder / file)
            own = [codes[patient][index] for index in range(first, end)]
            rows.append([file, patient, part, *(_text(_bag_code(column)) for column in zip(*own, strict=True))])
            slice_rows += [[file, patient, part, n, *map(_text, values)] for n, values in enumerate(own)]
    _write_table(out / "labels.csv", ["file", "PatientID", "split", *names], rows)
    _write_table(out / "slice_labels.csv", ["file", "PatientID", "split", "slice", *names], slice_rows)
    positive = {name: sum(row[3 + k] == "1" for row in rows) for k, name in enumerate(names)}
    return {"patients": len(patients), "bags": len(rows), "positive": positive}


def bag_bounds(depth: int, slices: int) -> list[tuple[int, int]]:
    """First slice and end of every bag of a volume of `depth` slices."""
    starts = list(range(0, depth, slices))
    if len(starts) > 1 and 2 * (depth - starts[-1]) < slices:
        starts.pop()
    return list(zip(starts, [*starts[1:], depth], strict=True))


def _bag_code(codes: Sequence[int]) -> int:
    if PRESENT in codes:
        return PRESENT
    return ABSENT if all(code == ABSENT for code in codes) else UNKNOWN


def _text(code: int) -> str:
    return {PRESENT: "1", ABSENT: "0"}.get(code, "")


def _read_slices(labels: Path) -> tuple[tuple[str, ...], dict[str, _Slices]]:
    """Class names, and patient -> slice -> codes."""
    table = read_labels_table(labels)
    if table.slice_key != "0-based":
        raise InputError(f"{labels}: needs a column slice, counted from 0, and a row for every slice")
    codes: dict[str, _Slices] = defaultdict(dict)
    for row in table.rows:
        if row.slice_number is not None:
            codes[row.patient][row.slice_number] = row.classes
    return table.labels, codes


def _read_split(path: Path) -> dict[str, str]:
    """Patient -> train, val or test."""
    try:
        split = json.loads(path.read_text(encoding="utf-8"))
        return {str(patient): part for part in SPLITS for patient in split[part]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as JSON with train, val and test, a list of patients each") from error


def _volume(folder: Path, patient: str) -> Path:
    file = next((file for suffix in _SUFFIXES if (file := folder / f"{patient}{suffix}").is_file()), None)
    if file is None:
        raise InputError(f"{folder}: no {patient}.nii.gz; name every volume as its patient in the split")
    return file


def _load(file: Path) -> Any:
    return nib.load(file)


def _write_table(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([head, *rows])
