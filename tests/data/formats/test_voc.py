"""A VOCdevkit becomes a table of 20 classes."""

import csv

import pytest
from voc_folder import TRAIN, VAL, annotation, write_voc

from monai_wsss.data.formats.voc import CLASSES, read_voc
from monai_wsss.errors import InputError


@pytest.fixture
def root(tmp_path):
    return write_voc(tmp_path)


def read(root, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    native = read_voc(root, None, scratch)
    with native.labels.open() as stream:
        return native, {row["file"]: row for row in csv.DictReader(stream)}


def present(row):
    return [label for label in CLASSES if row[label] == "1"]


def test_classes_are_the_indices_of_the_masks():
    assert len(CLASSES) == 20 and list(CLASSES) == sorted(CLASSES)
    assert [CLASSES.index(name) + 1 for name in ("aeroplane", "person", "tvmonitor")] == [1, 15, 20]


def test_table(root, tmp_path):
    native, rows = read(root, tmp_path)
    assert (native.images, native.masks) == (root / "JPEGImages", root / "SegmentationClass")
    assert (native.classes, native.split_column, native.colour, native.notes) == (CLASSES, "split", True, ())
    # three of train.txt, of which the first (every 50th) validates, and the two of val.txt test
    assert {name: row["split"] for name, row in rows.items()} == {
        "2007_000001.jpg": "val",
        "2007_000002.jpg": "train",
        "2007_000003.jpg": "train",
        "2009_000008.jpg": "test",
        "2010_000009.jpg": "test",
    }
    assert present(rows["2007_000003.jpg"]) == ["tvmonitor"] and present(rows["2009_000008.jpg"]) == ["person"]
    assert {value for row in rows.values() for label, value in row.items() if label in CLASSES} == {"0", "1"}


def test_trainaug_comes_first_and_difficult_objects_count(tmp_path):
    root = write_voc(tmp_path, trainaug=True)
    _, rows = read(root, tmp_path)
    assert sorted(rows) == [f"{name}.jpg" for name in TRAIN + VAL]
    assert present(rows["2009_000007.jpg"]) == ["aeroplane", "person", "tvmonitor"]  # all but the first are difficult
    assert [row["split"] for row in rows.values()].count("val") == 1


def test_every_50th_validates(root, tmp_path):
    names = [f"2008_{number:06d}" for number in range(120)]
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(reversed(names)))
    for name in names:
        (root / "Annotations" / f"{name}.xml").write_text(annotation(name, ["cat"]))
    _, rows = read(root, tmp_path)
    chosen = [name for name, row in rows.items() if row["split"] == "val"]
    assert chosen == ["2008_000000.jpg", "2008_000050.jpg", "2008_000100.jpg"]


def test_what_tests_never_trains(root, tmp_path):
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join([*VAL, *TRAIN]))
    _, rows = read(root, tmp_path)
    assert [rows[f"{name}.jpg"]["split"] for name in VAL] == ["test", "test"]
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(VAL))
    with pytest.raises(InputError, match="tests too"):
        read(root, tmp_path)


@pytest.mark.parametrize("up", [0, 1, 2])
def test_the_devkit_or_the_folder_itself(root, tmp_path, up):
    native, _ = read((root, *root.parents)[up], tmp_path)
    assert native.images == root / "JPEGImages"


GROWING = (
    '<!DOCTYPE a [<!ENTITY b "person"><!ENTITY c "&b;&b;">]><annotation><object><name>&c;</name></object></annotation>'
)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"no XML",
        b"<annotation><object>",
        b"\xff\xfe\x00",
        b'<?xml version="1.0" encoding="none"?><annotation/>',
        GROWING.encode(),
        GROWING.encode("utf-16"),
        b"<!DOCTYPE a SYSTEM 'file:///etc/hostname'><annotation/>",
        annotation("x", ["unicorn"]).encode(),
        annotation("x", ["person"]).encode() + b" " * (1 << 20),
    ],
)
def test_a_bad_annotation_makes_one_picture_unknown(root, tmp_path, content):
    path = root / "Annotations" / "2007_000002.xml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    native, rows = read(root, tmp_path)
    assert native.notes == ("1 picture has no usable annotation: labels unknown",)
    assert {rows["2007_000002.jpg"][label] for label in CLASSES} == {""}
    assert present(rows["2007_000003.jpg"]) == ["tvmonitor"]


def test_labels_do_not_come_from_masks(root, tmp_path):
    for mask in (root / "SegmentationClass").iterdir():
        mask.unlink()
    (root / "SegmentationClass").rmdir()
    native, rows = read(root, tmp_path)
    assert native.masks is None and present(rows["2007_000003.jpg"]) == ["tvmonitor"]


def test_what_is_refused(root, tmp_path):
    with pytest.raises(InputError, match="leave --labels out"):
        read_voc(root, tmp_path / "labels.csv", tmp_path)
    with pytest.raises(InputError, match="neither VOC2012 nor a VOCdevkit"):
        read(root / "JPEGImages", tmp_path)
    for file in (root / "Annotations").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="no readable annotation"):
        read(root, tmp_path)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("\n")
    with pytest.raises(InputError, match=r"train\.txt: names no picture"):
        read(root, tmp_path)
    (lists / "val.txt").unlink()
    with pytest.raises(InputError, match=r"val\.txt: cannot be read"):
        read(root, tmp_path)
