"""A COCO folder of eleven tiny pictures with coloured rectangles, and its annotations."""

import json

import numpy as np
from PIL import Image

CATEGORIES = {1: "person", 3: "car", 18: "dog", 90: "hair drier"}  # ids with gaps
LABELS = {id_: label for label, id_ in enumerate(CATEGORIES, start=1)}
COLOURS = {1: (40, 200, 60), 3: (220, 40, 40), 18: (60, 80, 230), 90: (220, 210, 60)}
SIZES = ((40, 30), (30, 40))  # columns, rows, by turns

# file -> (category, top, left, rows, columns) of each rectangle
TRAIN = {
    "COCO_train2014_000000000009.jpg": [(1, 4, 5, 10, 8)],
    "COCO_train2014_000000000025.jpg": [(3, 8, 6, 9, 12)],
    "COCO_train2014_000000000030.jpg": [(18, 5, 15, 12, 9)],
    "COCO_train2014_000000000034.jpg": [(1, 10, 4, 12, 8), (3, 14, 18, 10, 9)],
    "COCO_train2014_000000000036.jpg": [],
    "COCO_train2014_000000000049.jpg": [(18, 4, 4, 18, 20), (1, 8, 8, 6, 6)],  # the small one lies within
    "COCO_train2014_000000000061.jpg": [(3, 6, 5, 8, 11), (90, 16, 18, 8, 8)],
    "COCO_train2014_000000000064.jpg": [(90, 10, 10, 9, 9)],
}
VAL = {
    "COCO_val2014_000000000042.jpg": [(18, 8, 9, 10, 12)],
    "COCO_val2014_000000000073.jpg": [(1, 6, 4, 12, 8), (3, 12, 16, 12, 10), (90, 3, 18, 6, 6)],
    "COCO_val2014_000000000074.jpg": [],
}


def rectangle(size, box):
    """The pixels of a box, (rows, columns)."""
    _, top, left, height, width = box
    mask = np.zeros(size[::-1], bool)
    mask[top : top + height, left : left + width] = True
    return mask


def truth(size, boxes):
    """Labels (rows, columns), drawn from the largest box to the smallest."""
    labels = np.zeros(size[::-1], np.uint8)
    for box in sorted(boxes, key=lambda box: -box[3] * box[4]):
        labels[rectangle(size, box)] = LABELS[box[0]]
    return labels


def picture(size, boxes):
    """RGB (rows, columns, 3) with the boxes in the colours of their classes."""
    rgb = np.full((*size[::-1], 3), 120, np.uint8)
    rgb[::2] += 10
    for box in sorted(boxes, key=lambda box: -box[3] * box[4]):
        rgb[rectangle(size, box)] = COLOURS[box[0]]
    return rgb


def polygon(box):
    """Corners of a box: a pixel reaches from its number to the next."""
    _, top, left, height, width = box
    return [left, top, left + width, top, left + width, top + height, left, top + height]


def run_lengths(mask):
    """Uncompressed code of (rows, columns): gap, run, gap, ... down the columns."""
    pixels = mask.T.ravel()
    borders = np.flatnonzero(np.diff(np.concatenate(([0], pixels, [1 - pixels[-1]]))))
    return {"size": list(mask.shape), "counts": np.diff(borders, prepend=0).tolist()}


def annotations(sizes, pictures, first_image):
    """Polygons, and codes for every third box; every fourth of all is a crowd, which has a code too."""
    found = []
    for at, boxes in enumerate(pictures.values()):
        for box in boxes:
            number = len(found)
            code = number % 3 == 2
            found.append(
                {
                    "id": 1000 + number,
                    "image_id": first_image + at,
                    "category_id": box[0],
                    "area": float(box[3] * box[4]),
                    "bbox": [box[2], box[1], box[4], box[3]],
                    "iscrowd": int(code),
                    "segmentation": run_lengths(rectangle(sizes[at % 2], box)) if code else [polygon(box)],
                }
            )
    return found


def coco_json(pictures, first_image=100):
    """The content of an annotation file; annotations and images in no particular order."""
    names = list(pictures)
    return {
        "info": {"year": 2014},
        "licenses": [{"id": 1, "name": "none"}],
        "annotations": annotations(SIZES, pictures, first_image)[::-1],
        "images": [
            {"id": first_image + at, "file_name": name, "width": SIZES[at % 2][0], "height": SIZES[at % 2][1]}
            for at, name in reversed(list(enumerate(names)))
        ],
        "categories": [
            {"id": id_, "name": name, "supercategory": "thing"} for id_, name in reversed(CATEGORIES.items())
        ],
    }


def write_coco(folder, year="2014", grey=()):
    """Write train2014/, val2014/ and annotations/ into `folder` and return it; pictures named in `grey` are grey."""
    for part, pictures, first_image in (("train", TRAIN, 100), ("val", VAL, 500)):
        (folder / f"{part}{year}").mkdir(parents=True)
        for at, (name, boxes) in enumerate(pictures.items()):
            image = Image.fromarray(picture(SIZES[at % 2], boxes))
            image = image.convert("L") if name in grey else image
            image.save(folder / f"{part}{year}" / name, quality=95)
        write_annotations(folder, part, coco_json(pictures, first_image), year)
    return folder


def write_annotations(folder, part, content, year="2014"):
    """Write annotations/instances_<part><year>.json."""
    path = folder / "annotations" / f"instances_{part}{year}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
