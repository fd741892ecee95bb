"""A COCO folder becomes a table of its categories and a folder of label maps."""

import csv
import json

import numpy as np
import pytest
from coco_folder import CATEGORIES, SIZES, TRAIN, VAL, coco_json, truth, write_annotations, write_coco
from PIL import Image

from monai_wsss.data.formats.coco import read_coco
from monai_wsss.errors import InputError

FIRST = "COCO_train2014_000000000009.jpg"
SECOND = "COCO_train2014_000000000025.jpg"


@pytest.fixture
def root(tmp_path):
    return write_coco(tmp_path / "coco")


@pytest.fixture
def read(root, tmp_path):
    def read(folder=root):
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        native = read_coco(folder, None, scratch)
        with native.labels.open() as stream:
            return native, {row["file"].split("/")[1]: row for row in csv.DictReader(stream)}

    return read


@pytest.fixture
def edit(root):
    """Changes the content of an annotation file."""

    def edit(change, part="train"):
        path = root / "annotations" / f"instances_{part}2014.json"
        content = json.loads(path.read_text())
        change(content)
        write_annotations(root, part, content)

    return edit


def of_image(content, name):
    id_ = next(image["id"] for image in content["images"] if image["file_name"] == name)
    return [annotation for annotation in content["annotations"] if annotation["image_id"] == id_]


def labels_of(row):
    return [row[name] for name in CATEGORIES.values()]


def test_table(root, read):
    native, rows = read()
    assert (native.images, native.classes) == (root, ("person", "car", "dog", "hair drier"))
    assert (native.split_column, native.colour, native.notes, native.mask_problems) == ("split", True, (), ())
    assert list(rows) == [*TRAIN, *VAL]
    for name, boxes in (TRAIN | VAL).items():
        present = {box[0] for box in boxes}
        assert labels_of(rows[name]) == [str(int(id_ in present)) for id_ in CATEGORIES], name
    assert rows[FIRST]["file"] == f"train2014/{FIRST}"
    # the first of eight training pictures validates (every 50th), val2014 tests
    assert [row["split"] for row in rows.values()] == ["val", *["train"] * 7, *["test"] * 3]


def test_masks(read):
    native, _ = read()
    for folder, pictures in (("train2014", TRAIN), ("val2014", VAL)):
        for at, (name, boxes) in enumerate(pictures.items()):
            mask = np.asarray(Image.open(native.masks / folder / name.replace(".jpg", ".png")))
            assert mask.dtype == np.uint8 and np.array_equal(mask, truth(SIZES[at % 2], boxes)), name


def test_crowds_and_codes_were_among_them(root):
    content = coco_json(TRAIN)
    kinds = {(type(item["segmentation"]), item["iscrowd"]) for item in content["annotations"]}
    assert kinds == {(list, 0), (dict, 1)}


def test_the_other_year_and_the_same_masks(tmp_path, read):
    native, rows = read(write_coco(tmp_path / "later", "2017"))
    assert rows[FIRST]["file"] == f"train2017/{FIRST}"
    assert sorted(path.name for path in native.masks.iterdir()) == ["train2017", "val2017"]


def test_every_50th_validates(root, read, edit):
    names = [f"{number:012d}.jpg" for number in range(110)]

    def more(content):
        content["images"] += [
            {"id": 10000 + at, "file_name": name, "width": 3, "height": 2} for at, name in enumerate(names)
        ]

    edit(more)
    for name in names:
        Image.new("RGB", (3, 2)).save(root / "train2014" / name)
    _, rows = read()
    chosen = [name for name, row in rows.items() if row["split"] == "val"]
    assert chosen == ["000000000000.jpg", "000000000050.jpg", "000000000100.jpg"]
    assert labels_of(rows[names[7]]) == ["0"] * 4  # without any annotation: all negative


