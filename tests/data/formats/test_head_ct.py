"""The head CT set's folder: what becomes of pictures, rows and of what tells the classes apart."""

import csv
import json
import re

import numpy as np
import pytest
from head_ct_files import draw_head, write_head_ct
from PIL import Image

from monai_wsss.data import PreparedDataset
from monai_wsss.data.formats import FORMATS
from monai_wsss.data.formats.head_ct import _auc, read_head_ct
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.prepare import prepare
from monai_wsss.workflow.prepare_formats import prepare_format

GRID = GridPreprocessing(pixel_spacing=None, size=(32, 32))
STORED = ("file size", "image size", "image border", "colour mode")


def labels_of(native):
    with native.labels.open() as stream:
        return [tuple(row.values()) for row in csv.DictReader(stream)]


def aucs_of(folder):
    return {s["variable"]: s["auc"] for s in json.loads((folder / "shortcuts.json").read_text())["shortcuts"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A generated folder of 24 pictures."""
    root = tmp_path_factory.mktemp("head_ct")
    write_head_ct(root)
    return root


@pytest.fixture
def few(tmp_path):
    """Three pictures, 000.png to 002.png, without a table."""
    for number in range(3):
        Image.fromarray(draw_head(np.random.default_rng(number))).save(tmp_path / f"{number:03d}.png")
    (tmp_path / "scratch").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    """The folder after `prepare`, with its report."""
    out = tmp_path_factory.mktemp("prepared")
    # Names are kept: by keyed hashes the folds of the audit would be others each time
    return prepare_format("head-ct", folder, None, out, preprocessing=GRID, keep_names=True)


def test_the_format_is_registered():
    assert FORMATS["head-ct"] is read_head_ct


def test_the_audit_sees_the_pictures_as_distributed(folder, tmp_path):
    rows = [f"{number:03d}.png,{int(number < 12)}" for number in range(24)]
    (tmp_path / "table.csv").write_text("\n".join(["file,haemorrhage", *rows]))
    prepare(folder / "head_ct", tmp_path / "table.csv", tmp_path / "out", preprocessing=GRID)
    aucs = aucs_of(tmp_path / "out")
    assert min(aucs[variable] for variable in STORED) > 0.95


def test_the_audit_sees_nothing_of_it_after(prepared):
    aucs = aucs_of(prepared.out)
    assert aucs["image size"] == aucs["colour mode"] == aucs["compression"] == 0.5
    assert max(auc for auc in aucs.values() if auc is not None) < 0.7
    assert any(line.startswith("No nuisance variable alone predicts a class") for line in prepared.lines())


def test_the_notes_say_what_told_the_classes_before(prepared):
    change, before = prepared.notes[-2:]
    assert change.startswith("24 pictures were normalised: grey, cut to the head, black outside it, 256 x 256 pixels")
    told = {name: float(auc) for name, auc in re.findall(r"([\w' ]+) (\d\.\d\d)", before.split(": ", 1)[1])}
    told = {name.strip(): auc for name, auc in told.items()}
    assert set(told) == {*STORED, "the head's size", "what is outside the head"}
    assert min(told[name] for name in (*STORED, "what is outside the head")) > 0.95
    assert told["the head's size"] < 0.7  # its heads are drawn alike


def test_labels_images_and_privacy(prepared, files_of):
    dataset = PreparedDataset.read(prepared.out)
    assert dataset.labels == ("haemorrhage",)
    assert sorted(case.classes[0] for case in dataset.cases()) == [0.0] * 12 + [1.0] * 12
    assert prepared.complete
    assert not any(b"monai-wsss-" in content for content in files_of(prepared.out).values())


def test_normalised_pictures(tmp_path):
    write_head_ct(tmp_path, 6)
    (tmp_path / "scratch").mkdir()
    native = read_head_ct(tmp_path / "head_ct", tmp_path / "labels.csv", tmp_path / "scratch")
    assert native.masks is None and not native.colour and native.split_column is None
    assert labels_of(native) == [(f"{number:03d}.png", str(int(number < 3))) for number in range(6)]
    for path in native.images.iterdir():
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == ("L", (256, 256))
            grey = np.asarray(picture)
        assert not grey[:24, :24].any()  # where the text was
        assert grey[[0, -1]].any() and grey[128, 128] > 20  # the head reaches from edge to edge
    blood = [(np.asarray(Image.open(native.images / f"{n:03d}.png"))[64:192, 64:192] > 150).mean() for n in (0, 3)]
    assert blood[0] > 0.03 > blood[1]


@pytest.mark.parametrize("name", ["{n}", "{n:03d}", "{n:03d}.png", "00{n:03d}"])
@pytest.mark.parametrize("header", ["id, hemorrhage", "Id;Hemorrhage", "hemorrhage,id"])
def test_ids_and_columns(few, name, header):
    separator = ";" if ";" in header else ","
    rows = [[name.format(n=n), str(n % 2)][:: -1 if header.startswith("hem") else 1] for n in range(3)]
    (few / "labels.csv").write_text("\n".join([header, *(separator.join(row) for row in rows)]))
    native = read_head_ct(few, None, few / "scratch")
    assert labels_of(native) == [("000.png", "0"), ("001.png", "1"), ("002.png", "0")]
    assert native.notes[-1].startswith("Fewer than 5 pictures of a class")


def test_what_does_not_fit_is_left_out_and_said(few):
    Image.new("L", (80, 80)).save(few / "003.png")
    (few / "004.png").write_bytes((few / "000.png").read_bytes()[:900])
    Image.fromarray(draw_head(np.random.default_rng(9))).save(few / "photo.png")
    rows = ["0,1", "0,0", "1,", "1,", "3,1", "4,0", "77,1"]
    (few / "labels.csv").write_text("\n".join(["id, hemorrhage", *rows]))
    native = read_head_ct(few, None, few / "scratch")
    assert labels_of(native) == [("000.png", "1"), ("000.png", "0"), ("001.png", "")]  # `prepare` lists the two of 0
    assert native.rows_without_file == ("line 8",)
    assert list(native.notes[:3]) == [
        "1 picture is left out (line 7 of the table): cannot be read as PNG or JPEG, it is damaged; copy it again",
        "1 picture is left out (line 6 of the table): no head in it",
        "2 pictures have no row in the table and are left out",  # 002.png and photo.png
    ]


def test_smaller_heads_are_named(few):
    """The head of 80 pixels is some 70 long, below 128: it does not make the others coarser."""
    Image.fromarray(draw_head(np.random.default_rng(1), side=80)).save(few / "001.png")
    (few / "labels.csv").write_text("id, hemorrhage\n0,1\n1,0\n2,0\n")
    notes = read_head_ct(few, None, few / "scratch").notes
    assert "none with more detail than 128 pixels give; infer does not do this" in notes[0]
    assert re.fullmatch(r"1 head is smaller than 128 pixels, down to (6|7)\d, and remain less sharp", notes[1])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (None, "no labels.csv in it; give the data set's table to --labels"),
        ("id,finding\n0,1\n", "labels.csv: no columns id and hemorrhage"),
        ("file,hemorrhage\n0,1\n", "labels.csv: no columns id and hemorrhage"),
        ("id,hemorrhage\n70,1\n71,0\n", "none of its 2 pictures is below "),
        ("id,hemorrhage\n3,1\n", "no picture of a head among the 1 of the table (no head in it)"),
        ("id,hemorrhage\n0,1\n5,1\n", "has the same id; remove one of them"),
    ],
)
def test_what_is_refused(few, table, words):
    Image.new("L", (80, 80)).save(few / "003.png")
    (few / "copy").mkdir()
    for name in ("5.png", "copy/005.png"):
        Image.new("L", (80, 80)).save(few / name)
    if table is not None:
        (few / "labels.csv").write_text(table)
    with pytest.raises(InputError) as error:
        read_head_ct(few, None, few / "scratch")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("columns", "low", "high"),
    [
        ([[1.0] * 10 + [9.0] * 10], 1, 1),
        ([["RGB"] * 10 + ["L"] * 10], 1, 1),
        ([[None] * 10 + [5.0] * 10], 1, 1),
        ([[5.0] * 10 + [1.0, 9.0] * 5], 0.99, 1),  # one class lies between the sizes of the other
        ([[1.0] * 20, [1.0] * 10 + [2.0] * 10], 1, 1),
        ([[1.0, 2.0] * 10], 0.3, 0.7),
    ],
)
def test_auc_of_a_variable(columns, low, high):
    positive = np.array([0] * 10 + [1] * 10)
    assert low <= _auc(columns, positive) <= high


def test_auc_of_a_variable_that_is_the_same_everywhere():
    assert _auc([["L"] * 10, [None] * 10], np.array([0, 1] * 5)) is None
