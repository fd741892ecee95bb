"""An annotation file of COCO: images, categories, and what is used of each of the many annotations."""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.picture import PICTURE_SUFFIXES
from monai_wsss.errors import InputError

_MAX_PIXELS = 1 << 27  # of an image, as of any picture that is read
_MAX_CATEGORIES = 254  # labels are uint8, 0 is the background and 255 void


class Annotation(NamedTuple):
    """What is used of one: ids of image and category, None if the file has none, and the segmentation: `Instance`."""

    image: int | str | None
    category: int | None
    crowd: bool
    segmentation: Any


class CocoImage(NamedTuple):
    """An image: its id, its file's name, its columns and rows (None if the file states no usable size)."""

    id: int | str
    name: str
    shape: tuple[int, int] | None


@dataclass(frozen=True)
class CocoFile:
    """An annotation file.

    Attributes:
        path: the file.
        categories: id -> name, in the order of the ids.
        images: in the order of their names.
        annotations: id of an image -> its annotations.
        notes: what was left out, one sentence each.
    """

    path: Path
    categories: dict[int, str]
    images: tuple[CocoImage, ...]
    annotations: dict[int | str, list[Annotation]]
    notes: tuple[str, ...]


def read_coco_file(path: Path) -> CocoFile:
    """Read a file in one pass; numbers are packed while it is read, so that COCO's largest file takes about 1.3 GB.

    Raises:
        InputError: missing, no JSON, without images, categories or annotations, with categories that cannot be told
            apart, or with more of them than a label map holds.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            content = json.load(stream, object_hook=_slim)
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; unpack COCO's annotations there") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON; unpack COCO's annotations again") from error
    lists = [_list(content, name) for name in ("images", "categories", "annotations")]
    if not all(lists):
        raise InputError(f"{path}: lists no images, categories or annotations; give COCO's instances_*.json")
    images, nameless = _read_images(lists[0])
    annotations: dict[int | str, list[Annotation]] = {image.id: [] for image in images}
    homeless = 0
    for annotation in lists[2]:
        own = annotation.image if isinstance(annotation, Annotation) else None
        if own is None or own not in annotations:
            homeless += 1
        else:
            annotations[own].append(annotation)
    if not any(annotations.values()):
        raise InputError(f"{path}: annotates none of its images; give COCO's instances_*.json")
    notes = [
        f"{path.name}: {number} {what}, left out"
        for number, what in (
            (nameless, "images without a file name, an id and a place of their own"),
            (homeless, "annotations of images that it does not list"),
        )
        if number
    ]
    return CocoFile(path, _read_categories(path, lists[1]), images, annotations, tuple(notes))


def _slim(item: dict[str, Any]) -> Any:
    """Keep of an annotation what is used, with its numbers packed: a list of Python's numbers takes four times more."""
    if "counts" in item and isinstance(item["counts"], list):
        item["counts"] = _packed("q", item["counts"])
    if "image_id" not in item:
        return item
    segmentation = item.get("segmentation")
    if isinstance(segmentation, list):
        segmentation = [_packed("d", polygon) for polygon in segmentation]
    image, category = item["image_id"], item.get("category_id")
    return Annotation(
        image if isinstance(image, int | str) else None,
        category if isinstance(category, int) else None,
        bool(item.get("iscrowd")),
        segmentation,
    )


def _packed(code: str, numbers: Any) -> array[Any] | None:
    try:
        return array(code, numbers) if isinstance(numbers, list) else None
    except (TypeError, OverflowError):
        return None


def _list(content: Any, name: str) -> list[Any]:
    part = content.get(name) if isinstance(content, dict) else None
    return part if isinstance(part, list) else []


def _read_images(items: list[Any]) -> tuple[tuple[CocoImage, ...], int]:
    """Return the images by name, and the number of those that no annotation or file could belong to."""
    found: dict[str, CocoImage] = {}  # by the stem, which a mask is called after
    ids = set()
    for item in items:
        name, id_ = (item.get("file_name"), item.get("id")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(id_, int | str) or not _is_plain(name):
            continue
        if stem_of(name) not in found and id_ not in ids:
            found[stem_of(name)] = CocoImage(id_, name, _shape(item.get("width"), item.get("height")))
            ids.add(id_)
    return tuple(sorted(found.values(), key=lambda image: image.name)), len(items) - len(found)


def _is_plain(name: str) -> bool:
    """A picture's name that leads to no other folder."""
    return name.isprintable() and not {"/", "\\", ":"} & set(name) and name.lower().endswith(PICTURE_SUFFIXES)


def _shape(width: Any, height: Any) -> tuple[int, int] | None:
    whole = isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0
    return (width, height) if whole and width * height <= _MAX_PIXELS else None


def _read_categories(path: Path, items: list[Any]) -> dict[int, str]:
    found: dict[int, str] = {}
    for item in items:
        id_, name = (item.get("id"), item.get("name")) if isinstance(item, dict) else (None, None)
        if not isinstance(id_, int) or not isinstance(name, str) or not name.strip() or id_ in found:
            raise InputError(f"{path}: a category has no id and name of its own; unpack COCO's annotations again")
        found[id_] = " ".join(name.split())
    if len({name.casefold() for name in found.values()}) < len(found):
        raise InputError(f"{path}: two categories have the same name; rename one")
    if len(found) > _MAX_CATEGORIES:
        raise InputError(f"{path}: has {len(found)} categories, a label map holds {_MAX_CATEGORIES}; leave some out")
    return dict(sorted(found.items()))
