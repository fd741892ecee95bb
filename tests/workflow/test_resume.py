"""A training that was killed goes on and gives the same bytes as one that was not."""

import shutil

import pytest
import torch

from monai_wsss.engines import EpochLog, ResumableCheckpoint
from monai_wsss.workflow.manifest import Manifest
from monai_wsss.workflow.tracking import Tracker

FOLDERS = {"classify": "classifier", "train": "segmenter"}


class Killed(BaseException):
    """Not an Exception: nothing on the way may hold it up."""


@pytest.fixture
def training(whole, run_pipeline, tmp_path, monkeypatch):
    """Runs the pipeline up to one stage in a folder whose earlier stages are done.

    Returns (state at the end, learning rate of each epoch run); dies at the end of epoch `kill` after it was saved, or
    in the middle of it.
    """

    def train(stage, name, kill=None, middle=False, settings=None, **options):
        run = tmp_path / name
        if not run.exists():
            shutil.copytree(whole.run, run)
            shutil.rmtree(run / FOLDERS[stage])
            stages = Manifest(run).content["stages"]
            Manifest(run).set(stages={k: v for k, v in stages.items() if k != stage})
        ended, rates = [], {}
        save, finish, iteration = ResumableCheckpoint.save, ResumableCheckpoint.finish, EpochLog.iteration

        def save_and_die(self, engine):
            save(self, engine)
            if engine.state.epoch == kill and not middle:
                raise Killed

        def die_within(self, engine):
            iteration(self, engine)
            if engine.state.epoch == kill and middle and engine.state.iteration % engine.state.epoch_length:
                raise Killed

        def keep(self, engine):
            ended.append(torch.load(self.folder / ".resume.pt", weights_only=True))
            finish(self, engine)

        def note_rate(self, values, step=0):
            if step:  # an epoch's values, not the stage's
                rates[step] = values["learning_rate"]

        with monkeypatch.context() as patch:
            patch.setattr(ResumableCheckpoint, "save", save_and_die)
            patch.setattr(ResumableCheckpoint, "finish", keep)
            patch.setattr(EpochLog, "iteration", die_within)
            patch.setattr(Tracker, "log_metrics", note_rate)
            run_pipeline(whole.data, run, settings, until_stage=stage, **options)
        return run, ended, rates

    return train


def equal(first, second):
    """The same nested state, tensors to the last bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def weights(run, stage):
    return (run / FOLDERS[stage] / "model.pt").read_bytes()


@pytest.mark.parametrize("stage", FOLDERS)
def test_resumed_training_ends_in_the_same_bytes(training, whole, stage):
    _, (expected,), all_rates = training(stage, "uninterrupted")
    for name, kill, middle, left in (("one", 1, False, [2, 3]), ("within", 2, True, [2, 3]), ("last", 3, False, [])):
        with pytest.raises(Killed):
            training(stage, name, kill, middle)
        run, (state,), rates = training(stage, name)
        assert list(rates) == left, name
        assert equal(state, expected), name
        assert rates == {epoch: all_rates[epoch] for epoch in left}, name
        assert weights(run, stage) == weights(whole.run, stage), name
        assert sorted(path.name for path in (run / FOLDERS[stage]).iterdir() if path.name[0] == ".") == []


@pytest.mark.parametrize("stage", FOLDERS)
def test_learning_rate_follows_the_poly_schedule_to_zero(training, stage):
    """After epoch e of 3, (1 - e / 3)^0.9 of the first: (2/3)^.9 = .694248, (1/3)^.9 = .372041, 0."""
    _, _, rates = training(stage, "rates")
    assert [rates[e] / 1e-3 for e in (1, 2, 3)] == pytest.approx([0.694248, 0.372041, 0.0], abs=1e-5)


def test_a_process_that_was_killed_outright_is_resumed(training, tmp_path):
    """No `finally` ran: run.json still says running, and a half-written file lies about."""
    with pytest.raises(Killed):
        training("train", "cut", 2)
    content = Manifest(tmp_path / "cut").content
    record = content["stages"]["train"]
    content["stages"]["train"] = {k: v for k, v in record.items() if k not in ("ended", "seconds", "output")}
    content["stages"]["train"]["status"] = "running"
    Manifest(tmp_path / "cut").set(**content)
    (tmp_path / "cut" / "segmenter" / ".0123abcd..resume.pt").write_bytes(b"half")
    *_, rates = training("train", "cut")
    assert list(rates) == [3] and Manifest(tmp_path / "cut").stage("train")["status"] == "done"


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"train_learning_rate": 0.002}, {}),  # another config: its epochs must not be mixed with these
        ({}, {"from_stage": "train"}),  # asked for anew
    ],
)
def test_what_must_start_anew_starts_anew(training, settings, options):
    with pytest.raises(Killed):
        training("train", "cut", 2)
    run, (state,), rates = training("train", "cut", settings=settings, **options)
    assert list(rates) == [1, 2, 3]
    _, (fresh,), _ = training("train", "fresh", settings=settings)
    assert equal(state, fresh) and (run / "segmenter" / "model.pt").exists()


def test_an_epoch_of_which_no_record_tells_is_not_gone_on_from(training, tmp_path):
    """run.json was removed, as the message on a broken one advises."""
    with pytest.raises(Killed):
        training("classify", "cut", 2)
    (tmp_path / "cut" / "run.json").unlink()
    *_, rates = training("classify", "cut", settings={"classify_learning_rate": 0.002})
    assert list(rates) == [1, 2, 3]


def test_a_failed_stage_is_recorded_as_failed(training, tmp_path):
    with pytest.raises(Killed):
        training("train", "cut", 1)
    record = Manifest(tmp_path / "cut").stage("train")
    assert record["status"] == "failed" and record["ended"] and "summary" not in record
