"""Tracking on a real `mlflow server`: what it is told, what it is not, and that nobody depends on it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from types import SimpleNamespace

import pytest
from tiny_bundles import BUNDLE, SETTINGS

from monai_wsss.engines import EpochLog
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import Pipeline, tracking
from monai_wsss.workflow.manifest import Manifest
from monai_wsss.workflow.prepare import prepare
from monai_wsss.workflow.refine import RefineStage

mlflow = pytest.importorskip("mlflow")
STAGES = ["classify", "seed", "refine", "train", "infer", "evaluate"]
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # starts sooner
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # seconds
    "NO_PROXY": "127.0.0.1",
}


@pytest.fixture(scope="module", autouse=True)
def environment():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`uri`, a `client`, the server's `folder`, and `signal` for its process group."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/files"]
    uri = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)

    def send(number):
        os.killpg(process.pid, number)

    try:
        wait_for(f"{uri}/health", process, folder / "log")
        yield SimpleNamespace(uri=uri, client=mlflow.MlflowClient(uri), folder=folder, signal=send)
    finally:
        if process.poll() is None:
            send(signal.SIGKILL)
        process.wait(10)


def wait_for(address, process, log, seconds=240):  # 10 on an idle machine
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{log.read_text()}")


def runs_of(client, folder):
    """The parent of a run folder and its stages' newest runs by name, and all runs of stages."""
    (experiment,) = client.search_experiments(filter_string="name = 'monai_wsss'")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    (parent,) = [run for run in found if run.info.run_name == folder.name]
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {run.info.run_name.removeprefix(f"{folder.name}/"): run for run in children}, children


def statuses(client, folder):
    parent, named, _ = runs_of(client, folder)
    return {folder.name: parent.info.status} | {name: run.info.status for name, run in named.items()}


@pytest.fixture(scope="module")
def tracked(server, tmp_path_factory, write_study):
    """A pipeline that fails in refine, and once more to its end with other settings of train."""
    root = tmp_path_factory.mktemp("DOE_JANE")
    study, data, run = write_study(root / "study"), root / "data", root / "my_run"
    grid = GridPreprocessing(pixel_spacing=SETTINGS["pixel_spacing"], size=SETTINGS["size"])
    prepare(study / "images", study / "labels.csv", data, masks=study / "masks", preprocessing=grid)

    def go(**settings):
        settings = SETTINGS | {"classify_epochs": 2, "train_epochs": 1} | settings
        Pipeline(str(BUNDLE), str(data), str(run), overrides=settings, device="cpu", tracking_uri=server.uri).run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RefineStage, "work", lambda self, tracker: 1 / 0)
        with pytest.raises(RuntimeError, match="stage"):  # MONAI wraps it
            go()
    failed = statuses(server.client, run)
    go(train_epochs=2)
    return SimpleNamespace(root=root, data=data, run=run, failed=failed)


def test_a_stage_that_fails_says_so(tracked):
    assert tracked.failed == {"my_run": "FAILED", "classify": "FINISHED", "seed": "FINISHED", "refine": "FAILED"}


def test_a_second_call_goes_on_in_the_same_run(server, tracked):
    assert statuses(server.client, tracked.run) == dict.fromkeys(["my_run", *STAGES], "FINISHED")
    parent, _, children = runs_of(server.client, tracked.run)
    names = [run.info.run_name for run in children]
    assert sorted(names) == sorted(f"my_run/{stage}" for stage in [*STAGES, "refine"])  # only refine ran twice
    assert Manifest(tracked.run).content["mlflow"] == {"uri": server.uri, "run": parent.info.run_id}


def test_what_the_server_is_told(server, tracked):
    parent, named, _ = runs_of(server.client, tracked.run)
    assert (named["classify"].data.params["classify_epochs"], named["train"].data.params["train_epochs"]) == ("2", "2")
    history = server.client.get_metric_history(named["classify"].info.run_id, "loss")
    assert [value.step for value in history] == [1, 2]
    dice = json.loads((tracked.run / "evaluation" / "scores.json").read_text())["patients"]["dice"]["mean"]
    assert named["evaluate"].data.metrics["patients_dice"] == parent.data.metrics["evaluate/patients_dice"] == dice
    assert parent.data.tags["bundle"] == BUNDLE.name and "train_epochs=2" in parent.data.tags["overrides"]
    for stage, folder in (("classify", "classifier"), ("train", "segmenter")):
        (picture,) = server.client.list_artifacts(named[stage].info.run_id, "pictures")
        assert picture.path == "pictures/preview.png"
        assert picture.file_size == (tracked.run / folder / "preview.png").stat().st_size


