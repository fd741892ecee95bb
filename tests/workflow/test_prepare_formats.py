"""`prepare` for the folders of public data sets."""

import gzip
import json
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from coco_folder import CATEGORIES, SIZES, TRAIN, VAL, coco_json, truth, write_annotations, write_coco
from PIL import Image
from siim_acr_files import uid, write_siim_acr
from voc_folder import write_voc

from monai_wsss.data import PreparedDataset, cache_folder
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import prepare_formats
from monai_wsss.workflow.prepare_formats import prepare_format

GRID = GridPreprocessing(pixel_spacing=None, size=(32, 32))


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def siim(tmp_path_factory):
    """A generated SIIM-ACR folder, what it was prepared to, and the lesions that were drawn."""
    root = tmp_path_factory.mktemp("siim")
    lesions = write_siim_acr(root)
    images, table, out = root / "dicom-images-train", root / "train-rle.csv", root / "out"
    report = prepare_format("siim-acr", images, table, out, mapping=root / "names.csv", preprocessing=GRID)
    rows = [line.split(",") for line in (root / "names.csv").read_text().splitlines()]
    name_of = dict(zip((row[rows[0].index("name")] for row in rows), (row[0] for row in rows), strict=True))
    return root, report, {c.case: c for c in PreparedDataset.read(out).cases()}, name_of, lesions


def test_siim_acr_labels(siim):
    _, report, cases, name_of, _ = siim
    assert PreparedDataset.read(report.out).labels == ("pneumothorax",)
    labels = {number: cases[name_of[uid(number)]].classes[0] for number in range(8) if number != 6}
    assert labels == {0: 1, 1: 1, 2: 0, 3: 0, 4: 1, 5: 0, 7: 0}
    assert len(cases) == 7  # film 6 has no row
    assert len(report.files_without_row) == 1
    assert sum(report.patients.values()) == 7
    assert report.complete


def test_siim_acr_images_and_masks_agree_with_the_films(siim):
    """Arrays are (columns, rows, 1); pydicom's are (rows, columns). A lesion's pixels are those above 4000."""
    root, _, cases, name_of, lesions = siim
    for path in (root / "dicom-images-train").rglob("*.dcm"):
        if path.stem not in lesions:
            continue
        pixels, case = pydicom.dcmread(path).pixel_array, cases[name_of[path.stem]]
        image, truth = nib.load(case.image), nib.load(case.truth)
        assert np.array_equal(image.get_fdata()[..., 0].T, pixels)
        assert np.array_equal(truth.get_fdata()[..., 0].T, pixels > 4000)
        assert np.array_equal(lesions[path.stem], pixels > 4000)
        assert np.allclose(image.affine, truth.affine)
        assert np.asarray(truth.dataobj).dtype == np.uint8
    positives = {name for name, lesion in lesions.items() if lesion.any()}
    assert positives == {uid(0), uid(1)}


def test_siim_acr_what_does_not_fit_is_listed(siim):
    root, report, cases, name_of, _ = siim
    assert cases[name_of[uid(4)]].truth is None
    ((name, reason),) = report.truth_problems
    assert reason == "its run-length code reaches past the image of 40 x 48 pixels"
    assert uid(4) not in name
    assert report.rows_without_file == ["line 11"]
    written = json.loads((root / "out" / "prepare.json").read_text())
    assert written["truth_problems"] == [{"file": name, "reason": reason}]
    assert written["rows_without_file"] == ["line 11"]
    assert f"1 case without a usable mask: {name} ({reason})." in report.lines()


def test_siim_acr_nothing_names_a_film(siim, files_of):
    root = siim[0]
    for name, content in files_of(root / "out").items():
        content = gzip.decompress(content) if name.endswith(".gz") else content
        for word in ("1.2.276", "Qpatient", "Doe", str(tempfile.gettempdir())):
            assert word not in name
            assert word.encode() not in content, name


def test_siim_acr_again_writes_the_same(siim, tmp_path, files_of):
    """Masks come from another temporary folder, and their bytes from the codes alone."""
    root = siim[0]
    before = files_of(root / "out" / "truth")
    prepare_format("siim-acr", root / "dicom-images-train", root / "train-rle.csv", root / "out", preprocessing=GRID)
    after = files_of(root / "out" / "truth")
    images = [name for name in before if name.endswith(".nii.gz")]
    assert len(images) == 6
    assert [after[name] for name in images] == [before[name] for name in images]


