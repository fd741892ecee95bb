"""run.json and the hashes that decide what is run again."""

import json

import pytest
import torch

from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import config_hash
from monai_wsss.workflow.manifest import Manifest, folder_hash, versions

CPU = torch.device("cpu")


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def done(tmp_path):
    """A stage that ended well with config c, inputs i and one output file."""
    manifest, output = Manifest(tmp_path), write(tmp_path / "out", a="1")
    manifest.begin("seed", "c", {"i": "1"}, 3, CPU)
    manifest.end("seed", "done", 1.234, output=folder_hash(output), summary={"slices": 2})
    return tmp_path


def finished(folder, config="c", inputs=None, name="seed"):
    return Manifest(folder).finished(name, config, inputs or {"i": "1"}, folder / "out")


def test_same_config_inputs_and_output_is_finished(done):
    assert finished(done)


@pytest.mark.parametrize(
    "change", [{"config": "d"}, {"inputs": {"i": "2"}}, {"inputs": {"i": "1", "j": "1"}}, {"name": "refine"}]
)
def test_another_config_input_or_stage_is_not(done, change):
    assert not finished(done, **change)


@pytest.mark.parametrize("change", [{"a": "2"}, {"b": ""}, {"sub__a": "1"}])
def test_a_changed_output_is_not(done, change):
    write(done / "out", **change)
    assert not finished(done)


def test_a_removed_output_is_not(done):
    (done / "out" / "a").unlink()
    assert not finished(done)
    (done / "out").rmdir()
    assert not finished(done)


@pytest.mark.parametrize(("status", "expected"), [("done", True), ("skipped", True), ("failed", False)])
def test_status_decides(tmp_path, status, expected):
    manifest, output = Manifest(tmp_path), write(tmp_path / "out", a="1")
    manifest.begin("seed", "c", {"i": "1"}, 0, CPU)
    assert not finished(tmp_path)  # still running, or killed
    manifest.end("seed", status, 0.0, output=folder_hash(output))
    assert finished(tmp_path) is expected


def test_record_holds_what_the_run_was(done):
    record = json.loads((done / "run.json").read_text())["stages"]["seed"]
    assert {"config": "c", "inputs": {"i": "1"}, "seed": 3, "device": "cpu", "status": "done"}.items() <= record.items()
    assert record["threads"] == torch.get_num_threads() and record["seconds"] == 1.23
    assert record["versions"] == versions() and record["versions"]["torch"] == torch.__version__
    assert record["started"] <= record["ended"] and record["summary"] == {"slices": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 1, "sta', "not readable as JSON"),
        ("", "not readable as JSON"),
        ('{"version": 2, "stages": {}}', "another version"),
        ("[]", "another version"),
        ("{}", "another version"),
    ],
)
def test_a_broken_manifest_says_so_in_one_line(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        Manifest(tmp_path)
    assert str(tmp_path / "run.json") in str(raised.value) and "\n" not in str(raised.value)


def test_bytes_that_are_no_text_say_so_too(tmp_path):
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not readable"):
        Manifest(tmp_path)


def test_folder_hash_is_of_names_and_bytes(tmp_path):
    one = folder_hash(write(tmp_path / "1" / "x", a="1", b__c="2"))
    assert one == folder_hash(write(tmp_path / "2" / "x", b__c="2", a="1"))
    others = [{"a": "1"}, {"a": "1", "b__d": "2"}, {"a": "2", "b__c": "2"}, {"a": "1x/b/c2"}]
    assert len({one, *(folder_hash(write(tmp_path / f"o{i}" / "x", **o)) for i, o in enumerate(others))}) == 5


def test_folder_hash_leaves_out_hidden_files_and_knows_absence(tmp_path):
    folder = write(tmp_path / "x", a="1")
    before = folder_hash(folder)
    assert folder_hash(write(folder, **{".resume.pt": "half"})) == before
    assert folder_hash(tmp_path / "none") is None
    assert folder_hash(folder / "a") != before and folder_hash(folder / "a") is not None


def test_config_hash_knows_values_but_no_places():
    config = {"epochs": 3, "threshold": 0.35, "output_dir": "/a", "device": "cpu", "_meta_": {}}
    moved = {"threshold": 0.35, "epochs": 3, "output_dir": "/b", "dataset_dir": "/c", "device": "cuda"}
    assert config_hash(config) == config_hash(moved)
    assert config_hash(config) != config_hash(config | {"threshold": 0.36})
    assert config_hash(config) != config_hash(config | {"more": 1})
