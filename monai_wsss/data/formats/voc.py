"""PASCAL VOC 2012: JPEG pictures of 20 classes, several in one picture, with annotations in XML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from monai_wsss.data.atomic import write_table
from monai_wsss.data.formats.native_format import NativeData
from monai_wsss.errors import InputError

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""In the order of the masks' indices, from 1."""

_VALIDATION_SHARE = 50  # one training picture in so many validates
_MAX_BYTES = 1 << 20  # of an annotation; VOC's have some kB
_LISTS = Path("ImageSets", "Segmentation")


def read_voc(input: Path, labels: Path | None, scratch: Path) -> NativeData:
    """Write labels.csv for the pictures of the segmentation task's lists; see `NativeFormat`.

    A class is present if the picture's annotation names an object of it, also a difficult one; masks are not looked at.
    `val.txt` is the test split, on which papers report. `trainaug.txt` (SBD's pictures too; else `train.txt`) trains,
    but every 50th picture by name validates: an epoch is chosen by image-level labels that were not trained on. The
    masks are those of SegmentationClass, 255 on borders and on objects that do not count. SegmentationClassAug is left
    alone: it adds masks of training pictures, which nothing reads.

    Args:
        input: VOC2012, or the VOCdevkit that holds it: JPEGImages/, Annotations/, ImageSets/Segmentation/ and, for
            scores, SegmentationClass/.
        labels: None, the annotations are the labels.
        scratch: folder to write into.

    Raises:
        InputError: a table of labels, no such folder, or a list that is missing or empty.
    """
    if labels is not None:
        raise InputError(f"{labels}: --format voc takes the labels from Annotations/; leave --labels out")
    root = _find_root(input)
    test = _read_list(root / _LISTS / "val.txt")
    augmented = root / _LISTS / "trainaug.txt"
    train = _read_list(augmented if augmented.is_file() else root / _LISTS / "train.txt")
    train = sorted(set(train).difference(test))
    if not train:
        raise InputError(f"{root / _LISTS}: every picture of the training list tests too; get the lists again")
    split_of = {name: "train" if at % _VALIDATION_SHARE else "val" for at, name in enumerate(train)}
    split_of |= dict.fromkeys(test, "test")

    rows: list[list[Any]] = []
    unknown = []
    for name, split in sorted(split_of.items()):
        try:
            present = _present(root / "Annotations" / f"{name}.xml")
        except (OSError, ValueError, LookupError, ElementTree.ParseError):
            unknown.append(name)
            rows.append([f"{name}.jpg", split, *("" for _ in CLASSES)])
        else:
            rows.append([f"{name}.jpg", split, *(int(label in present) for label in CLASSES)])
    if len(unknown) == len(rows):
        raise InputError(f"{root / 'Annotations'}: no readable annotation of any listed picture; unpack VOC2012 again")
    write_table(scratch / "labels.csv", ("file", "split", *CLASSES), rows)
    pictures = "1 picture has" if len(unknown) == 1 else f"{len(unknown)} pictures have"
    notes = [f"{pictures} no usable annotation: labels unknown"] if unknown else []
    masks = root / "SegmentationClass"
    return NativeData(
        root / "JPEGImages",
        scratch / "labels.csv",
        masks if masks.is_dir() else None,
        CLASSES,
        "split",
        colour=True,
        notes=tuple(notes),
    )


def _find_root(input: Path) -> Path:
    for root in (input, input / "VOC2012", input / "VOCdevkit" / "VOC2012"):
        if all((root / name).is_dir() for name in ("JPEGImages", "Annotations", _LISTS)):
            return root
    raise InputError(
        f"{input}: neither VOC2012 nor a VOCdevkit with it (JPEGImages, Annotations, ImageSets/Segmentation); unpack it"
    )


def _read_list(path: Path) -> Sequence[str]:
    """Return the names of a list, one a line; some lists of SBD's pictures give the paths of picture and mask."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read; unpack VOC2012 again") from error
    names = [Path(line.split()[0]).stem for line in lines if line.strip()]
    if not names:
        raise InputError(f"{path}: names no picture; unpack VOC2012 again")
    return names


class _NoEntities(ElementTree.TreeBuilder):
    """Refuses a document type: without one there are no entities, which could grow without end or name other files."""

    def doctype(self, *_: Any) -> None:
        raise ValueError("a document type")


def _present(path: Path) -> set[str]:
    """Return the classes of an annotation's objects; parts of persons (head, hand, foot) are no objects."""
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError("too large")
    root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_NoEntities()))
    names = {(name.text or "").strip() for name in root.findall("object/name")}
    if not names <= set(CLASSES):
        raise ValueError("another class")
    return names