def test_names_are_kept_on_request_and_the_masks_stay(tmp_path, scratch):
    write_siim_acr(tmp_path, films=4)
    prepare_format(
        *("siim-acr", tmp_path / "dicom-images-train", tmp_path / "train-rle.csv", tmp_path / "out"),
        keep_names=True,
        preprocessing=GRID,
    )
    truths = {case.case: case.truth for case in PreparedDataset.read(tmp_path / "out").cases()}
    assert sorted(truths) == [uid(number) for number in range(4)]
    assert all(truth.is_file() and truth.is_relative_to(tmp_path / "out") for truth in truths.values())
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("pictures", [False, True])
def test_again_into_a_folder_among_the_films(tmp_path, pictures):
    """With names kept the prepared images are called as the films, and must not be taken for them."""
    write_siim_acr(tmp_path, films=4)
    images = tmp_path / "dicom-images-train"
    for path in list(images.rglob("*.dcm")) if pictures else ():
        Image.fromarray((pydicom.dcmread(path).pixel_array >> 4).astype(np.uint8)).save(path.with_suffix(".png"))
        path.unlink()
    for _ in range(2):
        report = prepare_format(
            *("siim-acr", images, tmp_path / "train-rle.csv", images / "prepared"), keep_names=True, preprocessing=GRID
        )
        assert report.truth_problems == []
        assert sum(report.cases.values()) == 4


@pytest.mark.parametrize("broken", [False, True])
def test_the_temporary_folder_is_removed(tmp_path, scratch, monkeypatch, broken):
    write_siim_acr(tmp_path, films=3)
    seen = []

    def prepare(images, labels, out, masks, **options):
        seen.extend([labels.is_file(), len(list(masks.rglob("*.png"))), len(list(scratch.iterdir()))])
        if broken:
            raise InputError(f"{labels}: column 'pneumothorax' is not to its liking")
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_formats, "prepare", prepare)
    table = tmp_path / "train-rle.csv"
    with pytest.raises(InputError if broken else KeyboardInterrupt) as error:
        prepare_format("siim-acr", tmp_path / "dicom-images-train", table, tmp_path / "out")
    if broken:  # names the user's table, not ours
        assert str(error.value) == f"{table}: column 'pneumothorax' is not to its liking"
    assert seen == [True, 3, 1]
    assert list(scratch.iterdir()) == []


def test_voc_brings_its_own_labels_and_split(tmp_path, scratch):
    root = write_voc(tmp_path)
    report = prepare_format("voc", tmp_path, None, tmp_path / "out", preprocessing=GRID)
    assert report.labels[:2] == ("aeroplane", "bicycle")
    assert report.split_by == "column split"
    assert report.cases == {"training": 2, "validation": 1, "test": 2}
    assert list(scratch.iterdir()) == []
    with pytest.raises(InputError, match=r"t\.csv: --format voc takes the labels from Annotations/"):
        prepare_format("voc", root, tmp_path / "t.csv", tmp_path / "out")


def test_coco_labels_split_colour_and_masks(tmp_path, scratch):
    """A picture of test2014 is in no file, one is grey, one has a segmentation that cannot be read."""
    grey, broken = list(TRAIN)[1], list(TRAIN)[2]
    root = write_coco(tmp_path / "coco", grey=[grey])
    content = coco_json(TRAIN)
    id_ = next(image["id"] for image in content["images"] if image["file_name"] == broken)
    for annotation in content["annotations"]:
        if annotation["image_id"] == id_:
            annotation["segmentation"] = "none"
    write_annotations(root, "train", content)
    (root / "test2014").mkdir()
    Image.new("RGB", (40, 30)).save(root / "test2014" / "COCO_test2014_000000000001.jpg")
    grid = GridPreprocessing(pixel_spacing=None, size=(32, 32), channels=3)
    report = prepare_format("coco", root, None, root / "out", keep_names=True, preprocessing=grid)
    assert report.complete and report.labels == tuple(CATEGORIES.values())
    assert report.split_by == "column split"
    assert report.cases == {"training": 7, "validation": 1, "test": 3}
    assert report.files_without_row == ["test2014/COCO_test2014_000000000001.jpg"]
    reason = "a segmentation is neither polygons nor a run-length code"
    assert report.truth_problems == [(f"train2014/{broken}", reason)]
    assert list(scratch.iterdir()) == []

    cases = {case.case: case for case in PreparedDataset.read(root / "out").cases()}
    for at, (name, boxes) in [*enumerate(TRAIN.items()), *enumerate(VAL.items())]:
        case = cases.pop(Path(name).stem)
        assert case.classes == tuple(float(id_ in {box[0] for box in boxes}) for id_ in CATEGORIES)
        channels = np.load(cache_folder(root / "out", grid.parameters) / f"{case.case}.npy")
        assert channels.shape == (1, 3, 32, 32)
        assert np.array_equal(channels[:, 0], channels[:, 2]) == (name == grey or not boxes)
        if name != broken:
            mask = np.asarray(nib.load(case.truth).dataobj)
            assert mask.dtype == np.uint8 and np.array_equal(mask[..., 0].T, truth(SIZES[at % 2], boxes))
    assert not cases


