"""MS COCO: JPEG pictures of 80 classes, several in one picture, with polygons and run-length codes in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from monai_wsss.data.atomic import write_table
from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.formats.coco_file import Annotation, CocoFile, CocoImage, read_coco_file
from monai_wsss.data.formats.coco_masks import Instance, label_map
from monai_wsss.data.formats.native_format import NativeData
from monai_wsss.data.skipped import Skipped
from monai_wsss.errors import InputError

_VALIDATION_SHARE = 50  # one training picture in so many validates


def read_coco(input: Path, labels: Path | None, scratch: Path) -> NativeData:
    """Write labels.csv and masks/ for the pictures of the training and the validation file; see `NativeFormat`.

    A class is present if the picture has an annotation of its category, also a crowd; a picture without annotations is
    negative for all. Classes are the file's categories in the order of their ids, however many and with what gaps.
    `val` is the test split, on which papers report; `train` trains, but every 50th picture by name validates.

    A true mask is the map of the instances' classes, see `label_map`: papers average the pixel IoU over all categories
    and the background, and nothing is void. If a segmentation cannot be read, the picture keeps its labels, its mask is
    left out and listed. An annotation of a category that the file does not have makes the labels unknown as well.

    Args:
        input: the folder that holds annotations/instances_train<year>.json, annotations/instances_val<year>.json,
            train<year>/ and val<year>/, of one year.
        labels: None, the annotations are the labels.
        scratch: folder to write into.

    Raises:
        InputError: a table of labels, no such folder, several years, a file as `read_coco_file`, other categories in
            one file than in the other, or no picture of one of them.
    """
    if labels is not None:
        raise InputError(f"{labels}: --format coco takes the labels from annotations/; leave --labels out")
    year = _find_year(input)
    classes: dict[int, str] = {}
    rows: list[list[Any]] = []
    notes: list[str] = []
    problems: list[Skipped] = []
    without_file: list[str] = []
    for part in ("train", "val"):
        file = read_coco_file(input / "annotations" / f"instances_{part}{year}.json")  # one at a time is in memory
        classes = classes or file.categories
        if file.categories != classes:
            raise InputError(f"{file.path}: has other categories than the training file; unpack both again")
        folder = input / f"{part}{year}"
        there = _pictures(folder, file)
        without_file += [f"image {image.id} of {file.path.name}" for image in file.images if image.name not in there]
        notes += file.notes
        for at, image in enumerate(file.images):
            if image.name not in there:
                continue
            split = "test" if part == "val" else "train" if at % _VALIDATION_SHARE else "val"
            annotations = file.annotations[image.id]
            rows.append([f"{folder.name}/{image.name}", split, *_present(annotations, classes)])
            try:
                _write_mask(scratch / "masks" / folder.name, image, annotations, classes)
            except ValueError as error:
                problems.append(Skipped(str(folder / image.name), str(error)))
    unknown = sum(row[2] == "" for row in rows)
    if unknown:
        pictures = "1 picture has" if unknown == 1 else f"{unknown} pictures have"
        notes.append(f"{pictures} an annotation of no known category: labels unknown")
    write_table(scratch / "labels.csv", ("file", "split", *classes.values()), rows)
    return NativeData(
        input,
        scratch / "labels.csv",
        scratch / "masks",
        tuple(classes.values()),
        "split",
        colour=True,
        rows_without_file=tuple(without_file),
        mask_problems=tuple(problems),
        notes=tuple(notes),
    )


def _find_year(input: Path) -> str:
    """Return what follows `train` and `val` in the names of files and folders."""
    prefixes = [f"instances_{part}" for part in ("train", "val")]
    files = [path for prefix in prefixes for path in (input / "annotations").glob(f"{prefix}*.json")]
    years = {path.stem.removeprefix(prefix) for path in files for prefix in prefixes if path.stem.startswith(prefix)}
    if not years:
        raise InputError(f"{input}: no annotations/instances_train*.json in it; give the folder that holds COCO's")
    if len(years) > 1:
        raise InputError(f"{input / 'annotations'}: holds {' and '.join(sorted(years))}; keep the files of one year")
    return years.pop()


def _pictures(folder: Path, file: CocoFile) -> set[str]:
    """Return the names of the pictures that lie in the folder."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not any(image.name in there for image in file.images):
        raise InputError(f"{folder}: holds no picture of {file.path.name}; unpack {folder.name}.zip there")
    return there


def _present(annotations: Sequence[Annotation], classes: Mapping[int, str]) -> list[int | str]:
    """Return 1 or 0 a class; blanks where an annotation is of none of them."""
    found = {annotation.category for annotation in annotations}
    return [int(id_ in found) if found <= classes.keys() else "" for id_ in classes]


def _write_mask(folder: Path, image: CocoImage, annotations: Sequence[Annotation], classes: Mapping[int, str]) -> None:
    """Write the true mask as grey PNG under the picture's path; raises ValueError with the reason if there is none."""
    if image.shape is None:
        raise ValueError("its annotations do not state its size")
    label_of = {id_: label for label, id_ in enumerate(classes, start=1)}
    instances = []
    for annotation in annotations:
        if annotation.category not in label_of:
            raise ValueError("an annotation is of no known category")
        instances.append(Instance(label_of[annotation.category], annotation.crowd, annotation.segmentation))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem_of(image.name)}.png"
    Image.fromarray(label_map(instances, image.shape).T).save(path, compress_level=1)  # a PNG lists rows
