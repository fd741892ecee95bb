"""A withdrawn patient leaves the prepared folder for good, and the runs that used it are named."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from monai_wsss.data import Case, PreparedDataset, Pseudonyms
from monai_wsss.data.mapping_table import COLUMNS, MappingRow, write_mapping
from monai_wsss.data.withdrawn import Withdrawn, read_withdrawn
from monai_wsss.errors import InputError
from monai_wsss.workflow import forget as forget_module
from monai_wsss.workflow.forget import forget
from monai_wsss.workflow.run_registry import record_run

# patient -> split; each has two cases, NAME_0 and NAME_1
PATIENTS = {"DOE": "training", "ROE": "training", "POE": "validation", "MOE": "test"}


class Folder:
    """A prepared folder and two runs of it, as `prepare` and the stages leave them."""

    def __init__(self, root, keep_names):
        self.data = root / "data"
        self.data.mkdir()
        self.names = Pseudonyms.open(self.data / "key", keep_names)
        self.cases = {p: [self.names.case(f"{p}_{i}") for i in range(2)] for p in PATIENTS}
        self.source = root / "sources" / "DOE_1.nii.gz"  # with names kept, a NIfTI source is used where it is
        splits = {"training": [], "validation": [], "test": []}
        for patient, split in PATIENTS.items():
            for case in self.cases[patient]:
                splits[split].append(self._case(case, self.names.patient(patient), keep_names))
        dataset = PreparedDataset(("lesion",), {}, **{s: tuple(cases) for s, cases in splits.items()})
        dataset.write(self.data)
        everyone = [(patient, case) for patient, cases in self.cases.items() for case in cases]
        self._table(self.data / "nuisance.csv", ["case", "file_size"], [[case, 7] for _, case in everyone])
        self._json(
            self.data / "prepare.json",
            {
                "notes": ["Everything went well"],
                "cropped": [f"{case} (by 3 mm)" for _, case in everyone],
                "duplicates": [{"cases": [self.cases["DOE"][0], self.cases["MOE"][0]]}, {"cases": ["x", "y"]}],
                "patients": {"training": 2, "validation": 1, "test": 1},
                "per_patient": {self.names.patient(patient): 2 for patient in PATIENTS},
            },
        )
        for name in ("labelled_slices.png", "cohort_flow.png", "cohort_flow.txt", "shortcuts.json"):
            self._file(self.data / name, f"of {self.cases['DOE'][0]}")
        rows = [MappingRow(case, self.names.patient(p), p, status="training") for p, case in everyone]
        write_mapping(self.data / "names.csv", rows)
        self.runs = [self._run(root / "runs" / name, everyone) for name in ("one", "two")]
        for run in self.runs:
            record_run(self.data, dataset, run)

    def _case(self, case, patient, keep_names):
        image = self.source if keep_names and case == "DOE_1" else self.data / "images" / f"{case}.nii.gz"
        truth = self.data / "truth" / f"{case}.nii.gz"
        for path in (image, truth, self.data / "images" / f"{case}.json"):
            self._file(path, case)
        for key in ("aaa", "bbb"):
            for suffix in ("npy", "json"):
                self._file(self.data / "cache" / key / f"{case}.{suffix}", case)
            self._file(self.data / "cache" / key / f".0123abcd.{case}.npy", "half of it")  # a process was killed
            self._file(self.data / "cache" / key / "preprocessing.json", "{}")
        return Case(image, case, patient, (1,), truth=truth)

    def _run(self, run, everyone):
        self._json(run / "run.json", {"version": 1, "stages": {}})
        for _, case in everyone:
            self._file(run / "seeds" / f"{case}.npy", case)
            if case not in self.cases["MOE"]:
                self._file(run / "pseudo_masks" / "crf" / f"{case}.npy", case)
        for case in self.cases["MOE"]:
            self._file(run / "predictions" / f"{case}.nii.gz", case)
        rows = [[case, i, "lesion", 0.5] for _, case in everyone for i in range(2)]
        self._table(run / "seeds" / "slices.csv", ["case", "slice", "class", "probability"], rows)
        scores = [{"case": case, "patient": self.names.patient("MOE"), "dice": 0.5} for case in self.cases["MOE"]]
        self._json(run / "evaluation" / "scores.json", {"labels": ["lesion"], "per_case": scores})
        for stage in ("classifier", "segmenter"):
            self._file(run / stage / "model.pt", "weights")
            self._file(run / stage / "preview.png", "picture of validation slices")
        return run

    @staticmethod
    def _file(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @classmethod
    def _json(cls, path, content):
        cls._file(path, json.dumps(content))

    @staticmethod
    def _table(path, header, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *rows])


@pytest.fixture(params=[False, True], ids=["hashes", "names"])
def folder(tmp_path, request):
    return Folder(tmp_path, request.param)


def mentions(folder, names, files_of):
    """Files that are named after, or say, one of the names."""
    return {
        path for path, content in files_of(folder).items() if any(n in path or n.encode() in content for n in names)
    }


def test_nothing_of_the_patient_stays_and_nothing_of_the_others_goes(folder, files_of):
    before = files_of(folder.data)
    names = [folder.names.patient("DOE"), *folder.cases["DOE"]]
    report = forget("DOE", folder.data)
    assert (report.patient, set(report.cases)) == (names[0], set(names[1:]))
    # the names themselves stay in the list of the withdrawn and in that of the runs, and nowhere else
    assert mentions(folder.data, names, files_of) == {"withdrawn.json", "runs.json"}
    assert read_withdrawn(folder.data) == {names[0]: sorted(names[1:])}
    after = files_of(folder.data)
    changed = {path for path in before if before[path] != after.get(path)}
    own = {path for path in before if any(name in path for name in names)}
    tables = {"dataset.json", "prepare.json", "nuisance.csv", "names.csv"}
    pooled = {"labelled_slices.png", "cohort_flow.png", "cohort_flow.txt", "shortcuts.json"}
    assert changed == own | tables | pooled
    assert pooled & set(after) == set()
    data = PreparedDataset.read(folder.data)
    assert [case.case for case in data.training] == folder.cases["ROE"]
    assert [case.case for case in data.validation + data.test] == folder.cases["POE"] + folder.cases["MOE"]
    content = json.loads(after["prepare.json"])
    others = [case for patient in ("ROE", "POE", "MOE") for case in folder.cases[patient]]
    assert content["cropped"] == [f"{case} (by 3 mm)" for case in others]
    assert content["duplicates"] == [{"cases": ["x", "y"]}] and content["notes"] == ["Everything went well"]
    assert "patients" not in content  # a count of before
    assert content["per_patient"] == {folder.names.patient(patient): 2 for patient in ("ROE", "POE", "MOE")}
    assert [row[0] for row in csv.reader(after["nuisance.csv"].decode().splitlines())] == ["case", *others]
    assert after["names.csv"].decode().splitlines()[0] == ",".join(COLUMNS)
    assert len(after["names.csv"].decode().splitlines()) == 1 + 6


def test_a_source_outside_the_folder_is_not_touched(tmp_path):
    folder = Folder(tmp_path, keep_names=True)
    forget("DOE", folder.data)
    assert folder.source.read_text() == "DOE_1"


def test_again_changes_nothing_and_still_says_which_runs(folder, files_of):
    first = forget("DOE", folder.data)
    before = files_of(folder.data)
    second = forget(first.patient, folder.data)
    assert files_of(folder.data) == before
    assert second.removed == 0 and second.cases == first.cases
    assert [run.files for run in second.runs] == [run.files for run in first.runs]


STEPS = ("_without", "_remove_files", "_unlink", "_update_lines", "drop_patient", "find_traces")


@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_call_is_finished_by_the_next(tmp_path, monkeypatch, files_of, step):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    folder = Folder(tmp_path, keep_names=False)
    names = [folder.names.patient("DOE"), *folder.cases["DOE"]]
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(forget_module, step, killed)
        forget("DOE", folder.data)
    # the folder is usable at any moment: a case that dataset.json names has its files
    assert all(case.image.exists() for case in PreparedDataset.read(folder.data).cases())
    report = forget("DOE", folder.data)
    assert mentions(folder.data, names, files_of) == {"withdrawn.json", "runs.json"}
    assert len(report.runs) == 2


@pytest.mark.parametrize(
    ("patient", "part", "kinds"),
    [
        ("DOE", "training", {"seeds", "pseudo_masks"}),
        ("POE", "validation", {"seeds", "pseudo_masks"}),
        ("MOE", "test", {"seeds", "predictions"}),
    ],
)
def test_runs_are_listed_with_what_they_hold(folder, files_of, patient, part, kinds):
    before = [files_of(run) for run in folder.runs]
    report = forget(patient, folder.data)
    assert [run.folder for run in report.runs] == folder.runs
    for trace in report.runs:
        assert trace.parts == (part,) and trace.exists and not trace.deleted
        assert {path.parts[0] for path in trace.files} == kinds
        assert len(trace.files) == 2 * len(kinds)
        tables = {"seeds/slices.csv"} | ({"evaluation/scores.json"} if part == "test" else set())
        assert {path.as_posix() for path in trace.tables} == tables
        assert bool(trace.pictures) == (part == "validation")  # only these are ever shown
        assert [path.as_posix() for path in trace.weights] == (
            [] if part == "test" else ["classifier/model.pt", "segmenter/model.pt"]
        )
    text = "\n".join(report.lines())
    assert f"{folder.runs[0]}: in {part}" in text
    assert ("were trained with it" in text) == (part == "training")
    assert ("were chosen by its labels" in text) == (part == "validation")
    assert [files_of(run) for run in folder.runs] == before


def test_traces_can_be_removed_from_the_runs(folder, files_of):
    names = [folder.names.patient("POE"), *folder.cases["POE"]]
    before = files_of(folder.runs[0])
    report = forget("POE", folder.data, delete_from_runs=True)
    for run in folder.runs:
        assert mentions(run, names, files_of) == set()
        after = files_of(run)
        gone = before.keys() - after.keys()
        assert {path.rsplit("/", 1)[1] for path in gone} == {"preview.png", *(f"{c}.npy" for c in folder.cases["POE"])}
        assert after["classifier/model.pt"] == before["classifier/model.pt"]
        assert len(after["seeds/slices.csv"].splitlines()) == 1 + 2 * 6
    assert "removed files" in "\n".join(report.lines())


def test_runs_that_moved_and_runs_elsewhere(folder, tmp_path):
    folder.runs[0].rename(tmp_path / "moved")
    (tmp_path / "masks").mkdir()  # what `infer --data` wrote: no run folder
    (tmp_path / "masks" / f"{folder.cases['MOE'][1]}.nii.gz").touch()
    report = forget("MOE", folder.data, [tmp_path / "moved", tmp_path / "masks"])
    found = {trace.folder.name: trace for trace in report.runs}
    assert set(found) == {"one", "two", "moved", "masks"}
    assert not found["one"].exists and found["one"].parts == ("test",)
    assert found["moved"].parts == () and found["moved"].weights  # nobody knows what it was trained with
    assert [path.name for path in found["masks"].files] == [f"{folder.cases['MOE'][1]}.nii.gz"]
    text = "\n".join(report.lines())
    assert "not there any more" in text and "a split that is not recorded" in text and "may have been trained" in text


def test_a_patient_without_runs(folder, tmp_path):
    (folder.data / "runs.json").unlink()
    assert "No run is known to have used it" in forget("DOE", folder.data).lines()[-1]


def test_an_unknown_patient_changes_nothing_and_is_not_named(folder, files_of):
    before = files_of(folder.data)
    for patient in ("SMITH^ANNA", "", "DO", "doe"):
        with pytest.raises(InputError, match="holds no such patient") as raised:
            forget(patient, folder.data)
        assert "\n" not in str(raised.value) and "SMITH" not in str(raised.value)
    with pytest.raises(InputError, match="no such folder of runs"):
        forget("DOE", folder.data, [folder.data / "nowhere"])
    assert files_of(folder.data) == before


def test_the_hash_alone_will_do_without_the_key(tmp_path):
    folder = Folder(tmp_path, keep_names=False)
    (folder.data / "key").unlink()
    with pytest.raises(InputError, match="put the key back"):
        forget("DOE", folder.data)
    assert forget(folder.names.patient("DOE"), folder.data).removed


def test_a_split_that_runs_empty_is_said(folder):
    assert any("No patient is left in validation" in line for line in forget("POE", folder.data).lines())


def test_one_person_with_several_ids(tmp_path):
    """`prepare --group-column` joins them under one pseudonym and notes the others."""
    names = Pseudonyms.open(tmp_path / "key")
    case = Case(tmp_path / "i.nii.gz", names.case("x"), names.patient("A"), (1,), aliases=(names.patient("B"),))
    PreparedDataset(("lesion",), training=(case,)).write(tmp_path)
    run = tmp_path / "run"
    record_run(
        tmp_path, replace(PreparedDataset.read(tmp_path), training=(replace(case, patient=names.patient("B")),)), run
    )
    assert forget("B", tmp_path).patient == names.patient("A")
    assert read_withdrawn(tmp_path) == {names.patient(name): [names.case("x")] for name in "AB"}
    (trace,) = forget("A", tmp_path).runs  # which began before the two were known to be one
    assert trace.parts == ("training",)
    assert Withdrawn.read(tmp_path).holds(["B"], [])


def test_an_alias_that_is_a_patient_of_its_own_is_not_joined(tmp_path):
    names = Pseudonyms.open(tmp_path / "key")
    a, b = (Case(tmp_path / f"{n}.nii.gz", names.case(n), names.patient(n), (1,)) for n in "AB")
    PreparedDataset(("lesion",), training=(replace(a, aliases=(b.patient,)), b)).write(tmp_path)
    forget("A", tmp_path)
    assert [case.case for case in PreparedDataset.read(tmp_path).cases()] == [b.case]
    assert set(read_withdrawn(tmp_path)) == {a.patient}


@pytest.mark.parametrize("clear", [True, False], ids=["clear", "pseudonym"])
def test_a_patient_whom_only_runs_know(folder, files_of, clear):
    """A later `prepare` left the patient out; runs hold its files still."""
    names = [folder.names.patient("DOE"), *folder.cases["DOE"]]
    dataset = PreparedDataset.read(folder.data)
    replace(dataset, training=tuple(c for c in dataset.training if c.patient != names[0])).write(folder.data)
    report = forget("DOE" if clear else names[0], folder.data, delete_from_runs=True)
    assert (report.patient, set(report.cases)) == (names[0], set(names[1:]))
    assert [trace.parts for trace in report.runs] == [("training",)] * 2
    assert read_withdrawn(folder.data) == {names[0]: sorted(names[1:])}
    for run in folder.runs:
        assert mentions(run, names, files_of) == set()
    assert mentions(folder.data, names, files_of) == {"withdrawn.json", "runs.json"}


def test_runs_with_hashes_of_a_folder_that_keeps_names_now(tmp_path):
    folder = Folder(tmp_path, keep_names=False)
    clear = Case(tmp_path / "DOE_0.nii.gz", "DOE_0", "DOE", (1,))
    PreparedDataset(("lesion",), training=(clear,)).write(folder.data)
    report = forget("DOE", folder.data)
    assert (report.patient, set(report.cases)) == ("DOE", {"DOE_0", *folder.cases["DOE"]})
    assert [len(trace.files) for trace in report.runs] == [4, 4]


def test_a_case_that_is_another_patients_now_stays(tmp_path):
    """The table was put right after a run."""
    folder = Folder(tmp_path, keep_names=False)
    dataset = PreparedDataset.read(folder.data)
    moved = replace(dataset.training[0], patient=folder.names.patient("ROE"))
    replace(dataset, training=(moved, *dataset.training[1:])).write(folder.data)
    report = forget("DOE", folder.data)
    assert report.cases == (folder.cases["DOE"][1],)
    assert any("another patient now stay: 1" in line for line in report.lines())
    assert all(case.image.exists() for case in PreparedDataset.read(folder.data).cases())
    assert moved.case in {case.case for case in PreparedDataset.read(folder.data).cases()}


def test_stages_go_on_without_it(write_cached, place, tmp_path):
    """The shrunken folder is a prepared folder like any other."""
    from monai_wsss.workflow.cached_stage import open_cache

    volume = np.zeros((2, 1, 8, 8), np.float32)
    data = write_cached(["lesion"], training={"a": (volume, (1,)), "b": (volume, (0,))}, test={"c": (volume, (1,))})
    forget("a", data)
    left = PreparedDataset.read(data)
    assert [case.case for case in left.cases()] == ["b", "c"]
    cache = open_cache(data, left.cases(), place["preprocessing"])
    assert {path.stem for path in cache.glob("*.npy")} == {"b", "c"}
    assert torch.from_numpy(np.load(cache / "b.npy")).shape == (2, 1, 8, 8)
