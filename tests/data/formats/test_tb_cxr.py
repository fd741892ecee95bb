"""Montgomery and Shenzhen: films, labels, patients and outlines, and all the way through `prepare`."""

import csv
import gzip
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from tb_cxr_files import MONTGOMERY, READINGS, SHENZHEN, draw, write_film, write_outlines, write_tb_cxr

from monai_wsss.data import PreparedDataset
from monai_wsss.data.formats import FORMATS
from monai_wsss.data.formats.tb_cxr import read_tb_cxr
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.prepare_formats import prepare_format

CONTRADICTED = "CHNCXR_0331_1"
GRID = GridPreprocessing(pixel_spacing=None, size=(32, 32))


@pytest.fixture
def read(tmp_path):
    def call(folder=tmp_path / "data"):
        (tmp_path / "scratch").mkdir(exist_ok=True)
        return read_tb_cxr(folder, None, tmp_path / "scratch")

    return call


def prepare(input, out, **options):
    """The folder prepared, and film -> case."""
    names = out.with_name("names.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FORMATS, "tb-cxr", read_tb_cxr)
        report = prepare_format("tb-cxr", input, None, out, preprocessing=GRID, mapping=names, **options)
    with names.open() as stream:
        film_of = {row["case"]: Path(row["path"]).stem for row in csv.DictReader(stream) if row["patient"]}
    return report, {film_of[case.case]: case for case in PreparedDataset.read(out).cases()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Both sites, one reading contradicted: report, film -> case, film -> lesion."""
    root = tmp_path_factory.mktemp("tb")
    lesions = write_tb_cxr(root / "data", outlines=True)
    (root / "data" / "ChinaSet_AllFiles" / "ClinicalReadings" / f"{CONTRADICTED}.txt").write_text("male 3yrs\nnormal")
    return *prepare(root / "data", root / "out", leave_out_site="montgomery"), lesions


def rows_of(native):
    with native.labels.open() as stream:
        return [(Path(row["file"]).stem, *list(row.values())[1:]) for row in csv.DictReader(stream)]


def test_name_site_and_patient_of_each_film(tmp_path, read):
    write_tb_cxr(tmp_path / "data")
    native = read()
    assert (native.classes, native.split_column, native.colour, native.masks) == (("tuberculosis",), None, False, None)
    person = dict.fromkeys(["MCUCXR_0162_1", "MCUCXR_0166_1"], "montgomery 0162")
    sites = dict.fromkeys(MONTGOMERY, "montgomery") | dict.fromkeys(SHENZHEN, "shenzhen")
    assert rows_of(native) == [
        (name, person.get(name, f"{sites[name]} {name[7:11]}"), sites[name], name[-1]) for name in sorted(READINGS)
    ]
    assert native.notes == (
        "1 of 16 clinical readings say neither normal nor abnormal: the film's name counts",
        "20 pictures are masks of lungs or further annotations, no films and no lesions: left out",  # 4 x 2 and 12
        "No lesions are outlined at site montgomery: masks of it cannot be scored",
        "No lesions are outlined at site shenzhen: masks of it cannot be scored",
    )


@pytest.mark.parametrize(
    ("reading", "says"),
    [
        ("male 45yrs\nnormal", "0"),
        ("Patient's Sex: F \r\nPatient's Age: 027Y\r\nNormal.\r\n", "0"),
        ("Patient\u2019s Sex: F\nPatient\u2019s Age: 027Y\nnormal", "0"),
        ("Female, 28yrs normal", "0"),
        ("femal 64 days\nnormale", "0"),
        ("normal 2 views", None),  # no age of a "mal"
        ("male 30yrs\nbilateral PTB", "1"),
        ("male 42 multiple nodules", "1"),  # "m" is no month
        ("Patient's Sex: \nPatient's Age: \nabnormal", "1"),
        ("male 30yrs\nheart normal, infiltrate on the left", None),
        ("male 30yrs\nno active disease", None),
        ("Patient's Sex: M\nPatient's Age: 049Y\nNO REPORT (same pt as MCUCXR_0162_1)", None),
        ("male 30yrs\n", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("label", "01")
def test_a_reading_that_says_the_contrary(tmp_path, read, reading, says, label):
    name = f"CHNCXR_0009_{label}"
    write_film(tmp_path / "data" / "CXR_png", name)
    (tmp_path / "data" / f"{name}.txt").write_text(reading, encoding="utf-8")
    native = read()
    assert [row[-1] for row in rows_of(native)] == sorted({label, says or label})
    contrary = "1 of 1 clinical readings contradict the film's name: label unknown"
    assert (contrary in native.notes) == (says not in (None, label))


def test_readings_that_are_missing_unreadable_or_of_another_film(tmp_path, read):
    for name in ("CHNCXR_0001_0", "CHNCXR_0002_0", "CHNCXR_0003_0"):
        write_film(tmp_path / "data", name)
    (tmp_path / "data" / "CHNCXR_0001_0.txt").write_bytes(b"male 45yrs\nPTB\xe9\xff")
    (tmp_path / "data" / "CHNCXR_0002_0.txt").mkdir()
    (tmp_path / "data" / "CHNCXR_0003_1.txt").write_text("male 45yrs\nPTB")
    native = read()
    assert [row[-1] for row in rows_of(native)] == ["0", "1", "0", "0"]
    assert native.notes[0] == "Clinical readings (ClinicalReadings/) are missing for 2 of 3 films"


def test_what_is_no_film(tmp_path, read):
    """Masks of lungs in their folders or by their names, other pictures, copies deeper down, hidden files."""
    data = tmp_path / "data"
    write_film(data / "CXR_png", "MCUCXR_0001_0")
    for folder in ("CXR_png/small", "masks", "Lung Masks/left", "Annotations-2/masks", ".old"):
        write_film(data / folder, "MCUCXR_0001_0")
    for name in ("MCUCXR_0001_0_mask", "MCUCXR_0002_2", "CHNCXR_0003", "XCHNCXR_0004_1", "montgomery"):
        (data / "CXR_png" / f"{name}.png").write_bytes((data / "masks" / "MCUCXR_0001_0.png").read_bytes())
    native = read()
    assert native.images == data / "CXR_png"
    assert rows_of(native) == [("MCUCXR_0001_0", "montgomery 0001", "montgomery", "0")]
    assert "4 pictures are masks of lungs or further annotations, no films and no lesions: left out" in native.notes
    assert "1 further copies of films left out" in native.notes


def test_outlines_become_masks_of_their_site(tmp_path, read):
    lesions = write_tb_cxr(tmp_path / "data", outlines=True)
    native = read()
    masks = {path.stem: np.asarray(Image.open(path)) for path in native.masks.iterdir()}
    assert set(masks) == {name for name in SHENZHEN if name != "CHNCXR_0332_1"}  # none of Montgomery
    for name, mask in masks.items():
        assert np.array_equal(mask, lesions.get(name, np.zeros((36, 36))))
    assert all(lesion.any() for lesion in lesions.values())
    ((file, reason),) = native.mask_problems
    assert (Path(file).stem, reason) == ("CHNCXR_0332_1", "no lesion is outlined for it")


def test_outlines_that_cannot_be_used(tmp_path, read):
    data = tmp_path / "data"
    names = ["CHNCXR_0001_0", "CHNCXR_0002_0", "CHNCXR_0327_1", "CHNCXR_0328_1"]
    write_tb_cxr(data, names)
    (data / "ChinaSet_AllFiles" / "ClinicalReadings" / "CHNCXR_0001_0.txt").write_text("male 45yrs\nPTB")
    outlines = data / "ChinaSet_AllFiles" / "Annotations" / "masks"
    write_outlines(outlines, "CHNCXR_0327_1", np.ones((36, 35), bool))
    write_outlines(outlines, "CHNCXR_0328_1", np.ones((36, 36), bool))
    (outlines / "CHNCXR_0328_1_Cavity_1.png").write_bytes(b"no picture")
    native = read()
    assert [(Path(file).stem, reason) for file, reason in native.mask_problems] == [
        ("CHNCXR_0001_0", "no lesion is outlined for it"),  # its label is unknown
        ("CHNCXR_0327_1", "an outline is of another size than the film"),
        ("CHNCXR_0328_1", "the film or an outline of it cannot be read"),
    ]
    assert [path.stem for path in native.masks.iterdir()] == ["CHNCXR_0002_0"]


@pytest.mark.parametrize(
    ("folder", "labels", "words"),
    [
        ("data", "t.csv", "t.csv: --format tb-cxr takes the labels from the films' names; leave --labels out"),
        ("none", None, "none: no such folder; give the folder that holds MontgomerySet or ChinaSet_AllFiles"),
        ("data", None, "data: no film MCUCXR_0001_0.png or CHNCXR_0001_0.png in it; unpack the data set there"),
    ],
)
def test_what_is_refused(tmp_path, folder, labels, words):
    write_film(tmp_path / "data" / "ManualMask" / "leftMask", "MCUCXR_0001_0")
    with pytest.raises(InputError) as error:
        read_tb_cxr(tmp_path / folder, labels and tmp_path / labels, tmp_path)
    assert str(error.value) == f"{tmp_path}/{words}"


def test_prepared_with_a_site_left_out(prepared):
    """Test films are Montgomery's and no other; two of one patient."""
    report, cases, _ = prepared
    assert report.complete and report.labels == ("tuberculosis",)
    assert report.split_by.startswith("site, ") and report.split_by.endswith(" left out")
    dataset = PreparedDataset.read(report.out)
    name_of = {case.case: name for name, case in cases.items()}
    assert {name_of[case.case] for case in dataset.test} == set(MONTGOMERY)
    assert {name_of[case.case] for case in dataset.training + dataset.validation} == set(SHENZHEN)
    assert len({case.site for case in dataset.test}) == 1
    assert report.patients["test"] == 3
    assert cases["MCUCXR_0162_1"].patient == cases["MCUCXR_0166_1"].patient


def test_prepared_labels(prepared):
    report, cases, _ = prepared
    labels = {name: int(name[-1]) for name in READINGS} | {CONTRADICTED: -1}
    assert {name: case.classes for name, case in cases.items()} == {name: (labels[name],) for name in READINGS}
    assert len(report.contradictions) == 1
    assert "1 of 16 clinical readings contradict the film's name: label unknown" in report.notes


def test_prepared_images_and_masks(prepared):
    """Pixels are the films' and the lesions'; masks of lungs are nowhere."""
    report, cases, lesions = prepared
    for name, case in cases.items():
        assert np.array_equal(nib.load(case.image).get_fdata()[..., 0].T, draw(name)[0])
        if name.startswith("MCU") or name == "CHNCXR_0332_1":
            assert case.truth is None
        else:
            mask = nib.load(case.truth).get_fdata()[..., 0].T
            assert np.array_equal(mask, lesions.get(name, np.zeros_like(mask)))
    reasons = sorted(problem.reason for problem in report.truth_problems)
    assert reasons == ["no lesion is outlined for it", *["no masks for it"] * 4]


def test_prepared_folder_names_no_film(prepared, files_of):
    for name, content in files_of(prepared[0].out).items():
        content = gzip.decompress(content) if name.endswith(".gz") else content
        for word in ("CUCXR_", "HNCXR_", "PTB", str(tempfile.gettempdir())):
            assert word not in name
            assert word.encode() not in content, name


def test_a_site_that_is_not_there(tmp_path):
    write_tb_cxr(tmp_path / "data")
    with pytest.raises(InputError, match="no case is from site 'belarus'; choose one of: montgomery, shenzhen"):
        prepare(tmp_path / "data", tmp_path / "out", leave_out_site="belarus")


def test_prepared_again_into_its_own_folder_with_names(tmp_path):
    """Prepared images are called as the films, and are not taken for them."""
    write_tb_cxr(tmp_path, MONTGOMERY)
    for _ in range(2):
        report, cases = prepare(tmp_path / "MontgomerySet", tmp_path / "MontgomerySet" / "out", keep_names=True)
        assert report.files_without_row == []  # masks of lungs lie beside the folder that is searched
        assert {name: case.case for name, case in cases.items()} == {name: name for name in MONTGOMERY}
        assert {case.site for case in cases.values()} == {"montgomery"}
        assert all(case.truth is None for case in cases.values())