@pytest.mark.parametrize("number", [1, 254])
def test_any_number_of_categories(root, read, edit, number):
    def change(content):
        content["categories"] = [{"id": 7 * k + 1, "name": f"thing {k}"} for k in range(number)]
        for annotation in content["annotations"]:
            annotation["category_id"] = 7 * (number - 1) + 1

    for part in ("train", "val"):
        edit(change, part)
    native, rows = read()
    assert native.classes == tuple(f"thing {k}" for k in range(number))
    assert rows[FIRST][f"thing {number - 1}"] == "1"
    mask = np.asarray(Image.open(native.masks / "train2014" / FIRST.replace("jpg", "png")))
    assert set(np.unique(mask)) == {0, number}


SEGMENTATIONS = [
    (None, "neither polygons nor a run-length code"),
    ("text", "neither polygons"),
    ({"counts": [1, 2], "size": [30, 40]}, "does not fill the image"),
    ({"counts": ["1"], "size": [30, 40]}, "other than whole numbers"),
    ({"counts": 7, "size": [30, 40]}, "other than whole numbers"),
    ([], "no segmentation"),
    ([["a", 1, 2, 3, 4, 5]], "other than numbers"),
    ([[1, 2, [3], 4, 5, 6]], "other than numbers"),
    ([1, 2, 3, 4, 5, 6], "other than numbers"),
    ([[1e300, 0, 0, 0, 5, 5]], "far outside"),
    ([[10**400, 0, 0, 0, 5, 5]], "other than numbers"),
]


@pytest.mark.parametrize(("segmentation", "words"), SEGMENTATIONS)
def test_a_bad_segmentation_costs_one_mask_and_no_label(root, read, edit, segmentation, words):
    def change(content):
        of_image(content, FIRST)[0]["segmentation"] = segmentation

    edit(change)
    native, rows = read()
    (problem,) = native.mask_problems
    assert problem.file == str(root / "train2014" / FIRST) and words in problem.reason
    assert labels_of(rows[FIRST]) == ["1", "0", "0", "0"]
    assert len(list(native.masks.rglob("*.png"))) == 10


@pytest.mark.parametrize("category", [2, None, "person", [1]])
def test_an_unknown_category_makes_one_picture_unknown(read, edit, category):
    def change(content):
        of_image(content, FIRST)[0]["category_id"] = category

    edit(change)
    native, rows = read()
    assert labels_of(rows[FIRST]) == [""] * 4
    assert labels_of(rows[SECOND]) == ["0", "1", "0", "0"]
    assert native.notes == ("1 picture has an annotation of no known category: labels unknown",)
    assert [problem.reason for problem in native.mask_problems] == ["an annotation is of no known category"]


@pytest.mark.parametrize("width", [0, -3, 2.5, "40", None, 1 << 20])
def test_an_image_of_no_size_has_no_mask(read, edit, width):
    def change(content):
        for image in content["images"]:
            if image["file_name"] == FIRST:
                image["width"] = width
                image["height"] = 1 << 20 if width == 1 << 20 else 30

    edit(change)
    native, rows = read()
    assert [problem.reason for problem in native.mask_problems] == ["its annotations do not state its size"]
    assert labels_of(rows[FIRST]) == ["1", "0", "0", "0"]


def test_annotations_of_other_images_are_counted(read, edit):
    def change(content):
        extra = dict(content["annotations"][0])
        strange = [extra | {"image_id": image} for image in (77, [1], None, "x")]
        content["annotations"] += [*strange, {"bbox": []}, "no annotation", 5]

    edit(change)
    native, rows = read()
    assert native.notes == ("instances_train2014.json: 7 annotations of images that it does not list, left out",)
    assert len(rows) == 11 and native.mask_problems == ()


