"""`prepare` called again: with other rows, other options, after a patient withdrew, beside the user's own files."""

import numpy as np
import pytest
from mr_export import AFFINE, few, head, patient_tags

from monai_wsss.data import PreparedDataset
from monai_wsss.data.phantoms.dicom_files import write_series
from monai_wsss.errors import InputError
from monai_wsss.workflow.forget import forget


def lines_of(path):
    return path.read_text().splitlines()


def test_one_series_uid_for_many_patients_still_makes_many_cases(tmp_path):
    run = few(tmp_path, 4, SeriesInstanceUID=lambda i: "1.2.9", StudyInstanceUID=lambda i: "1.3.9")
    (tmp_path / "labels.csv").write_text("PatientID,lesion\nP0,0\nP1,1\nP2,0\nP3,1\n")
    run()
    cases = PreparedDataset.read(tmp_path / "out").cases()
    assert len({case.case for case in cases}) == len({case.patient for case in cases}) == 4
    assert sorted(case.classes[0] for case in cases) == [0, 0, 1, 1]


def test_what_is_no_case_any_more_leaves_the_folder(tmp_path, files_of):
    run = few(tmp_path)
    run()
    table = tmp_path / "labels.csv"
    table.write_text("\n".join([*lines_of(table)[:-1], ""]))  # the last patient goes
    run()
    names = {case.case for case in PreparedDataset.read(tmp_path / "out").cases()}
    assert len(names) == 5
    for folder in (tmp_path / "out" / "images", *(tmp_path / "out" / "cache").iterdir()):
        assert {path.name.split(".")[0] for path in folder.iterdir()} - {"preprocessing"} == names
    run(keep_names=True)
    clear = {case.case for case in PreparedDataset.read(tmp_path / "out").cases()}
    assert {path.name.removesuffix(".nii.gz") for path in (tmp_path / "out" / "images").glob("*.nii.gz")} == clear


def test_a_call_that_is_refused_leaves_the_folder_as_it_was(tmp_path, files_of):
    run = few(tmp_path)
    run()
    before = files_of(tmp_path / "out")
    for options in ({"leave_out_site": "nroth"}, {"voi": True, "leave_out_site": "nroth"}):
        with pytest.raises(InputError, match="nroth"):
            run(**options)
    assert files_of(tmp_path / "out") == before


def test_another_way_of_reading_never_stands_beside_the_old_data_set(tmp_path, monkeypatch):
    run = few(tmp_path)
    run()

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("monai_wsss.workflow.prepare.import_volumes", stop)
    with pytest.raises(KeyboardInterrupt):
        run(voi=True)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_a_split_by_a_row_whose_image_is_lost(tmp_path):
    run = few(tmp_path)
    rows = lines_of(tmp_path / "labels.csv")
    write_series(
        tmp_path / "in" / "flat",
        np.full((24, 20, 3), 7.0),
        AFFINE,
        patient_tags(0) | {"PatientID": "P0", "SeriesInstanceUID": "1.2.77", "StudyInstanceUID": "1.3.0"},
    )
    rows[1] = rows[1].replace(",train,", ",,")
    rows.append("1.2.77,P0,south,train,0")  # this one names the split, and is a single value throughout
    (tmp_path / "labels.csv").write_text("\n".join([*rows, ""]))
    report = run()
    assert sum(report.cases.values()) == 6 and [item.reason[:10] for item in report.skipped] == ["all voxels"]


def test_files_of_the_user_in_the_output_folder_stay(tmp_path):
    run = few(tmp_path)
    foreign = [tmp_path / "out" / name / "mine.nii.gz" for name in ("images", "truth", "cache/x")]
    foreign += [tmp_path / "out" / "images" / "notes.json", tmp_path / "out" / "cache" / "x" / "mine.npy"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    run()
    run(keep_names=True)
    assert all(path.read_text() == "{}" for path in foreign)


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (False, False)])
def test_a_withdrawn_patient_stays_away(tmp_path, before, after):
    run = few(tmp_path)
    run(keep_names=before)
    forget("P4", tmp_path / "out")
    report = run(keep_names=after)
    assert sum(report.cases.values()) == 5 and any("1 withdrawn patient left out" in line for line in report.lines())


def test_a_patient_is_forgotten_by_the_number_that_a_spreadsheet_made_of_the_id(tmp_path):
    run = few(tmp_path, PatientID=lambda i: f"00{100 + i}")
    (tmp_path / "labels.csv").write_text("\n".join(["PatientID,lesion", *(f"{100 + i},{i % 2}" for i in range(6)), ""]))
    run()
    forget("103", tmp_path / "out")
    assert len(PreparedDataset.read(tmp_path / "out").cases()) == 5


def test_volumes_that_a_row_leaves_open_are_not_said_to_have_no_row(tmp_path):
    run = few(tmp_path)
    again = patient_tags(0) | {"PatientID": "P0", "StudyInstanceUID": "1.3.0", "SeriesInstanceUID": "1.2.99"}
    write_series(tmp_path / "in" / "again", head(99), AFFINE, again)
    (tmp_path / "labels.csv").write_text("\n".join(["PatientID,lesion", *(f"P{i},{i % 2}" for i in range(6)), ""]))
    report = run(series="Modality=MR")
    assert sum(report.cases.values()) == 5 and report.ambiguous_rows == ["line 2"] and not report.files_without_row
    assert "2  several volumes of its study fit the rule" in (tmp_path / "out" / "cohort_flow.txt").read_text()
