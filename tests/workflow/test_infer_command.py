"""Inference on any volumes, good and bad ones together."""

import csv
import gzip
import shutil
import stat
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_wsss.data import Case, PreparedDataset, Pseudonyms, input_error
from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.phantoms.dicom_files import write_series
from monai_wsss.errors import InputError
from monai_wsss.workflow import inference_items
from monai_wsss.workflow.evaluation import evaluate
from monai_wsss.workflow.infer_command import infer

AXIAL = np.diag([-4.0, -4.0, 6.0, 1.0])  # mm

# Third axis left-right, turned by 20 degrees about the first, with an origin: nothing is a multiple of anything.
TURN = np.deg2rad(20)
SAGITTAL = np.array(
    [
        [0.0, 0.0, 5.0, -31.7],
        [-4.1 * np.cos(TURN), 3.9 * np.sin(TURN), 0.0, 12.3],
        [4.1 * np.sin(TURN), 3.9 * np.cos(TURN), 0.0, -7.9],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def head(shape, seed=0):
    volume = np.zeros(shape, np.float32)
    volume[3:-3, 4:-4] = np.random.default_rng(seed).uniform(80, 120, volume[3:-3, 4:-4].shape)
    volume[8:14, 8:14] += 100
    return volume


def table(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


UIDS = {"StudyInstanceUID": "1.2.826.77.1", "SeriesInstanceUID": "1.2.826.77.1.1"}


def write_dicom(folder, array, affine=AXIAL, **tags):
    tags = {"Modality": "MR", "PatientName": "DOE^JANE", "PatientID": "PID7701", "AccessionNumber": "ACC7701"} | tags
    return write_series(folder, array, affine, UIDS | tags)


@pytest.fixture(scope="module")
def open_run(whole, tmp_path_factory):
    """The run with every slice passing the classifier's gate."""
    run = shutil.copytree(whole.run, tmp_path_factory.mktemp("open") / "run")
    path = run / "bundle" / "configs" / "inference.yaml"
    text = path.read_text()
    path.write_text(text.replace("infer_gate_probability: 0.5", "infer_gate_probability: 0.0"))
    assert path.read_text() != text
    return run


@pytest.fixture(scope="module")
def mixed(open_run, write_volume, tmp_path_factory):
    """Volumes of all kinds, and what inference made of them: root, counts, progress, name -> case."""
    root = tmp_path_factory.mktemp("mixed")
    volumes = root / "in"
    write_volume(volumes / "a_good.nii.gz", head((28, 32, 4)))
    write_volume(volumes / "one_slice.nii.gz", head((28, 32, 1)))
    write_volume(volumes / "flat2d.nii", head((28, 32)))
    write_volume(volumes / "deep" / "sagittal.nii.gz", head((30, 26, 5)), SAGITTAL)
    write_dicom(volumes / "DOE" / "scan", head((28, 32, 4)))
    Image.fromarray(head((28, 32)).T.astype(np.uint8)).save(volumes / "film.png")
    good = (volumes / "a_good.nii.gz").read_bytes()
    (volumes / "b_truncated.nii.gz").write_bytes(good[: len(good) // 2])
    (volumes / "c_text.nii").write_text("this is no volume")
    write_volume(volumes / "d_nan.nii.gz", np.where(head((28, 32, 4)) > 190, np.nan, 1).astype(np.float32))
    seen = []
    mapping = root / "names.csv"
    counts = infer(
        open_run, volumes, root / "out", "cpu", mapping=mapping, progress=lambda done, total: seen.append((done, total))
    )
    names = Pseudonyms.open(root / "out.key")
    cases = {name: names.case(name) for name in ("a_good", "one_slice", "flat2d", "sagittal", "film")}
    cases["dicom"] = names.case("/".join(("PID7701", *UIDS.values(), "MR", "")))
    return SimpleNamespace(root=root, counts=counts, seen=seen, names=names, cases=cases)


SOURCES = {
    "a_good": "a_good.nii.gz",
    "one_slice": "one_slice.nii.gz",
    "flat2d": "flat2d.nii",
    "sagittal": "deep/sagittal.nii.gz",
}
GOOD = [*SOURCES, "dicom", "film"]


def test_good_ones_are_done_and_bad_ones_listed(mixed):
    assert mixed.counts == {"cases": 6, "skipped": 3}
    masks = {path.name for path in (mixed.root / "out").glob("*.nii.gz")}
    assert masks == {f"{mixed.cases[name]}.nii.gz" for name in GOOD}
    rows = {row["file"]: row["reason"] for row in table(mixed.root / "out" / "skipped.csv")}
    case, file = mixed.names.case, mixed.names.file
    assert set(rows) == {case("b_truncated"), file("c_text.nii"), case("d_nan")}  # one has no header
    assert all(reason and "\n" not in reason for reason in rows.values())
    assert "finite" in rows[case("d_nan")]
    assert [total for _, total in mixed.seen] == [9] * 6 and mixed.seen[-1][0] <= 9


def test_nothing_written_tells_a_name_or_a_place(mixed, files_of):
    words = ("good", "sagittal", "film", "trunc", "c_text", "DOE", "JANE", "7701", UIDS["StudyInstanceUID"])
    for name, content in files_of(mixed.root / "out").items():
        content = gzip.decompress(content) if name.endswith(".gz") else content
        for word in (*words, str(mixed.root)):
            assert word.encode().lower() not in name.encode().lower() + content.lower(), (name, word)
    assert stat.S_IMODE((mixed.root / "out.key").stat().st_mode) == 0o600


def test_the_mapping_table_tells_it_all_to_its_owner(mixed):
    path = mixed.root / "names.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = {row["case"]: row for row in table(path)}
    assert len(rows) == 9
    dicom = rows[mixed.cases["dicom"]]
    assert (dicom["patient"], dicom["patient_id"]) == (mixed.names.patient("PID7701"), "PID7701")
    assert (dicom["study_uid"], dicom["series_uid"], dicom["accession"]) == (*UIDS.values(), "ACC7701")
    assert dicom["status"] == "done" and dicom["path"].startswith(str(mixed.root / "in" / "DOE"))
    assert "finite" in rows[mixed.names.case("d_nan")]["status"]
    assert rows[mixed.names.file("c_text.nii")]["path"] == str(mixed.root / "in" / "c_text.nii")


@pytest.mark.parametrize("name", SOURCES)
def test_masks_lie_where_their_source_lies(mixed, name):
    source = nib.load(mixed.root / "in" / SOURCES[name])
    mask = nib.load(mixed.root / "out" / f"{mixed.cases[name]}.nii.gz")
    assert mask.shape == source.shape and mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, source.affine)
    assert np.isin(np.asarray(mask.dataobj), (0, 1)).all()
    for form in ("sform_code", "qform_code"):
        assert int(mask.header[form]) == int(source.header[form])


def test_the_mask_of_a_series_is_that_of_the_same_volume_as_nifti(mixed):
    """Same voxels, same affine: a_good was written from the same array."""
    dicom, nifti = (nib.load(mixed.root / "out" / f"{mixed.cases[name]}.nii.gz") for name in ("dicom", "a_good"))
    found = nib.as_closest_canonical(dicom)
    np.testing.assert_allclose(found.affine, nib.as_closest_canonical(nifti).affine, atol=1e-4)
    differ = np.asarray(found.dataobj) != np.asarray(nib.as_closest_canonical(nifti).dataobj)
    assert np.asarray(nifti.dataobj).any() and differ.mean() < 0.02  # DICOM rounds to whole numbers


def test_statistics_are_those_of_the_masks(mixed):
    rows = {row["case"]: row for row in table(mixed.root / "out" / "statistics.csv")}
    slices = table(mixed.root / "out" / "slices.csv")
    assert set(rows) == set(mixed.cases.values())
    for case, row in rows.items():
        mask = nib.load(mixed.root / "out" / f"{case}.nii.gz")
        array = np.asarray(mask.dataobj).reshape(*mask.shape[:2], -1)
        assert int(row["voxels"]) == (array == 1).sum()
        if case == mixed.cases["film"]:
            assert row["ml"] == ""  # a picture has no size
        else:
            ml = (array == 1).sum() * abs(np.linalg.det(mask.affine[:3, :3])) / 1000
            assert float(row["ml"]) == pytest.approx(ml, abs=6e-4)
        own = [r for r in slices if r["case"] == case]
        assert [int(r["slice"]) for r in own] == list(range(array.shape[2]))
        assert [int(r["voxels"]) for r in own] == (array == 1).sum(axis=(0, 1)).tolist()
        assert max(float(r["probability"]) for r in own) == pytest.approx(float(row["probability"]))
        assert all(0 <= float(r["probability"]) <= 1 for r in own)
    assert sum(int(row["voxels"]) for row in rows.values()) > 0  # else the test says nothing


def test_kept_names_and_a_mask_that_does_not_depend_on_the_volumes_beside_it(mixed, open_run):
    infer(open_run, mixed.root / "in" / "deep" / "sagittal.nii.gz", mixed.root / "alone", "cpu", keep_names=True)
    alone = nib.load(mixed.root / "alone" / "sagittal.nii.gz")
    together = nib.load(mixed.root / "out" / f"{mixed.cases['sagittal']}.nii.gz")
    assert np.array_equal(np.asarray(alone.dataobj), np.asarray(together.dataobj))
    assert [row["case"] for row in table(mixed.root / "alone" / "statistics.csv")] == ["sagittal"]
    assert not (mixed.root / "alone.key").exists()


def test_names_by_the_key_of_a_prepared_folder(whole, tmp_path):
    """A patient of the training set has the same name there and in new predictions."""
    source, data = whole.study / "images" / "HOSP000.nii.gz", tmp_path / "data"
    case = Pseudonyms.open(data / "key").case("HOSP000")
    PreparedDataset(("lesion",), training=(Case(data / "i.nii.gz", case, "p", (1,)),)).write(data)
    infer(whole.run, source, tmp_path / "out", "cpu", data=data)
    assert [stem_of(mask) for mask in (tmp_path / "out").glob("*.nii.gz")] == [case]
    assert not (tmp_path / "out.key").exists()
    infer(whole.run, source, tmp_path / "kept", "cpu", data=whole.data)  # prepared with names kept
    assert (tmp_path / "kept" / "HOSP000.nii.gz").exists()
    (data / "key").unlink()
    with pytest.raises(InputError, match="put the key back"):
        infer(whole.run, source, tmp_path / "out2", "cpu", data=data)
    assert not (tmp_path / "out2").exists()


def test_a_prepared_folder_gives_its_test_split_as_the_pipeline_does(whole, tmp_path, files_of):
    assert infer(whole.run, whole.data, tmp_path / "out", "cpu") == {"cases": 2, "skipped": 0}
    expected = files_of(whole.run / "predictions")
    cases = {case.case for case in PreparedDataset.read(whole.data).test}
    assert {f"{case}.nii.gz" for case in cases} < set(expected) and len(cases) == 2
    for name, content in files_of(tmp_path / "out").items():
        if name.endswith(".csv"):
            assert content == expected[name]
        else:
            one, two = (nib.load(folder / name) for folder in (tmp_path / "out", whole.run / "predictions"))
            assert np.array_equal(np.asarray(one.dataobj), np.asarray(two.dataobj))
    assert not (tmp_path / "out.key").exists()  # its names are hashes already
    with pytest.raises(InputError, match="prepare --mapping"):
        infer(whole.run, whole.data, tmp_path / "out", "cpu", mapping=tmp_path / "names.csv")


@pytest.fixture
def two_series(tmp_path):
    """One study with a FLAIR and a T1 series, another with a FLAIR alone."""
    for study, descriptions in (("1", ("FLAIR", "T1")), ("2", ("FLAIR",))):
        for number, description in enumerate(descriptions, start=1):
            uids = {"StudyInstanceUID": f"1.2.9.{study}", "SeriesInstanceUID": f"1.2.9.{study}.{number}"}
            tags = {"SeriesDescription": description, "SeriesNumber": number, "PatientID": study} | uids
            write_dicom(tmp_path / "in" / study / str(number), head((28, 32, 3), number), **tags)
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("series", "cases"),
    [("SeriesDescription~flair", 2), ("SeriesDescription=T1", 1), ("all", 3), (None, 0), ("slices=9", 0)],
)
def test_a_rule_chooses_among_series(whole, two_series, tmp_path, series, cases):
    if cases:
        assert infer(whole.run, two_series, tmp_path / "out", "cpu", series=series) == {"cases": cases, "skipped": 0}
        assert len(list((tmp_path / "out").glob("*.nii.gz"))) == cases
        return
    with pytest.raises((InputError, RuntimeError)) as raised:
        infer(whole.run, two_series, tmp_path / "out", "cpu", series=series)
    message = str(input_error(raised.value))
    assert ("no series fits" if series else "1 of 2 studies hold several") in message
    assert "FLAIR" in message and "T1" in message and "\n" not in message  # what there is to choose from
    assert "DOE" not in message and "1.2.9" not in message
    assert not (tmp_path / "out.key").exists()


def test_a_config_alone_hashes_names_too(whole, two_series, tmp_path):
    """As `python -m monai.bundle run inference.yaml --dataset_dir FOLDER` calls it."""
    items = inference_items(str(two_series), str(tmp_path / "masks"), series="all")
    names = Pseudonyms.open(tmp_path / "masks.key")
    expected = {names.case(f"{n[0]}/1.2.9.{n[0]}/1.2.9.{n}/MR/") for n in ("1.1", "1.2", "2.1")}
    assert {item["case"] for item in items} == expected
    with pytest.raises(InputError, match="no key for the names"):
        inference_items(str(two_series), series="all")


def test_a_closed_gate_leaves_nothing(open_run, mixed, tmp_path):
    run = shutil.copytree(open_run, tmp_path / "run")
    path = run / "bundle" / "configs" / "inference.yaml"
    path.write_text(path.read_text().replace("infer_gate_probability: 0.0", "infer_gate_probability: 1.1"))
    infer(run, mixed.root / "in" / "a_good.nii.gz", tmp_path / "out", "cpu")
    (row,) = table(tmp_path / "out" / "statistics.csv")
    assert (row["voxels"], row["components"], row["ml"]) == ("0", "0", "0.000") and row["probability"]


def test_only_bad_volumes_give_empty_tables(whole, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("x.nii", "y.nii.gz"):
        (tmp_path / "in" / name).write_bytes(b"nothing")
    assert infer(whole.run, tmp_path / "in", tmp_path / "out", "cpu") == {"cases": 0, "skipped": 2}
    assert len(table(tmp_path / "out" / "skipped.csv")) == 2 and table(tmp_path / "out" / "statistics.csv") == []


@pytest.mark.parametrize("wrong", ["source", "volumes", "empty", "weights"])
def test_what_is_not_there_is_said_in_one_line(whole, tmp_path, wrong):
    source, volumes = whole.run, whole.study / "images"
    if wrong == "source":
        source, message = tmp_path, "neither a run folder nor a bundle"
    elif wrong == "volumes":
        volumes, message = tmp_path / "none", "no such file or folder"
    elif wrong == "empty":
        (tmp_path / "empty").mkdir()
        volumes, message = tmp_path / "empty", "no NIfTI file"
    else:
        source, message = shutil.copytree(whole.run, tmp_path / "run"), "no such weights; train first"
        (source / "segmenter" / "model.pt").unlink()
    with pytest.raises((InputError, RuntimeError)) as raised:
        infer(source, volumes, tmp_path / "out", "cpu")
    assert message in str(input_error(raised.value))


@pytest.mark.parametrize("names", ["key beside the masks", "key of a prepared folder", "clear"])
@pytest.mark.parametrize("truth", [UIDS["SeriesInstanceUID"], "ACC7701", "scans"])
def test_true_masks_of_new_series_are_found_by_their_own_names(open_run, tmp_path, names, truth):
    """Truths are named by the series, the accession number, or the folder of the series."""
    write_dicom(tmp_path / "new" / "scans", head((24, 28, 3)))
    data = None
    if names == "key of a prepared folder":
        data = tmp_path / "data"
        known = Pseudonyms.open(data / "key").case("another")
        PreparedDataset(("lesion",), training=(Case(data / "i.nii.gz", known, "p", (1,)),)).write(data)
    infer(open_run, tmp_path / "new", tmp_path / "masks", "cpu", data=data, keep_names=names == "clear")
    (predicted,) = (tmp_path / "masks").glob("*.nii.gz")
    (tmp_path / "truth").mkdir()
    shutil.copy(predicted, tmp_path / "truth" / f"{truth}.nii.gz")
    scores = evaluate(tmp_path / "masks", tmp_path / "truth", None, data=data)
    assert scores["counts"]["cases"] == 1 and not scores["missing"] and not scores["unmatched"]
    if names != "clear":
        written = (tmp_path / "masks" / "aliases.csv").read_text()
        assert truth not in written and "PID7701" not in written
