import json

import nibabel as nib
import numpy as np
import pytest

from monai_wsss.data import Case, PreparedDataset, slice_items
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing, LoadSliced
from monai_wsss.workflow.prepare import prepare

GRID = GridPreprocessing(size=(32, 32))


def volume(path, depth=3, seed=0, value=None):
    array = np.zeros((24, 20, depth), np.float32)
    array[4:20, 4:16] = np.random.default_rng(seed).uniform(100, 200, (16, 12, depth))
    if value is not None:
        array[0, 0, 0] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1.0, 5.0, 1.0])), path)


@pytest.fixture
def study(tmp_path):
    """Ten patients, one volume of 3 slices each; slice 1 of the even ones is positive."""
    lines = ["PatientID,slice,lesion"]
    for i in range(10):
        volume(tmp_path / "in" / f"P{i}.nii.gz", seed=i)
        lines += [f"P{i},{s},{int(s == 1 and i % 2 == 0)}" for s in range(3)]
    write_table(tmp_path, lines)
    return tmp_path


def write_table(folder, lines):
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def table(folder):
    return (folder / "labels.csv").read_text().splitlines()


def run(folder, **options):
    given = {"preprocessing": GRID, "keep_names": True} | options
    return prepare(folder / "in", folder / "labels.csv", folder / "out", **given)


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def text(report):
    lines = report.lines()
    assert all("\n" not in line for line in lines)
    return "\n".join(lines)


def test_dataset_cache_and_report(study, capfd):
    report = run(study)
    data = PreparedDataset.read(study / "out")
    assert data.labels == ("lesion",) and data.preprocessing == GRID.parameters
    assert report.patients == report.cases == {"training": 7, "validation": 1, "test": 2}
    assert report.complete and report.slices == 30
    assert report.class_counts == {
        "lesion": {
            "cases": {"positive": 5, "negative": 5, "unknown": 0},
            "slices": {"positive": 5, "negative": 25, "unknown": 0},
        }
    }
    case = next(case for case in data.cases() if case.case == "P2")
    source = (study / "in" / "P2.nii.gz").resolve()
    assert case == Case(source, "P2", "P2", (1,), ((0,), (1,), (0,)), aliases=("P2.nii.gz",))
    assert "Prepared 10 cases (30 slices) of 10 patients" in text(report)
    assert "Matched by PatientID; split by chance, seed 0: 7 patients (7 cases) in training" in text(report)
    assert json.loads((study / "out" / "prepare.json").read_text())["slices"] == 30
    (cache,) = (study / "out" / "cache").iterdir()
    items = LoadSliced("image")(slice_items(data.cases("training"), cache, 1)[0])
    assert items["image"].shape == (1, 32, 32)
    assert capfd.readouterr() == ("", "")


def test_patients_never_part(tmp_path):
    for i in range(20):
        volume(tmp_path / "in" / f"P{i // 4}" / f"scan{i}.nii", depth=1, seed=i)
    write_table(tmp_path, ["PatientID,lesion", *(f"P{p},{p % 2}" for p in range(5))])
    with pytest.raises(InputError, match=r"5 rows of labels\.csv mean several volumes each; choose with --series"):
        run(tmp_path, split=(0.4, 0.2, 0.4))
    run(tmp_path, split=(0.4, 0.2, 0.4), series="all")
    data = PreparedDataset.read(tmp_path / "out")
    of = {name: {case.patient for case in data.cases(name)} for name in ("training", "validation", "test")}
    assert [len(patients) for patients in of.values()] == [2, 1, 2]
    assert len(set.union(*of.values())) == 5 and len(data.cases()) == 20


def test_split_column_is_taken_unless_fractions_are_given(study):
    head, *rows = table(study)
    parts = ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    write_table(study, [f"{head},split", *(f"{row},{parts[int(row[1])]}" for row in rows)])
    assert run(study).patients == {"training": 5, "validation": 2, "test": 3}
    data = PreparedDataset.read(study / "out")
    assert [case.case for case in data.validation] == ["P5", "P6"]
    assert run(study, split=(0.7, 0.1, 0.2)).patients == {"training": 7, "validation": 1, "test": 2}
    with pytest.raises(InputError, match="not both"):
        run(study, split=(0.7, 0.1, 0.2), split_column="split")


def test_split_column_against_itself_leaves_the_patient_out(study):
    head, *rows = table(study)
    part = {row: "train" for row in rows} | {rows[0]: "test"} | {row: "" for row in rows[3:6]}
    write_table(study, [f"{head},split", *(f"{row},{part[row]}" for row in rows)])
    report = run(study)
    assert [skip.reason for skip in report.skipped] == [
        "the table puts its patient into test and training",
        "the table puts its patient into no split",
    ]
    assert report.cases["training"] == 8 and not report.complete