def test_image_entries_that_cannot_be_used_are_counted(root, read, edit):
    bad = [
        {"id": 900, "file_name": "../../escape.jpg", "width": 4, "height": 4},
        {"id": 901, "file_name": "..\\escape.jpg", "width": 4, "height": 4},
        {"id": 902, "file_name": "notes.txt", "width": 4, "height": 4},
        {"id": 903, "file_name": FIRST, "width": 4, "height": 4},  # a second entry of one file, with another size
        {"id": 904, "file_name": FIRST.replace("jpg", "png"), "width": 4, "height": 4},  # its mask would be the same
        {"id": 100, "file_name": "new.jpg", "width": 4, "height": 4},  # an id that another has
        {"id": None, "file_name": "new.jpg", "width": 4, "height": 4},
        {"file_name": "new.jpg"},
        {"id": 905},
        7,
    ]

    def change(content):
        content["images"] += bad

    edit(change)
    native, rows = read()
    assert native.notes == (
        "instances_train2014.json: 10 images without a file name, an id and a place of their own, left out",
    )
    assert list(rows) == [*TRAIN, *VAL] and native.mask_problems == ()
    assert not list(root.parent.rglob("escape*"))


def test_pictures_that_are_not_there_are_listed(root, read):
    (root / "train2014" / SECOND).unlink()
    native, rows = read()
    assert SECOND not in rows and native.rows_without_file == ("image 101 of instances_train2014.json",)
    assert len(list(native.masks.rglob("*.png"))) == 10


def test_what_is_refused(root, read, tmp_path):
    with pytest.raises(InputError, match="leave --labels out"):
        read_coco(root, tmp_path / "labels.csv", tmp_path)
    with pytest.raises(InputError, match=r"no annotations/instances_train\*\.json in it"):
        read(root / "annotations")
    with pytest.raises(InputError, match=r"nowhere: no annotations/"):
        read(tmp_path / "nowhere")
    write_annotations(root, "val", coco_json(VAL), "2017")
    with pytest.raises(InputError, match="holds 2014 and 2017; keep the files of one year"):
        read()
    (root / "annotations" / "instances_val2017.json").unlink()
    for path in (root / "val2014").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"val2014: holds no picture of instances_val2014\.json; unpack val2014\.zip"):
        read()
    (root / "val2014").rmdir()
    with pytest.raises(InputError, match=r"val2014: holds no picture"):
        read()
    (root / "annotations" / "instances_train2014.json").unlink()
    with pytest.raises(InputError, match=r"instances_train2014\.json: not found"):
        read()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read as JSON"),
        (b'{"images": [', "cannot be read as JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        (b"[" * 100000, "cannot be read as JSON"),
        (b"[]", "lists no images, categories or annotations"),
        (b"{}", "lists no images"),
        (b'{"image_id": 3}', "lists no images"),
        (b'{"images": [{"id": 1}], "categories": 3, "annotations": [{"image_id": 1}]}', "lists no images"),
        # captions
        (b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1}]}', "lists no images, cat"),
        (
            b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2}], "categories": [1]}',
            "annotates none of its images",
        ),
    ],
)
def test_files_that_are_refused(root, read, content, words):
    (root / "annotations" / "instances_train2014.json").write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        read()
    assert "instances_train2014.json: " in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("categories", "words"),
    [
        ([{"id": 1, "name": ""}], "no id and name of its own"),
        ([{"id": "1", "name": "person"}], "no id and name"),
        ([{"name": "person"}], "no id and name"),
        ([{"id": 1, "name": "person"}, {"id": 1, "name": "car"}], "no id and name"),
        ([3], "no id and name"),
        ([{"id": 1, "name": "Person"}, {"id": 2, "name": "person "}], "two categories have the same name"),
        ([{"id": k, "name": f"c{k}"} for k in range(255)], "has 255 categories, a label map holds 254"),
        ([{"id": 1, "name": "person"}], "instances_val2014.json: has other categories than the training file"),
    ],
)
def test_categories_that_are_refused(read, edit, categories, words):
    edit(lambda content: content.update(categories=categories))
    with pytest.raises(InputError, match=words):
        read()
