"""Which runs used a prepared folder, and with whom."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow import Pipeline, run_registry
from monai_wsss.workflow.run_registry import record_run, runs_using

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_mri_lesion_mixed_unet"


def dataset(training, validation="", test=""):
    """Patients are letters, with two cases each."""
    splits = [
        tuple(Case(Path(f"{p}{i}.nii"), f"{p}{i}", p, (1,)) for p in part for i in range(2))
        for part in (training, validation, test)
    ]
    return PreparedDataset(("a",), {}, *splits)


def test_nothing_at_first(tmp_path):
    assert runs_using(tmp_path) == [] and list(tmp_path.iterdir()) == []


def test_each_run_is_noted_once_with_every_split_it_ran_with(tmp_path):
    data = tmp_path / "data"
    record_run(data, dataset("ab", "c", "d"), tmp_path / "one")
    record_run(data, dataset("ab", "c", "d"), tmp_path / "two")
    record_run(data, dataset("ad", "c", "b"), tmp_path / "two" / ".." / "two")  # prepared anew with another seed
    one, two = runs_using(data)
    assert (one.folder, two.folder) == (tmp_path / "one", tmp_path / "two")
    assert one.started and two.started
    assert [one.parts(patient) for patient in "abcdx"] == [["training"], ["training"], ["validation"], ["test"], []]
    assert [two.parts(patient) for patient in "ab"] == [["training"], ["training", "test"]]
    assert (one.patients, one.cases("b"), one.cases("x")) == (set("abcd"), {"b0", "b1"}, set())
    assert len(json.loads((data / "runs.json").read_text())["splits"]) == 2  # shared ones are written once
    before = (data / "runs.json").read_bytes()
    record_run(data, dataset("ab", "c", "d"), tmp_path / "one")
    assert (data / "runs.json").read_bytes() == before


def test_runs_that_begin_together_are_all_noted(tmp_path, monkeypatch):
    """Each waits between reading and writing, so that without a lock all but the last to write would be lost."""
    write = run_registry.write_json

    def slowly(path, content):
        time.sleep(0.05)
        write(path, content)

    monkeypatch.setattr(run_registry, "write_json", slowly)
    names = [f"run{number}" for number in range(4)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: record_run(tmp_path, dataset("ab"), tmp_path / name), names))
    assert {run.folder.name for run in runs_using(tmp_path)} == set(names)


def test_whoever_may_write_the_folder_may_lock_it(tmp_path):
    before = os.umask(0o022)
    record_run(tmp_path, dataset("a"), tmp_path / "run")
    os.umask(before)
    assert (tmp_path / ".runs.json.lock").stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), NotImplementedError("no flock")])
def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch, error):
    def refuse(self):
        raise error

    monkeypatch.setattr(FileLock, "_acquire", refuse)
    record_run(tmp_path, dataset("a"), tmp_path / "run")
    assert [run.folder.name for run in runs_using(tmp_path)] == ["run"]


def test_runs_elsewhere_are_found_below_the_folders_given(tmp_path):
    record_run(tmp_path / "data", dataset("a"), tmp_path / "runs" / "known")
    for name in ("known", "deep/er/other", "other2/nested"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("known", "deep/er/other", "other2", "other2/nested"):  # a run inside a run is the outer one's matter
        (tmp_path / "runs" / name / "run.json").touch()
    found = runs_using(tmp_path / "data", [tmp_path / "runs", tmp_path / "runs" / "other2"])
    assert [(run.folder.relative_to(tmp_path / "runs").as_posix(), bool(run.started)) for run in found] == [
        ("known", True),
        ("deep/er/other", False),
        ("other2", False),
    ]
    with pytest.raises(InputError, match="no such folder of runs"):
        runs_using(tmp_path / "data", [tmp_path / "nowhere"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 3, "runs": {}, "splits": {}}',
        '{"version": 2, "runs": {"/r": {}}, "splits": {}}',
        '{"version": 2, "runs": {"/r": {"started": "x", "splits": ["gone"]}}, "splits": {}}',
        '{"version": 2, "runs": {}, "splits": {"x": {"training": ["a"]}}}',
    ],
)
def test_a_broken_registry_is_refused_and_kept(tmp_path, text):
    (tmp_path / "runs.json").write_text(text)
    for call in (lambda: runs_using(tmp_path), lambda: record_run(tmp_path, dataset("a"), tmp_path / "run")):
        with pytest.raises(InputError, match=r"runs\.json") as raised:
            call()
        assert "\n" not in str(raised.value)
    assert (tmp_path / "runs.json").read_text() == text


def test_every_pipeline_is_noted(whole):
    (run,) = [run for run in runs_using(whole.data) if run.folder == whole.run.resolve()]
    data = PreparedDataset.read(whole.data)
    for part in ("training", "validation", "test"):
        for case in data.cases(part):
            assert run.parts(case.patient) == [part]


def test_a_read_only_folder_is_no_obstacle(write_cached, tmp_path, monkeypatch, caplog):
    def refuse(path, obj):
        raise PermissionError(13, "Permission denied", str(path))

    data = write_cached(["lesion"], training={"a": (np.zeros((1, 1, 8, 8)), (1,))})
    monkeypatch.setattr(run_registry, "write_json", refuse)
    caplog.set_level("INFO")
    Pipeline(str(BUNDLE), str(data), str(tmp_path / "run"), overrides={}, tracking_uri="none").freeze()
    assert "read-only" in caplog.text and (tmp_path / "run" / "run.json").exists()
    assert not (data / "runs.json").exists()
