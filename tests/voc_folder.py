"""A VOCdevkit of ten tiny pictures with coloured rectangles."""

import numpy as np
from PIL import Image

COLOURS = {"aeroplane": (220, 40, 40), "person": (40, 200, 60), "tvmonitor": (60, 80, 230)}
INDICES = {"aeroplane": 1, "person": 15, "tvmonitor": 20}
OBJECTS = {
    "2007_000001": ("aeroplane",),
    "2007_000002": ("person",),
    "2007_000003": ("tvmonitor",),
    "2008_000004": ("aeroplane", "person"),
    "2008_000005": ("person", "tvmonitor"),
    "2008_000006": ("aeroplane", "tvmonitor"),
    "2009_000007": ("aeroplane", "person", "tvmonitor"),
    "2009_000008": ("person", "person"),
    "2010_000009": ("tvmonitor",),
    "2011_000010": ("aeroplane",),
}
TRAIN, VAL = list(OBJECTS)[:7], list(OBJECTS)[7:9]  # the tenth is in no list


def annotation(name, labels):
    found = "".join(
        f"<object><name>{label}</name><difficult>{int(at > 0)}</difficult>"
        "<part><name>head</name></part></object>"  # a part is no object
        for at, label in enumerate(labels)
    )
    return f"<annotation><folder>VOC2012</folder><filename>{name}.jpg</filename>{found}</annotation>"


def rectangles(size, labels):
    """Picture `(rows, columns, 3)` and mask: a 10 x 10 square an object, a frame of 255 two pixels wide around it."""
    width, height = size
    picture = np.full((height, width, 3), 120, np.uint8)
    picture[::2] += 10
    mask = np.zeros((height, width), np.uint8)
    for at, label in enumerate(labels):
        top, left = 2 + 9 * at, 3 + 9 * at
        picture[top : top + 10, left : left + 10] = COLOURS[label]
        mask[top - 2 : top + 12, left - 2 : left + 12] = 255
        mask[top : top + 10, left : left + 10] = INDICES[label]
    return picture, mask


def write_voc(folder, trainaug=False):
    """Write VOCdevkit/VOC2012 below `folder` and return it; pictures are 40 x 30 and 30 x 40 by turns."""
    root = folder / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    for name in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    palette = np.random.default_rng(0).integers(0, 256, (256, 3))
    palette[0] = 0
    for at, (name, labels) in enumerate(OBJECTS.items()):
        picture, mask = rectangles((40, 30) if at % 2 == 0 else (30, 40), labels)
        Image.fromarray(picture).save(root / "JPEGImages" / f"{name}.jpg", quality=95, subsampling=0)
        (root / "Annotations" / f"{name}.xml").write_text(annotation(name, labels))
        image = Image.fromarray(mask)
        image.putpalette(palette.astype(np.uint8).tobytes())
        image.save(root / "SegmentationClass" / f"{name}.png")
    (lists / "train.txt").write_text("\n".join(TRAIN[:3]) + "\n")
    (lists / "val.txt").write_text("\n".join(VAL) + "\n")
    if trainaug:
        lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in TRAIN]
        (lists / "trainaug.txt").write_text("\n".join(lines) + "\n")
    return root
