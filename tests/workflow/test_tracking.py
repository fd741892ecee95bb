"""MLflow: one parent a run folder, one child a stage, none left RUNNING."""

import json
import shutil

import pytest

from monai_wsss.errors import InputError
from monai_wsss.workflow import tracking
from monai_wsss.workflow.manifest import Manifest
from monai_wsss.workflow.tracking import Tracker

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder whose store is made once, from another working directory: that takes seconds."""
    folder = tmp_path_factory.mktemp("tracked") / "my_run"
    folder.mkdir()
    (folder.parent / "DOE_JANE").mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder.parent / "DOE_JANE")
        with Tracker("auto", folder, "first") as tracker:
            tracker.log_params({"epochs": 3, "name": "x"})
    return folder


def short(run):
    """The stage of `my_run/stage`; `my_run` of the parent."""
    return run.info.run_name.rpartition("/")[2]


def runs(folder):
    """Runs by stage, the newest of each."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlruns.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'monai_wsss'")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return client, {short(run): run for run in found}, found


def statuses(folder):
    return {short(run): run.info.status for run in runs(folder)[2]}


def test_parent_and_child(folder):
    _, named, _ = runs(folder)
    parent, child = named["my_run"], named["first"]
    assert child.info.run_name == "my_run/first"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.params == {"epochs": "3", "name": "x"}
    assert child.info.status == parent.info.status == "FINISHED"
    assert Manifest(folder).content["mlflow"] == {"uri": "auto", "run": parent.info.run_id}


def test_the_store_notes_no_place_but_its_own(folder):
    """MLflow would write the working directory down, which may be a folder of the user's studies."""
    assert b"DOE_JANE" not in (folder / "mlruns.db").read_bytes()
    assert list((folder.parent / "DOE_JANE").iterdir()) == []


def test_later_stages_join_the_same_parent(folder):
    with Tracker("auto", folder, "second") as tracker:
        assert statuses(folder)["my_run"] == statuses(folder)["second"] == "RUNNING"
        tracker.log_metrics({"loss": 0.5, "auc": 1}, 1)
        tracker.log_metrics({"loss": 0.25}, 2)
    client, named, found = runs(folder)
    assert sum("mlflow.parentRunId" not in run.data.tags for run in found) == 1
    assert not any(key.startswith("second/") for key in named["my_run"].data.metrics)  # epochs stay with the stage
    history = client.get_metric_history(named["second"].info.run_id, "loss")
    assert [(value.step, value.value) for value in history] == [(1, 0.5), (2, 0.25)]
    assert "RUNNING" not in statuses(folder).values()


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(), "FAILED")]
)
def test_an_exception_goes_on_and_leaves_nothing_running(folder, error, status):
    name = type(error).__name__
    with pytest.raises(type(error)), Tracker("auto", folder, name):
        raise error
    assert statuses(folder)[name] == statuses(folder)["my_run"] == status
    assert "RUNNING" not in statuses(folder).values()


def test_the_parent_shows_values_of_whole_stages_and_what_was_chosen(folder):
    chosen = {"refine": "crf", "train_epochs": 2, "device": "cpu", "tracking_uri": "http://me:secret@host"}
    Manifest(folder).set(bundle="a_bundle", overlays=["small", "mri"], overrides=chosen)
    with Tracker("auto", folder, "scored") as tracker:
        tracker.log_metrics({"dice": 0.5})
    parent = runs(folder)[1]["my_run"]
    assert parent.data.metrics["scored/dice"] == 0.5
    tags = {key: value for key, value in parent.data.tags.items() if not key.startswith("mlflow.")}
    assert tags == {"bundle": "a_bundle", "overlays": "small, mri", "overrides": "refine=crf, train_epochs=2"}
    Manifest(folder).set(overrides={})
    with Tracker("auto", folder, "again"):
        tags = runs(folder)[1]["my_run"].data.tags
    assert (tags["overlays"], tags["overrides"]) == ("small, mri", "")  # as run.json has it now


class GoneError(Exception):
    """No kind of error that MLflow has: stores bring their own."""


def gone(*arguments, **options):
    raise GoneError("the store\nis gone")


@pytest.mark.parametrize("method", ["log_batch", "log_artifact", "set_terminated"])
def test_a_store_that_falls_silent_costs_one_line(folder, tmp_path, monkeypatch, caplog, method):
    (tmp_path / "silent.png").write_bytes(b"png")
    with monkeypatch.context() as patch, Tracker("auto", folder, "silent") as tracker:
        patch.setattr(tracker.client, method, gone)
        for step in (1, 2):
            tracker.log_params({"a": 1})
            tracker.log_metrics({"loss": 0.5}, step)
            tracker.log_picture(tmp_path / "silent.png")
    (line,) = [record.getMessage() for record in caplog.records if record.name == tracking.__name__]
    assert line == "silent: goes on without tracking, 'auto' failed: the store"
    with Tracker("auto", folder, "next"):  # closes what was left open
        pass
    assert statuses(folder)["silent"] == "KILLED" and statuses(folder)["next"] == "FINISHED"


def test_a_store_that_once_answered_stops_no_later_stage(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mlflow, "MlflowClient", gone)
    with Tracker("auto", folder, "later") as tracker:
        tracker.log_metrics({"loss": 0.5}, 1)
    assert caplog.messages == ["later: goes on without tracking, 'auto' failed: the store"]
    with pytest.raises(InputError, match=r"^tracking 'http://127.0.0.1:9': the store; "):  # one that never answered
        Tracker("http://127.0.0.1:9", tmp_path, "first").__enter__()


