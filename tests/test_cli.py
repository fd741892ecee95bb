"""The command line: what it says, and how it ends."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from monai_wsss import cli
from monai_wsss.cli import app, parse_settings
from monai_wsss.errors import InputError

OPTIONS = {
    "scan": ["--json", "--data", "--keep-names", "--workers"],
    "prepare": [
        *("--labels", "--out", "--classes", "--series", "--blank", "--uncertain", "--slice-key", "--split"),
        *(
            "--split-column",
            "--group-column",
            "--leave-out-site",
            "--temporal",
            "--seed",
            "--masks",
            "--resample",
            "--voi",
        ),
        *("--keep-names", "--mapping", "--format"),
    ],
    "run": ["--data", "--out", "--overlay", "--device", "--set", "--from", "--until", "--tracking"],
    "infer": ["--out", "--series", "--data", "--keep-names", "--mapping", "--device"],
    "evaluate": ["--pred", "--truth", "--out", "--data"],
    "export": ["--out"],
    "forget": ["--data", "--runs", "--mapping", "--delete-from-runs"],
    "demo": ["--out", "--bundle"],
}


def in_a_process(*arguments, cwd=None):
    command = [sys.executable, "-m", "monai_wsss", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment, check=False)


@pytest.mark.parametrize("name", OPTIONS)
def test_help_tells_of_every_option(name):
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    for option in OPTIONS[name]:
        line = next(line for line in result.output.splitlines() if line.strip().startswith(option + " "))
        assert len(line.split()) > 3, f"{option} is not explained"


def test_help_tells_of_every_command_and_exit_code():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for name in OPTIONS:
        assert f"\n  {name} " in result.output
    assert {command.name or command.callback.__name__ for command in app.registered_commands} == set(OPTIONS)
    assert "Exit codes: 0" in result.output


def test_help_waits_for_no_library():
    code = "import sys; import monai_wsss.cli; print({'torch', 'monai', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("train_epochs=40", "train_epochs", 40),
        ("rate=1e-3", "rate", 0.001),  # YAML 1.1 alone reads text here
        ("size=[64, 64]", "size", [64, 64]),
        ("rates=[1e-3, 2]", "rates", [0.001, 2]),
        ("flips=true", "flips", True),
        ("positive_share=null", "positive_share", None),
        ("segmenter=unet", "segmenter", "unet"),
        ("uri=sqlite:///a=b.db", "uri", "sqlite:///a=b.db"),  # only the first = parts
        (" spaced =1", "spaced", 1),
        ("label=nan", "label", "nan"),  # a name, never a number that is none
    ],
)
def test_settings_are_read_as_yaml(text, name, value):
    found = parse_settings([text])
    assert found == {name: value}
    assert type(found[name]) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train_epochs", "give id=value"),
        ("=3", "give id=value"),
        ("size=[64", "the value is not YAML; lists are written [a, b]"),
    ],
)
def test_settings_that_are_none(text, words):
    with pytest.raises(InputError) as error:
        parse_settings([text])
    assert words in str(error.value)
    assert text in str(error.value)


def test_the_later_of_two_settings_wins():
    assert parse_settings(["seed=1", "seed=2"]) == {"seed": 2}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "clasify_epochs=3"], "unknown id 'clasify_epochs' (did you mean 'classify_epochs'?)"),
        (["--set", "train#trainer#max_epochs=3"], "'train#trainer#max_epochs' is nested; only top-level ids can be"),
        (["--set", "train={}"], "id 'train' is not a value on one line of its config; set the ids it is made of"),
        (["--set", "stage=x"], "id 'stage' is not a value on one line"),
        (["--set", "classify_epochs=abc"], "--set classify_epochs=abc: give a whole number, such as "),
        (["--set", "classify_epochs=1.5"], "--set classify_epochs=1.5: give a whole number, such as "),
        (["--set", "classify_epochs=0"], "--set classify_epochs=0: too small"),
        (["--set", "classify_epochs=true"], "--set classify_epochs=True: give a whole number"),
        (["--set", "train_learning_rate=-1"], "--set train_learning_rate=-1: too small"),
        (["--set", "threshold=low"], "--set threshold=low: give a number, such as 0.35"),
        (["--set", "size=64"], "--set size=64: give a list, such as [256, 256]"),
        (["--set", "size=[64, wide]"], "give a whole number, such as 256"),
        (["--set", "flips=2"], "--set flips=2: give true or false"),
        (["--set", "segmenter=3"], "--set segmenter=3: give text, such as mixed_unet"),
        (["--set", "segmenter=foo"], "segmenter must be one of mixed_unet, unet, "),
        (["--set", "classifier_name=resnet19"], "classifier must be one of "),
        (["--set", "up_kernel=5"], "up_kernel"),
        (["--set", "positive_share=2"], "positive_share must lie between 0 and 1, got 2"),
        (["--set", "labels=[a, b]"], "1 classes, the bundle has 2"),
        (["--overlay", "tiny"], "no overlay 'tiny'; it has multi_gpu, small"),
        (["--overlay", "multi_gpu"], "start with `torchrun --nproc_per_node=N -m monai_wsss run ...`"),
        (["--device", "gpu"], "device 'gpu': not a device; use auto, cpu, cuda or cuda:N"),
        (["--from", "trian"], "no stage 'trian'; "),
        (["--from", "walk"], "no stage 'walk'; "),  # of another choice
        (["--set", "refine=snakes"], "refine must be one of none, crf, irnet, bes, got snakes"),
        (["--from", "train", "--until", "seed"], "--from train comes after --until seed"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_bad_settings_end_in_one_line_and_leave_the_run_as_it_was(command, whole, tmp_path, arguments, words, files_of):
    run = tmp_path / "run"
    shutil.copytree(whole.run / "bundle", run / "bundle")
    before = files_of(run / "bundle")
    code, out, err = command("run", whole.bundle, "--data", whole.data, "--out", run, "--tracking", "none", *arguments)
    assert (code, out) == (2, [])
    (line,) = [line for line in err if not line.startswith("20")]  # MONAI's own line of logging
    assert line.startswith("error: ")
    assert words in line
    if "labels" not in arguments[-1] and "positive_share" not in arguments[-1]:
        assert files_of(run / "bundle") == before  # a finished run's copy still works


def test_the_gpu_that_is_not_there_is_noticed_before_any_stage(command, whole, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, err = command("run", whole.bundle, "--data", whole.data, "--out", tmp_path / "run", "--device", "cuda")
    assert code == 2
    assert err == ["error: device 'cuda': no CUDA device is available here; use cpu or auto"]
    assert not (tmp_path / "run").exists()


def test_a_tracking_address_that_is_none_ends_in_one_line(command, whole, tmp_path):
    pytest.importorskip("mlflow")
    options = ("--tracking", "foo://bar", "--set", "pixel_spacing=4", "--set", "size=[32, 32]")
    code, out, err = command("run", whole.bundle, "--data", whole.data, "--out", tmp_path / "run", *options)
    assert (code, out) == (2, [])
    assert err[-1].startswith("error: tracking 'foo://bar': ")
    assert "Traceback" not in "".join(err)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stages"]["classify"]["status"] == "failed"


@pytest.mark.parametrize(
    ("bundle", "data", "words"),
    [
        ("nowhere", "data", "nowhere: not a bundle with a pipeline"),
        ("bundle", "nowhere", "nowhere: no such data folder; make one with `monai-wsss prepare`"),
        ("bundle", "study", "dataset.json: not found; prepare the data first"),
    ],
)
def test_wrong_folders_end_in_one_line(command, whole, tmp_path, bundle, data, words):
    folders = {"bundle": whole.bundle, "data": whole.data, "study": whole.study, "nowhere": tmp_path / "nowhere"}
    code, _, err = command("run", folders[bundle], "--data", folders[data], "--out", tmp_path / "run")
    assert code == 2
    assert len(err) == 1
    assert words in err[0]


def test_a_folder_that_cannot_be_written_ends_in_one_line(command, whole, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = command("run", whole.bundle, "--data", whole.data, "--out", tmp_path / "file" / "run")
    assert code == 2
    assert len(err) == 1
    assert err[0].startswith(f"error: {tmp_path}/file/run")
    assert err[0].endswith(": Not a directory")


def test_one_line_whatever_is_logged(whole, tmp_path):
    """A mistake that only the first stage notices, in a process of its own: MONAI has logged by then."""
    done = in_a_process(
        *("run", whole.bundle, "--data", whole.data, "--out", tmp_path / "run", "--set", "labels=[a, b]")
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")


def test_run_tells_what_it_does_and_where_things_are(whole, tmp_path, command):
    """A second call on a finished run, from the run's own copy of the bundle: nothing is left to do."""
    run = shutil.copytree(whole.run, tmp_path / "run")
    code, out, err = command("run", run / "bundle", "--data", whole.data, "--out", run, "--tracking", "none")
    assert code == 0, err
    stages = ["classify", "seed", "refine", "train", "infer", "evaluate"]
    assert [line.split(":")[0] for line in out[:6]] == stages
    assert all(": done in " in line for line in out[:6])
    assert out[6:] == [f"masks: {run}/predictions", f"scores: {run}/evaluation/scores.json"]


def test_run_ends_with_1_when_a_case_is_skipped(whole, tmp_path, command, monkeypatch):
    from monai_wsss.workflow import Pipeline

    record = {"status": "done", "seconds": 2.0, "summary": {"cases": 4, "skipped": 1}}
    monkeypatch.setattr(Pipeline, "run", lambda self: {"infer": record})
    code, out, _ = command("run", whole.bundle, "--data", whole.data, "--out", tmp_path)
    assert code == 1
    assert out == [
        "infer: done in 2 s; cases 4, skipped 1",
        f"1 skipped, see {tmp_path}/predictions/skipped.csv",
    ]


def test_bundles_are_found_by_name(whole, monkeypatch):
    monkeypatch.chdir(whole.bundle.parents[1])
    assert cli._find_bundle(cli.Path(whole.bundle.name)) == cli.Path("bundles") / whole.bundle.name
    assert cli._find_bundle(whole.bundle) == whole.bundle
    assert cli._find_bundle(cli.Path("nowhere")) == cli.Path("nowhere")
