"""SIIM-ACR's folder: what becomes of films, rows and codes."""

import csv

import numpy as np
import pytest
from PIL import Image
from siim_acr_files import COLUMNS, ROWS, encode, uid, write_film, write_siim_acr

from monai_wsss.data import find_truth, find_volumes
from monai_wsss.data.formats.siim_acr import read_siim_acr
from monai_wsss.errors import InputError


def read(folder, scratch, *rows):
    """The folder read, after train-rle.csv was replaced by `rows`."""
    if rows:
        (folder / "train-rle.csv").write_text("\n".join(["ImageId, EncodedPixels", *rows]))
    scratch.mkdir(exist_ok=True)
    return read_siim_acr(folder / "dicom-images-train", folder / "train-rle.csv", scratch)


def labels_of(native):
    with native.labels.open() as stream:
        return [tuple(row.values()) for row in csv.DictReader(stream)]


@pytest.fixture
def films(tmp_path):
    for number in range(3):
        write_film(tmp_path / "dicom-images-train", number, np.full((4, 3), 100 + number))
    return tmp_path


def test_labels_and_masks_of_a_generated_folder(tmp_path):
    lesions = write_siim_acr(tmp_path)
    native = read(tmp_path, tmp_path / "scratch")
    assert (native.classes, native.split_column, native.colour) == (("pneumothorax",), None, False)
    positive = {0, 1, 4}
    assert labels_of(native) == [(uid(n), str(int(n in positive))) for n in range(8) if n != 6]
    assert native.rows_without_file == ("line 11",)  # header, 0, 1, 1, 2, 3, 4, 5, 7, 7, and the row of no film
    assert [problem.reason for problem in native.mask_problems] == [
        f"its run-length code reaches past the image of {COLUMNS} x {ROWS} pixels"
    ]

    volumes, _ = find_volumes(native.images)
    truth, problems = find_truth(volumes, native.masks)
    assert len(lesions) == len(truth) == 6
    for name, lesion in lesions.items():
        mask = np.asarray(Image.open(truth[name]))
        assert np.array_equal(mask, lesion.astype(np.uint8))  # 0 and 1, as a viewer sees it
    assert {problem.reason for problem in problems} == {"no masks for it"}


@pytest.mark.parametrize(
    ("rows", "labels", "problem"),
    [
        (["{0}, -1"], "0", None),
        (["{0},-1"], "0", None),
        (["{0},  1 2"], "1", None),
        (["{0},-1", "{0}, -1"], "0", None),
        (["{0},1 2", "{0},1 2"], "1", None),
        (["{0},1 2", "{0},"], "1", None),
        (["{0}, -1", "{0}, 1 2"], "01", "its rows say both -1 and a lesion"),  # `prepare` makes it unknown
        (["{0},"], [""], "its rows hold no run-length code"),
        (["{0}, 11 2"], "1", "its run-length code reaches past the image of 3 x 4 pixels"),
        (["{0}, 1 1 1"], "1", "its run-length code has a gap without a length"),
        (["{0}, left lung"], "1", "its run-length code holds something other than whole numbers"),
        (["{0}, 1 2", "{0}, x"], "1", "its run-length code holds something other than whole numbers"),
    ],
)
def test_rows_of_one_image(films, tmp_path, rows, labels, problem):
    native = read(films, tmp_path / "scratch", *(row.format(uid(0)) for row in rows), f"{uid(1)}, -1")
    assert labels_of(native) == [*((uid(0), label) for label in labels), (uid(1), "0")]
    assert [found.reason for found in native.mask_problems] == ([problem] if problem else [])
    masks = {path.stem for path in native.masks.rglob("*.png")}
    assert masks == ({uid(1)} if problem else {uid(0), uid(1)})


def test_films_are_known_by_their_header_and_masks_by_the_films_path(films, tmp_path):
    """Files that an archive has renamed, two of them alike in different folders."""
    for number in range(2):
        path = next((films / "dicom-images-train").rglob(f"{uid(number)}.dcm"))
        path.rename(path.with_name("IM0001"))
    native = read(films, tmp_path / "scratch", f"{uid(0)}, 1 2", f"{uid(1)},-1")
    volumes, _ = find_volumes(native.images)
    truth, _ = find_truth(volumes, native.masks)
    pixels = {volume.tags.instances[0]: volume.case for volume in volumes}
    on = {number: int(np.asarray(Image.open(truth[pixels[uid(number)]])).sum()) for number in range(2)}
    assert on == {0: 2, 1: 0}


def test_films_saved_as_pictures_go_by_their_names(tmp_path):
    (tmp_path / "dicom-images-train").mkdir()
    Image.fromarray(np.zeros((4, 3), np.uint8)).save(tmp_path / "dicom-images-train" / f"{uid(0)}.png")
    native = read(tmp_path, tmp_path / "scratch", f"{uid(0)}, {encode(np.eye(4, 3))}")
    mask = np.asarray(Image.open(native.masks / f"{uid(0)}.png"))
    assert np.array_equal(mask, np.eye(4, 3))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (None, "--format siim-acr: give the data set's table of run-length codes, --labels train-rle.csv"),
        ("ImageId,label\n{0},1\n", "labels.csv: no columns ImageId and EncodedPixels"),
        ("PatientId,EncodedPixels\n{0},-1\n", "labels.csv: no columns ImageId and EncodedPixels"),
        ("ImageId, EncodedPixels\n1.2,-1\n1.3,-1\n", "none of its 2 images is below "),
    ],
)
def test_tables_that_are_refused(films, tmp_path, table, words):
    path = None if table is None else tmp_path / "labels.csv"
    if path:
        path.write_text(table.format(uid(0)))
    with pytest.raises(InputError) as error:
        read_siim_acr(films / "dicom-images-train", path, tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