@pytest.mark.parametrize(
    ("options", "split_column"),
    [({}, "split"), ({"split": (0.8, 0.1, 0.1)}, None), ({"temporal": True}, None), ({"leave_out_site": "A"}, None)],
)
def test_a_data_sets_own_split_and_colour(tmp_path, monkeypatch, options, split_column):
    """The data set's split counts unless another is asked for; colour reaches `prepare`."""
    native = prepare_formats.NativeData(
        tmp_path, tmp_path / "labels.csv", None, ("cat", "dog"), split_column="split", colour=True, notes=("Seen",)
    )
    monkeypatch.setitem(prepare_formats.FORMATS, "own", lambda input, labels, scratch: native)
    got = {}

    def prepare(images, labels, out, **options):
        got.update(options)
        return prepare_formats.PrepareReport(out)

    monkeypatch.setattr(prepare_formats, "prepare", prepare)
    report = prepare_format("own", tmp_path, None, tmp_path / "out", seed=3, **options)
    assert got.get("split_column") == split_column
    assert (got["classes"], got["masks"], got["colour"], got["seed"]) == (("cat", "dog"), None, True, 3)
    assert report.notes == ["Seen"]


@pytest.mark.parametrize(
    ("name", "labels", "options", "words"),
    [
        ("siim", "t.csv", {}, "--format siim: unknown; choose one of table, siim-acr, voc, coco"),
        ("table", None, {}, "--labels: give the table of labels"),
        ("siim-acr", None, {}, "--format siim-acr: give the data set's table of run-length codes"),
        ("siim-acr", "t.csv", {"classes": ["a"]}, "--classes: is fixed by --format siim-acr; leave it out"),
        ("siim-acr", "t.csv", {"masks": Path("m")}, "--masks: is fixed by --format siim-acr"),
        ("siim-acr", "t.csv", {"slice_key": "0-based"}, "--slice-key: is fixed by --format siim-acr"),
        ("siim-acr", "t.csv", {"split_column": "s"}, "--split-column: is fixed by --format siim-acr"),
        ("siim-acr", "t.csv", {"group_column": "g"}, "--group-column: is fixed by --format siim-acr"),
        ("siim-acr", "t.csv", {}, "t.csv: labels table not found"),
        ("coco", "t.csv", {}, "t.csv: --format coco takes the labels from annotations/; leave --labels out"),
        ("coco", None, {"masks": Path("m")}, "--masks: is fixed by --format coco"),
        ("coco", None, {}, "no annotations/instances_train*.json in it"),
    ],
)
def test_what_is_refused(tmp_path, scratch, name, labels, options, words):
    with pytest.raises(InputError) as error:
        prepare_format(name, tmp_path, labels, tmp_path / "out", **options)
    assert words in str(error.value)
    assert not (tmp_path / "out").exists()
    assert list(scratch.iterdir()) == []


def test_the_table_format_is_prepare_itself(tmp_path, write_study):
    study = write_study(tmp_path / "study")
    options = {"keep_names": True, "preprocessing": GridPreprocessing(pixel_spacing=4.0, size=(32, 32))}
    report = prepare_format("table", study / "images", study / "labels.csv", tmp_path / "out", **options)
    assert sum(report.cases.values()) == 9
    assert (tmp_path / "out" / "dataset.json").is_file()