def test_mlflow_reports_nothing_to_its_makers(folder, monkeypatch):
    from mlflow.telemetry import client, get_telemetry_client, utils

    monkeypatch.setattr(utils, "_IS_IN_CI_ENV_OR_TESTING", False)  # as on a user's machine
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(client, "_MLFLOW_TELEMETRY_CLIENT", object())  # MLflow was imported before
    with Tracker("auto", folder, "quiet"):
        assert get_telemetry_client() is None


def test_a_shared_sqlite_store_keeps_pictures_beside_it(tmp_path, monkeypatch):
    (tmp_path / "shared.db").touch()
    monkeypatch.chdir(tmp_path)
    beside = (tmp_path / "mlruns").as_uri()
    assert [tracking._make_store(f"sqlite:///{path}") for path in ("shared.db", tmp_path / "shared.db")] == [beside] * 2
    assert tracking._make_store("http://127.0.0.1:5000") is None


def test_what_a_killed_process_left_is_closed_by_the_next(folder):
    Tracker("auto", folder, "killed").__enter__()  # and never left
    assert statuses(folder)["killed"] == "RUNNING"
    with Tracker("auto", folder, "after"):
        assert statuses(folder)["killed"] == "KILLED"
    assert statuses(folder)["after"] == "FINISHED" and "RUNNING" not in statuses(folder).values()


def test_pictures_lie_in_the_run_folder(folder, tmp_path):
    (tmp_path / "p.png").write_bytes(b"png")
    with Tracker("auto", folder, "picture") as tracker:
        tracker.log_picture(tmp_path / "p.png")
    client, named, _ = runs(folder)
    files = client.list_artifacts(named["picture"].info.run_id, "pictures")
    assert [file.path for file in files] == ["pictures/p.png"]
    assert [path.read_bytes() for path in (folder / "mlruns").rglob("p.png")] == [b"png"]


def test_a_store_without_the_parent_gets_a_new_one(folder, tmp_path):
    """The store was replaced since run.json was written."""
    shutil.copy(folder / "mlruns.db", tmp_path / "mlruns.db")
    Manifest(tmp_path).set(mlflow={"uri": "auto", "run": "0" * 32})
    with Tracker("auto", tmp_path, "renewed"):
        pass
    _, named, _ = runs(tmp_path)
    parent = named["renewed"].data.tags["mlflow.parentRunId"]
    assert parent == Manifest(tmp_path).content["mlflow"]["run"] != "0" * 32


@pytest.mark.parametrize("uri", ["none", ""])
def test_off_does_nothing(tmp_path, uri):
    with Tracker(uri, tmp_path, "s") as tracker:
        tracker.log_params({"a": 1})
        tracker.log_metrics({"a": 1.0}, 1)
        tracker.log_picture(tmp_path / "none.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("foo://bar", "unsupported URI 'foo://bar'"),
        ("sqlite:", "Could not parse"),  # SQLAlchemy's own error
        ("foo://me:secret@bar", "'foo://bar'"),
        ("mysql+nothing://h/db", "nothing"),  # a driver that is not installed
    ],
)
def test_a_store_that_cannot_be_opened_is_bad_input(tmp_path, uri, words):
    with pytest.raises(InputError) as raised, Tracker(uri, tmp_path, "s"):
        pass
    message = str(raised.value)
    shown = uri.replace("me:secret@", "")
    assert message.startswith(f"tracking '{shown}': ") and words in message
    assert "\n" not in message and "secret" not in message


def test_without_mlflow_a_run_goes_on_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("monai_wsss.workflow.tracking.optional_import", lambda name: (None, False))
    with Tracker("auto", tmp_path, "s") as tracker:
        tracker.log_metrics({"a": 1.0})
    assert 'pip install "monai_wsss[mlflow]"' in caplog.text and list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def tracked(folder, whole, run_pipeline):
    """The classify and train stages of the whole run once more, tracked, in the store that is there."""
    for name in ("seeds", "pseudo_masks"):
        shutil.copytree(whole.run / name, folder / name)
    run_pipeline(whole.data, folder, until_stage="classify", tracking_uri="auto")
    shutil.copytree(whole.run / "classifier", folder / "classifier", dirs_exist_ok=True)
    stages = json.loads((whole.run / "run.json").read_text())["stages"]
    stages.pop("train"), stages.pop("infer"), stages.pop("evaluate")
    Manifest(folder).set(stages=stages)
    run_pipeline(whole.data, folder, until_stage="train", tracking_uri="auto")
    return runs(folder)


@pytest.mark.parametrize(
    ("stage", "metric", "summary"), [("classify", "val_loss", "val_auc"), ("train", "agreement", "training_slices")]
)
def test_stages_log_values_each_epoch(tracked, stage, metric, summary):
    client, named, _ = tracked
    run = named[stage]
    for name in ("loss", "learning_rate", metric):
        steps = [value.step for value in client.get_metric_history(run.info.run_id, name)]
        assert [step for step in steps if step] == [1, 2, 3], name
    assert summary in run.data.metrics and "seconds" in run.data.metrics
    assert run.data.params["classify_epochs" if stage == "classify" else "train_epochs"] == "3"
    assert run.info.status == "FINISHED"


def test_stages_log_their_picture(tracked):
    client, named, _ = tracked
    files = client.list_artifacts(named["train"].info.run_id, "pictures")
    assert [file.path for file in files] == ["pictures/preview.png"]


def test_finished_stages_open_no_run(tracked):
    assert not {"seed", "refine", "infer", "evaluate"} & set(tracked[1])