def test_masks_are_recorded_and_missing_ones_named(study):
    for i in range(9):
        volume(study / "masks" / f"P{i}.nii.gz")
    volume(study / "masks" / "P3.nii.gz", depth=4)
    report = run(study, masks=study / "masks")
    data = {case.case: case for case in PreparedDataset.read(study / "out").cases()}
    assert data["P0"].truth == (study / "masks" / "P0.nii.gz").resolve()
    assert data["P3"].truth is None and data["P9"].truth is None and len(data) == 10
    assert "2 cases without a usable mask" in text(report)


def test_masks_inside_the_input_are_no_cases(study):
    for i in range(10):
        volume(study / "in" / "masks" / f"P{i}.nii.gz")
    report = run(study, masks=study / "in" / "masks")
    assert sum(report.cases.values()) == 10 and not report.truth_problems and not report.files_without_row


def test_a_second_call_rewrites_nothing_in_the_cache(study):
    run(study)
    before = stamps(study / "out" / "cache")
    dataset = (study / "out" / "dataset.json").read_bytes()
    run(study)
    assert stamps(study / "out" / "cache") == before
    assert (study / "out" / "dataset.json").read_bytes() == dataset


def test_an_interrupted_call_resumes(study):
    def kill(done, total, what):
        if what == "preprocessing" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, progress=kill)
    before = stamps(study / "out" / "cache")
    assert sorted(name for name in before if name.endswith(".npy")) == ["P0.npy", "P1.npy", "P2.npy", "P3.npy"]
    assert not (study / "out" / "dataset.json").exists()
    run(study)
    after = stamps(study / "out" / "cache")
    assert {name: after[name] for name in before} == before
    clean = prepare(study / "in", study / "labels.csv", study / "clean", keep_names=True, preprocessing=GRID)
    assert clean.slices == 30
    for path in (study / "clean" / "cache").rglob("*.npy"):
        assert (study / "out" / path.relative_to(study / "clean")).read_bytes() == path.read_bytes()


def test_other_preprocessing_gets_a_cache_of_its_own(study):
    run(study)
    before = stamps(study / "out" / "cache")
    run(study, preprocessing=GridPreprocessing(size=(16, 16)))
    folders = sorted((study / "out" / "cache").iterdir())
    assert len(folders) == 2
    assert before.items() <= {**stamps(folders[0])}.items() or before.items() <= {**stamps(folders[1])}.items()


# Bad input: one clear line, nothing lost, the rest done.


