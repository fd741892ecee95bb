"""The command line: what it says, and how it ends."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from siim_acr_files import write_siim_acr
from typer.testing import CliRunner

from monai_wsss import cli
from monai_wsss.cli import app, parse_settings
from monai_wsss.data import stem_of
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


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `monai-wsss ...` in this process; returns the exit code and the lines of both streams."""
    monkeypatch.setattr(cli, "set_up_logging", lambda: None)  # logging stays pytest's

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["monai-wsss", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        streams = capsys.readouterr()
        return ended.value.code or 0, streams.out.splitlines(), streams.err.splitlines()

    return run


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
        (["--set", "classifier_depth=19"], "depth must be one of [18, 34, 50, 101], got 19"),
        (["--set", "up_kernel=5"], "up_kernel"),
        (["--set", "positive_share=2"], "positive_share must lie between 0 and 1, got 2"),
        (["--set", "labels=[a, b]"], "1 classes, the bundle has 2"),
        (["--overlay", "tiny"], "no overlay 'tiny'; it has multi_gpu, small"),
        (["--overlay", "multi_gpu"], "start with `torchrun --nproc_per_node=N -m monai_wsss run ...`"),
        (["--device", "gpu"], "device 'gpu': not a device; use auto, cpu, cuda or cuda:N"),
        (["--from", "trian"], "no stage 'trian'; "),
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


def test_prepare_reads_a_public_data_set_as_it_is_distributed(command, tmp_path):
    write_siim_acr(tmp_path)
    where = (tmp_path / "dicom-images-train", "--out", tmp_path / "out", "--format", "siim-acr")
    code, _, err = command("prepare", *where)
    assert code == 2
    assert err == ["error: --format siim-acr: give the data set's table of run-length codes, --labels train-rle.csv"]
    code, out, err = command("prepare", *where, "--labels", tmp_path / "train-rle.csv", "--split", "0.6,0.2,0.2")
    assert code == 0, err
    assert out[0].startswith("Prepared 7 cases (7 slices) of 7 patients")
    assert "Class pneumothorax: 3 positive, 4 negative, 0 unknown cases." in out
    assert "1 row without a file: line 11." in out
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    cases = [case for split in ("training", "validation", "test") for case in dataset[split]]
    assert sum("truth" in case for case in cases) == 6  # the seventh mask cannot be read


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "error: --labels: give the table of labels; only some formats bring their own (--format)"),
        (("--format", "siim"), "error: --format siim: unknown; choose one of table, siim-acr, voc"),
        (("--format", "siim-acr", "--classes", "a,b"), "error: --classes: is fixed by --format siim-acr; leave it out"),
    ],
)
def test_formats_that_cannot_be_read_end_in_one_line(command, tmp_path, options, words):
    code, out, err = command("prepare", tmp_path, "--out", tmp_path / "out", *options)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(words)
    assert not (tmp_path / "out").exists()


def test_infer_ends_with_0_when_all_is_done(command, whole, tmp_path):
    code, out, _ = command("infer", whole.run, whole.study / "images", "--out", tmp_path)
    assert code == 0
    assert out == [f"9 masks in {tmp_path}; statistics: {tmp_path}/statistics.csv"]
    assert len(list(tmp_path.glob("*.nii.gz"))) == 9


def test_infer_ends_with_1_when_a_case_is_skipped(command, whole, tmp_path, write_volume):
    images = shutil.copytree(whole.study / "images", tmp_path / "images")
    first, second, third, *others = sorted(images.iterdir())
    first.write_bytes(first.read_bytes()[:-20])
    write_volume(second, np.full((28, 32, 4), np.nan, np.float32))
    for path in others:
        path.unlink()
    code, out, _ = command("infer", whole.run, images, "--out", tmp_path / "masks", "--keep-names")
    assert code == 1
    assert out[0].startswith("1 masks in ")
    assert out[1] == f"2 skipped, see {tmp_path}/masks/skipped.csv"
    assert (tmp_path / "masks" / third.name).exists()
    with (tmp_path / "masks" / "skipped.csv").open() as stream:
        assert {row["file"]: bool(row["reason"]) for row in csv.DictReader(stream)} == {
            stem_of(first): True,
            stem_of(second): True,
        }