def test_runs_are_found_by_what_they_were_set_to(server, tracked):
    (experiment,) = server.client.search_experiments(filter_string="name = 'monai_wsss'")
    for rule, stages in (
        ("params.train_epochs = '2'", ["train"]),
        ("params.train_epochs = '1'", []),
        ("attributes.run_name LIKE 'my_run/%' AND metrics.loss > 0", ["classify", "train"]),
        ("metrics.`evaluate/patients_dice` >= 0 AND tags.overrides LIKE '%train_epochs=2%'", ["my_run"]),
    ):
        found = server.client.search_runs([experiment.experiment_id], rule)
        assert sorted(run.info.run_name.removeprefix("my_run/") for run in found) == stages, rule


def test_the_server_learns_of_no_patient(server, tracked):
    told = [path for path in server.folder.rglob("*") if path.is_file() and path.name != "log"]
    assert len(told) >= 5  # the store and pictures
    dataset = json.loads((tracked.data / "dataset.json").read_text())
    cases = [item for split in ("training", "validation", "test") for item in dataset[split]]
    words = ["HOSP0", "DOE_JANE", str(tracked.root), *(item[key] for item in cases for key in ("case", "patient"))]
    for path in told:
        content = path.read_bytes()
        assert [word for word in words if word.encode() in content] == [], path.name
    for run in runs_of(server.client, tracked.run)[2]:
        assert sorted(run.data.tags) == ["mlflow.parentRunId", "mlflow.runName"]  # no user, no source


def test_a_server_that_is_not_there_ends_in_one_line(command, whole, tmp_path):
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    arguments = [word for key in ("pixel_spacing", "size") for word in ("--set", f"{key}={SETTINGS[key]}")]
    code, out, err = command("run", BUNDLE, "--data", whole.data, "--out", tmp_path, "--tracking", uri, *arguments)
    assert (code, out, len(err)) == (2, [], 2)  # the stage's name and why it ended
    shown = uri.replace("me:secret@", "")
    assert err[1].startswith(f"error: tracking '{shown}': Connection refused; give auto, none or")
    assert not (tmp_path / "classifier" / "model.pt").exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()] == []


def test_a_server_that_hangs_and_dies_stops_no_training(server, whole, run_pipeline, tmp_path, monkeypatch, caplog):
    """It hangs in classify, answers again from seed on, and dies in train: this test is the last here."""
    epoch, run = EpochLog.epoch, tmp_path / "orphan"
    falls = {"classify": signal.SIGSTOP, "train": signal.SIGKILL}

    def epoch_and_fall(self, engine):
        epoch(self, engine)
        if engine.state.epoch == 1:
            server.signal(falls[self.name])

    def progress(stage):
        if stage == "seed":
            server.signal(signal.SIGCONT)
            wait_for(f"{server.uri}/health", SimpleNamespace(poll=lambda: None), server.folder / "log")

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")  # how long it hangs
    monkeypatch.setattr(EpochLog, "epoch", epoch_and_fall)
    records = run_pipeline(whole.data, run, tracking_uri=server.uri, progress=progress)
    assert {name: record["status"] for name, record in records.items()} == dict.fromkeys(STAGES, "done")
    assert list(Manifest(run).content["stages"]) == STAGES
    for path in ("classifier/model.pt", "segmenter/model.pt", "evaluation/scores.json"):
        assert (run / path).read_bytes() == (whole.run / path).read_bytes(), path

    said = [record.getMessage() for record in caplog.records if record.name == tracking.__name__]
    assert [line.partition(":")[0] for line in said] == ["classify", "train", "infer", "evaluate"]  # one line each
    assert all(f"goes on without tracking, '{server.uri}' failed: " in line and "\n" not in line for line in said)
    assert said[-1].endswith("Connection refused")
    store = mlflow.MlflowClient(f"sqlite:///{server.folder}/server.db")
    left = {"classify": "KILLED", "seed": "FINISHED", "refine": "FINISHED", "orphan": "RUNNING", "train": "RUNNING"}
    assert statuses(store, run) == left  # what was open at the fall is closed when a stage next reaches the store
    history = store.get_metric_history(runs_of(store, run)[1]["train"].info.run_id, "loss")
    assert [value.step for value in history] == [1]
