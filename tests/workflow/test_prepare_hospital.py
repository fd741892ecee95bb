"""`prepare` on what hospitals have: DICOM exports, spreadsheets, films and pictures."""

import csv
import json
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from mr_export import AFFINE, GRID, head, patient_tags
from PIL import Image

from monai_wsss.data import PreparedDataset, read_nifti
from monai_wsss.data.phantoms.dicom_files import Storage, write_series
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import Pipeline, inference_items
from monai_wsss.workflow.bundle_config import load_config
from monai_wsss.workflow.prepare import prepare

FLAIR = "SeriesDescription~flair"
BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_mri_lesion_mixed_unet"
NIH = Path(__file__).parents[2].parent / "shared" / "data" / "cxr_nih"


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Ten patients with FLAIR and T1; a secretary's table; one row a study, and one a slice by InstanceNumber."""
    root = tmp_path_factory.mktemp("export")
    book = openpyxl.Workbook()
    book.active.append(["Accession", "sex", "age", "Tumour", "Site", "who"])
    slices = [["PatientID", "SeriesInstanceUID", "InstanceNumber", "lesion"]]
    for i in range(10):
        for number, name in enumerate(("Ax FLAIR", "Ax T1")):
            series = f"1.2.3.{i}.{number}"
            tags = patient_tags(i) | {"SeriesInstanceUID": series, "SeriesDescription": name}
            tags |= {"BurnedInAnnotation": "YES"} if i == 1 else {}
            write_series(root / "in" / f"p{i}" / f"s{number}", head(10 * i + number), AFFINE, tags)
        answer = {1: "possible", 2: None}.get(i, "ja" if i % 2 else "nein")
        book.active.append([700 + i, i % 2, 40 + i, answer, "north" if i < 3 else "south", f"twin {i // 2}"])
        slices += [[f"00{100 + i}", f"1.2.3.{i}.0", s + 1, int(s == 0 and i % 2 == 0)] for s in range(3)]
    book.save(root / "labels.xlsx")
    with (root / "slices.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(slices)
    return root


@pytest.fixture
def run(export, tmp_path):
    def run(labels="labels.xlsx", out="out", **options):
        given = {"preprocessing": GRID, "series": FLAIR} | options
        return prepare(export / "in", export / labels, tmp_path / out, **given)

    return run


def clear_names(folder, run, **options):
    """Case -> patient in clear, as --mapping tells."""
    run(mapping=folder / "names.csv", **options)
    with (folder / "names.csv").open(newline="") as file:
        return {row["case"]: row["patient_id"] for row in csv.DictReader(file)}


def test_a_study_with_two_series_and_no_rule_is_refused_with_what_there_is(run):
    with pytest.raises(InputError) as error:
        run(series=None)
    for part in ("10 rows of labels.xlsx mean several volumes each", "--series", "Ax FLAIR", "Ax T1"):
        assert part in str(error.value)
    with pytest.raises(InputError, match="no series fits the rule"):
        run(series="SeriesDescription~dwi")


def test_all_series_only_if_told(run):
    assert sum(run(series="all").cases.values()) == 20


def test_the_secretarys_table(run, tmp_path):
    report = run()
    data = PreparedDataset.read(tmp_path / "out")
    assert data.labels == ("Tumour",) and data.policy == {"blank": "mask", "uncertain": "mask"}
    assert report.class_counts["Tumour"]["cases"] == {"positive": 4, "negative": 4, "unknown": 2}
    assert sum(report.patients.values()) == 10 and report.complete
    text = "\n".join(report.lines())
    assert "sex" in text and "AccessionNumber" in report.matched_by  # zeros that Excel lost are no problem
    assert "7 volumes" not in text


@pytest.mark.parametrize(
    ("options", "doubtful", "empty"),
    [({}, -1, -1), ({"uncertain": "ones"}, 1, -1), ({"uncertain": 0.3, "blank": "zeros"}, 0.3, 0)],
)
def test_policies(run, tmp_path, options, doubtful, empty):
    patients = clear_names(tmp_path, run, **options)
    classes = {patients[case.case]: case.classes for case in PreparedDataset.read(tmp_path / "out").cases()}
    assert classes["00101"] == (doubtful,) and classes["00102"] == (empty,)
    assert classes["00100"] == (0,) and classes["00103"] == (1,)


def test_images_are_imported_where_they_lie_in_the_world(run, export, tmp_path):
    patients = clear_names(tmp_path, run)
    for case in PreparedDataset.read(tmp_path / "out").cases():
        array, affine = read_nifti(case.image)
        source = head(10 * (int(patients[case.case]) - 100))
        assert case.image == tmp_path / "out" / "images" / f"{case.case}.nii.gz"
        # every voxel of the source, found again by where it lies: AFFINE takes it to mm, the file's affine back
        back = np.linalg.inv(affine) @ AFFINE
        index = np.argwhere(source >= 0) @ back[:3, :3].T + back[:3, 3]
        assert np.array_equal(array[tuple(np.rint(index).astype(int).T)], source[source >= 0])


def test_splits_do_not_hang_on_the_key(run, tmp_path):
    names = [clear_names(tmp_path, run, out=out) for out in ("one", "two")]
    splits = []
    for patients, out in zip(names, ("one", "two"), strict=True):
        data = PreparedDataset.read(tmp_path / out)
        splits.append(
            [[patients[case.case] for case in data.cases(part)] for part in ("training", "validation", "test")]
        )
    assert splits[0] == splits[1] and not names[0].keys() & names[1].keys()


def test_how_series_were_read_is_remembered_and_inference_does_the_same(run, export, tmp_path):
    run(resample=True)
    data = PreparedDataset.read(tmp_path / "out")
    assert data.reading == {"series": FLAIR, "resample": True}
    pipeline = Pipeline(str(BUNDLE), str(tmp_path / "out"), str(tmp_path / "run"), tracking_uri="none")
    config = load_config(pipeline.freeze() / "configs" / "inference.yaml")
    assert (config["series"], config["voi"], config["resample"]) == (FLAIR, False, True)
    items = inference_items(str(export / "in"), str(tmp_path / "masks"), FLAIR, voi=True, resample=True)
    assert len(items) == 10 and all(item["image"].voi and item["image"].resample for item in items)


def test_temporal_split_tests_on_the_newest(run, tmp_path):
    patients = clear_names(tmp_path, run, temporal=True, split=(0.6, 0.2, 0.2))
    data = PreparedDataset.read(tmp_path / "out")
    assert {patients[case.case] for case in data.test} == {"00108", "00109"}
    assert {patients[case.case] for case in data.validation} == {"00106", "00107"}


def test_leave_one_site_out(run, tmp_path):
    patients = clear_names(tmp_path, run, leave_out_site="North")  # the table says north
    data = PreparedDataset.read(tmp_path / "out")
    assert {patients[case.case] for case in data.test} == {"00100", "00101", "00102"}
    with pytest.raises(InputError, match="north"):
        run(leave_out_site="nroth")


def test_a_group_column_joins_people(run, tmp_path):
    report = run(group_column="who", split=(0.6, 0.2, 0.2))
    assert sum(report.patients.values()) == 5 and sum(report.cases.values()) == 10
    data = PreparedDataset.read(tmp_path / "out")
    split_of = {case.case: part for part in ("training", "validation", "test") for case in data.cases(part)}
    by_patient = {case.patient: split_of[case.case] for case in data.cases()}
    assert all(split_of[case.case] == by_patient[case.patient] for case in data.cases())


def test_a_placeholder_in_the_headers_joins_nobody(tmp_path):
    rows = ["SeriesInstanceUID,PatientID,lesion"]
    for i in range(6):
        tags = patient_tags(i) | {
            "PatientID": "ANONYMOUS",
            "SeriesInstanceUID": f"1.2.{i}",
            "StudyInstanceUID": f"1.3.{i}",
        }
        write_series(tmp_path / "in" / f"s{i}", head(i), AFFINE, tags)
        rows.append(f"1.2.{i},P{i},{i % 2}")
    (tmp_path / "labels.csv").write_text("\n".join([*rows, ""]))
    report = prepare(tmp_path / "in", tmp_path / "labels.csv", tmp_path / "out", preprocessing=GRID)
    assert sum(report.patients.values()) == 6
    assert "name many of the table's patients alike" in "\n".join(report.lines())


def test_two_ids_of_one_person_are_one_patient_and_both_are_known(tmp_path):
    rows = ["SeriesInstanceUID,PatientID,lesion"]
    for i in range(6):
        tags = patient_tags(i) | {
            "PatientID": f"H{i // 2}",
            "SeriesInstanceUID": f"1.2.{i}",
            "StudyInstanceUID": f"1.3.{i}",
        }
        write_series(tmp_path / "in" / f"s{i}", head(i), AFFINE, tags)
        rows.append(f"1.2.{i},P{i},{i % 2}")
    (tmp_path / "labels.csv").write_text("\n".join([*rows, ""]))
    report = prepare(tmp_path / "in", tmp_path / "labels.csv", tmp_path / "out", keep_names=True, preprocessing=GRID)
    assert sum(report.patients.values()) == 3  # P0 and P1 share the header's H0, and so on
    case = next(
        case for case in PreparedDataset.read(tmp_path / "out").cases() if "1.2.1" in (*case.aliases, case.case)
    )
    assert case.patient == "P0" and {"P1", "H0"} <= set(case.aliases)


def test_slices_by_instance_number(run, tmp_path):
    report = run("slices.csv", slice_key="InstanceNumber")
    assert report.class_counts["lesion"]["slices"] == {"positive": 5, "negative": 25, "unknown": 0}
    for case in PreparedDataset.read(tmp_path / "out").cases():
        assert case.slice_classes in (((1,), (0,), (0,)), ((0,), (0,), (0,)))  # InstanceNumber 1 is the lowest slice
    assert (tmp_path / "out" / "labelled_slices.png").stat().st_size > 1000


def test_burned_in_text_is_counted_and_marked(run, tmp_path):
    report = run()
    marked = [case.case for case in PreparedDataset.read(tmp_path / "out").cases() if case.burned_in]
    assert report.burned_in == marked and len(marked) == 1
    assert "1 case may show a name in its pixels" in "\n".join(report.lines())


def test_a_second_call_decodes_nothing_and_changes_nothing(run, tmp_path, monkeypatch, files_of):
    run()
    before = files_of(tmp_path / "out")
    monkeypatch.setattr("monai_wsss.data.import_volume.read_volume", lambda *a, **k: pytest.fail("decoded again"))
    run()
    assert files_of(tmp_path / "out") == before


def test_nothing_left_is_said_in_one_line(run, export, tmp_path):
    with pytest.raises(InputError, match="no volume is left to prepare; 10 rows mean several volumes each"):
        run(series="Modality=MR")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        prepare(export / "in", export / "labels.xlsx", tmp_path / "file")


def test_the_same_picture_in_two_splits_is_named(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(10):
        picture = np.kron(rng.integers(0, 255, (8, 8)), np.ones((16, 16)))
        name = tmp_path / "in" / f"film{i}.png"
        name.parent.mkdir(exist_ok=True)
        Image.fromarray(picture.astype(np.uint8)).save(name)
        if i == 9:
            Image.fromarray(picture.astype(np.uint8)).convert("RGB").save(tmp_path / "in" / "copy.jpg", quality=80)
    rows = [f"film{i}.png,{'train' if i < 6 else 'val' if i < 8 else 'test'},{i % 2}" for i in range(10)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,split,effusion", *rows, "copy.jpg,train,1", ""]))
    report = prepare(tmp_path / "in", tmp_path / "labels.csv", tmp_path / "out", keep_names=True)
    assert report.near_duplicates == ["copy and film9, training and test"]
    data = PreparedDataset.read(tmp_path / "out")
    assert data.preprocessing["pixel_spacing"] is None  # pictures have no mm: the whole image is fitted
    assert len(data.cases()) == 11 and not report.cropped


def test_what_stands_in_the_folder(run, tmp_path):
    run()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    expected = {"dataset.json", "key", "images", "cache", "prepare.json", "cohort_flow.txt", "cohort_flow.png"}
    assert names >= expected | {"shortcuts.json", "nuisance.csv", "labelled_slices.png"}
    assert (tmp_path / "out" / "key").stat().st_mode & 0o777 == 0o600
    flow = json.loads((tmp_path / "out" / "prepare.json").read_text())["cohort_flow"]
    steps = {step["step"]: step["counts"] for step in flow["steps"]}
    assert steps["Found"] == {"files": 60} and steps["Labelled"] == {"cases": 10, "patients": 10}


@pytest.mark.parametrize(
    "options",
    [{"temporal": True, "leave_out_site": "north"}, {"blank": "perhaps"}, {"uncertain": 2}, {"series": "Colour=red"}],
)
def test_options_that_make_no_sense(run, options):
    with pytest.raises(InputError):
        run(**options)


@pytest.mark.skipif(not NIH.is_dir(), reason="shared/data/cxr_nih is not there")
def test_real_films_without_an_option(tmp_path):
    grid = GridPreprocessing(pixel_spacing=None, size=(32, 32))  # small, to save time; the default differs in size only
    report = prepare(NIH, NIH / "labels.csv", tmp_path / "out", preprocessing=grid)
    data = PreparedDataset.read(tmp_path / "out")
    assert sum(report.cases.values()) == 521 and sum(report.patients.values()) == 340 and report.complete
    assert report.class_counts["pneumonia"]["cases"] == {"positive": 273, "negative": 248, "unknown": 0}
    patients = [{case.patient for case in data.cases(part)} for part in ("training", "validation", "test")]
    assert sum(map(len, patients)) == 340
    assert any("ile size alone predicts pneumonia" in line for line in report.lines())


@pytest.mark.parametrize("inside", ["images", "truth", "cache"])
def test_what_is_read_must_not_lie_where_prepare_writes(export, tmp_path, inside):
    (tmp_path / "out" / inside / "deeper").mkdir(parents=True)
    with pytest.raises(InputError, match=f"lies in {inside}/ of the output folder"):
        prepare(export / "in", export / "labels.xlsx", tmp_path / "out", masks=tmp_path / "out" / inside / "deeper")
    with pytest.raises(InputError, match=f"lies in {inside}/ of the output folder"):
        prepare(tmp_path / "out" / inside, export / "labels.xlsx", tmp_path / "out")


def test_true_masks_among_the_images_are_refused(export, tmp_path):
    with pytest.raises(InputError, match="give a folder that holds the true masks alone"):
        prepare(export / "in", export / "labels.xlsx", tmp_path / "out", masks=export / "in")


def test_numbers_of_a_viewer_that_run_against_the_position_are_noticed(tmp_path):
    rows = ["SeriesInstanceUID,slice,lesion"]
    for i in range(6):
        tags = patient_tags(i) | {"SeriesInstanceUID": f"1.2.{i}", "StudyInstanceUID": f"1.3.{i}"}
        storage = Storage(reversed_numbers=True) if i < 2 else Storage()
        write_series(tmp_path / "in" / f"s{i}", head(i), AFFINE, tags, storage)
        rows += [f"1.2.{i},{s},{int(s == 0 and i % 2)}" for s in range(3)]
    (tmp_path / "labels.csv").write_text("\n".join([*rows, ""]))
    report = prepare(tmp_path / "in", tmp_path / "labels.csv", tmp_path / "out", preprocessing=GRID)
    assert "In 2 of 6 volumes the InstanceNumbers do not rise with the position" in "\n".join(report.lines())