def test_infer_where_nothing_can_be_read(command, whole, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.nii.gz").write_bytes(b"no gzip")
    code, out, _ = command("infer", whole.run, tmp_path / "images", "--out", tmp_path / "masks")
    assert code == 1
    assert out[0].startswith("0 masks in ")


def test_infer_never_touches_the_volumes(command, whole, tmp_path, files_of):
    images = shutil.copytree(whole.study / "images", tmp_path / "images")
    before = files_of(images)
    for source in (images, next(images.iterdir())):
        code, _, err = command("infer", whole.run, source, "--out", images)
        assert code == 2
        assert "choose another --out folder" in err[0]
    assert files_of(images) == before


def test_masks_below_the_volumes_are_no_volumes_the_next_time(command, whole, tmp_path):
    images = shutil.copytree(whole.study / "images", tmp_path / "images")
    for _ in range(2):
        code, out, _ = command("infer", whole.run, images, "--out", images / "masks")
        assert code == 0
        assert out[0].startswith("9 masks in ")


@pytest.mark.parametrize(
    ("run", "images", "words"),
    [
        ("empty", "images", "neither a run folder nor a bundle"),
        ("unfinished", "images", "no such weights; train first"),
        ("broken", "images", "segmenter/model.pt: broken, or weights of another network"),
        ("run", "nowhere", "nowhere: no such file or folder"),
        ("run", "empty", "no NIfTI file (.nii, .nii.gz) in it"),
    ],
)
def test_infer_ends_with_2_on_wrong_folders(command, whole, tmp_path, run, images, words):
    (tmp_path / "empty").mkdir()
    folders = {"run": whole.run, "images": whole.study / "images", "nowhere": tmp_path / "nowhere"}
    folders["empty"] = tmp_path / "empty"
    if run in ("unfinished", "broken"):
        folders[run] = shutil.copytree(whole.run, tmp_path / run)
        weights = folders[run] / "segmenter" / "model.pt"
        weights.write_bytes(weights.read_bytes()[:1000]) if run == "broken" else weights.unlink()
    code, out, err = command("infer", folders[run], folders[images], "--out", tmp_path / "masks")
    assert (code, out) == (2, [])
    (line,) = [line for line in err if not line.startswith("20")]
    assert words in line


def test_export_then_infer_gives_what_the_run_gives(command, whole, tmp_path, files_of):
    assert command("export", whole.run, "--out", tmp_path / "bundle")[0] == 0
    one = sorted((whole.study / "images").iterdir())[0]
    for source, out in ((whole.run, "a"), (tmp_path / "bundle", "b")):
        code, _, err = command("infer", source, one, "--out", tmp_path / out, "--keep-names")
        assert code == 0, err
    found, expected = files_of(tmp_path / "b"), files_of(tmp_path / "a")
    assert found["statistics.csv"] == expected["statistics.csv"]
    assert found["slices.csv"] == expected["slices.csv"]
    assert found.keys() == expected.keys()


def test_export_ends_with_2_where_it_would_spoil_something(command, whole, tmp_path, files_of):
    before = files_of(whole.bundle)
    for run, out in ((tmp_path, tmp_path / "out"), (whole.run, whole.bundle), (whole.run, whole.study)):
        code, _, err = command("export", run, "--out", out)
        assert code == 2
        assert len(err) == 1
    assert files_of(whole.bundle) == before


def test_evaluate_scores_and_counts(command, whole, tmp_path):
    out = tmp_path / "scores.json"
    code, lines, _ = command(
        "evaluate", "--pred", whole.study / "masks", "--truth", whole.study / "masks", "--out", out
    )
    assert code == 0
    assert lines[-1] == f"wrote {out}"
    scores = json.loads(out.read_text())
    assert scores["patients"]["dice"]["mean"] == 1  # the truth against itself
    assert scores["counts"]["cases"] == 9


def test_evaluate_ends_with_1_where_a_prediction_is_missing(command, whole, tmp_path):
    pred = shutil.copytree(whole.study / "masks", tmp_path / "pred")
    sorted(pred.iterdir())[0].unlink()
    code, _, _ = command("evaluate", "--pred", pred, "--truth", whole.study / "masks", "--out", tmp_path / "s.json")
    assert code == 1
    assert json.loads((tmp_path / "s.json").read_text())["counts"]["missing"] == 1


def test_evaluate_ends_with_2_on_a_missing_folder(command, whole, tmp_path):
    code, _, err = command("evaluate", "--pred", tmp_path / "no", "--truth", whole.study / "masks", "--out", tmp_path)
    assert code == 2
    assert len(err) == 1
    assert f"{tmp_path}/no" in err[0]


def test_prepare_reports_and_says_what_comes_next(command, whole, tmp_path):
    study = whole.study
    code, out, _ = command("prepare", study / "images", "--labels", study / "labels.csv", "--out", tmp_path / "data")
    assert code == 0
    assert out[0].startswith("Prepared 9 cases (36 slices) of 9 patients in ")
    assert f"monai-wsss run BUNDLE --data {tmp_path}/data --out RUN" in out[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "a,b"], "--split a,b: give three shares such as 0.7,0.1,0.2"),
        (["--split", "0.7,0.1,0.2", "--split-column", "split"], "not both"),
        (["--classes", "tumour"], "tumour"),
        (["--split-column", "fold"], "fold"),
    ],
)
def test_prepare_ends_with_2_on_bad_options(command, whole, tmp_path, arguments, words):
    study = whole.study
    code, out, err = command(
        "prepare", study / "images", "--labels", study / "labels.csv", "--out", tmp_path / "data", *arguments
    )
    assert (code, out) == (2, [])
    assert len(err) == 1
    assert words in err[0]


def test_prepare_ends_with_1_where_a_file_is_skipped(command, whole, tmp_path):
    images = shutil.copytree(whole.study / "images", tmp_path / "images")
    first = sorted(images.iterdir())[0]
    first.write_bytes(b"no gzip")
    labels = whole.study / "labels.csv"
    code, out, _ = command("prepare", images, "--labels", labels, "--out", tmp_path / "data", "--keep-names")
    assert code == 1
    assert any(line.startswith("1 file or case skipped: ") and first.name in line for line in out)