def test_unusable_files_are_skipped_and_the_rest_is_done(study):
    whole = (study / "in" / "P0.nii.gz").read_bytes()
    (study / "in" / "P0.nii.gz").write_bytes(whole[: len(whole) // 2])
    (study / "in" / "P1.nii.gz").write_text("corrupt")
    volume(study / "in" / "P2.nii.gz", value=np.nan)
    nib.save(nib.Nifti1Image(np.ones((8, 8, 3), np.float32), np.eye(4)), study / "in" / "P3.nii.gz")
    report = run(study)
    reasons = {skip.file: skip.reason for skip in report.skipped}
    assert reasons["P0.nii.gz"].startswith("cannot be read as NIfTI (Compressed file ended")
    assert reasons["P1.nii.gz"].startswith("cannot be read as NIfTI")
    assert reasons["P2.nii.gz"].startswith("1 of 1440 voxels are not finite")
    assert reasons["P3"].startswith("all voxels have the value 1")
    assert not report.complete and sum(report.cases.values()) == 6
    assert "4 files or cases skipped: " in text(report) and "P2.nii.gz" in text(report)
    assert {case.case for case in PreparedDataset.read(study / "out").cases()} == {f"P{i}" for i in range(4, 10)}


def test_a_repaired_file_joins_without_redoing_the_rest(study):
    good = (study / "in" / "P1.nii.gz").read_bytes()
    (study / "in" / "P1.nii.gz").write_text("corrupt")
    run(study)
    before = stamps(study / "out" / "cache")
    (study / "in" / "P1.nii.gz").write_bytes(good)
    assert run(study).complete
    assert before.items() <= stamps(study / "out" / "cache").items()


def test_one_slice_volumes(tmp_path):
    for i in range(3):
        volume(tmp_path / "in" / f"P{i}.nii", depth=1, seed=i)
    write_table(tmp_path, ["file,lesion", "P0.nii,1", "P1,0", "P2,0"])
    report = run(tmp_path)
    assert report.slices == 3 and report.complete
    assert "each file counts as a patient of its own" in text(report)


def test_class_without_positives_is_named_and_kept(study):
    head, *rows = table(study)
    write_table(study, [f"{head},cyst", *(f"{row},0" for row in rows)])
    assert "Column 'cyst' is no class" in text(run(study))
    report = run(study, classes=["lesion", "cyst"])
    assert PreparedDataset.read(study / "out").labels == ("lesion", "cyst")
    assert "Class cyst has no positive in training." in report.lines()
    assert "Class lesion has no positive in training." not in report.lines()


def test_rows_and_files_that_do_not_meet_are_named(study):
    write_table(study, [*table(study)[:-3], "Q1,0,1", "P0,3,1"])  # P9 has no row, Q1 no file, P0 no slice 3
    report = run(study)
    assert report.rows_without_file == ["line 29"]
    assert report.files_without_row == ["P9.nii.gz"]
    assert report.rows_outside == ["line 30: slice 3 (0-based) is not in the volume of 3 slices"]
    for words in (
        "row without a file: line 29",
        "file without a row",
        "row names a slice that does not exist: line 30",
    ):
        assert f"1 {words}" in text(report)


def test_duplicates_are_merged_and_contradictions_unknown(study):
    write_table(study, [*table(study), "P0,1,1", "P1,2,1"])
    report = run(study)
    cases = {case.case: case for case in PreparedDataset.read(study / "out").cases()}
    assert cases["P0"].slice_classes == ((0,), (1,), (0,)) and cases["P0"].classes == (1,)
    assert cases["P1"].slice_classes == ((0,), (0,), (-1,)) and cases["P1"].classes == (-1,)
    assert "1 duplicate key, merged: lines 3, 32." in report.lines()
    assert "1 contradiction, set to unknown: lines 7, 33: lesion is both present and absent." in report.lines()


def test_one_file_of_two_patients_is_left_out(study):
    write_table(study, ["file,PatientID,lesion", "P0,A,1", "P0,B,1", *(f"P{i},C{i},0" for i in range(1, 10))])
    report = run(study)
    assert [skip.reason for skip in report.skipped] == ["its rows name several patients"]


def test_body_that_the_grid_cuts_is_named(study):
    report = run(study, preprocessing=GridPreprocessing(size=(12, 32)))
    # the body's rows 4 to 19 lie flipped and centred in 24: a grid of 12 rows cuts 2 pixels on either side
    assert report.cropped == [f"P{i} (by 2 mm)" for i in range(10)]
    assert "10 cases are cut by the grid" in text(report)


def test_long_lists_are_cut_in_the_lines_and_whole_in_the_file(study):
    write_table(study, [*table(study), *(f"Q{i},0,1" for i in range(8))])
    assert "line 36; and 3 more." in text(run(study))
    assert len(json.loads((study / "out" / "prepare.json").read_text())["rows_without_file"]) == 8


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: (s / "labels.csv").unlink(), "labels.csv: labels table not found"),
        (lambda s: write_table(s, ["name,lesion", "P0,1"]), "labels.csv: no key column"),
        (lambda s: write_table(s, ["PatientID,lesion", "X0,1", "X1,0"]), "labels.csv: no row matches a file"),
        (lambda s: [p.unlink() for p in (s / "in").iterdir()], "in: no NIfTI file"),
        (lambda s: [p.write_text("x") for p in (s / "in").iterdir()], "in: none of 10 files can be read"),
        (lambda s: [volume(p, value=np.nan) for p in (s / "in").iterdir()], "in: no case left"),
    ],
)
def test_nothing_to_prepare_is_one_line_and_writes_no_dataset(study, spoil, message):
    spoil(study)
    with pytest.raises(InputError) as error:
        run(study)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (study / "out" / "dataset.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["cyst"]}, "no column 'cyst'"),
        ({"split_column": "fold"}, "no column 'fold'"),
        ({"split": (0.5, 0.1, 0.1)}, "three fractions that sum to 1"),
        ({"masks": "/nowhere"}, "/nowhere: no such file or folder"),
    ],
)
def test_bad_options(study, options, message):
    with pytest.raises(InputError, match=message):
        run(study, **options)


def test_dataset_of_another_version_is_not_overwritten(study):
    (study / "out").mkdir()
    (study / "out" / "dataset.json").write_text('{"version": 99}')
    with pytest.raises(
        InputError, match="version 99, this program reads version 1; remove it or choose another output folder"
    ):
        run(study)
    assert (study / "out" / "dataset.json").read_text() == '{"version": 99}'
