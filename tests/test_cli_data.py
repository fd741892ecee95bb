"""The commands around a run: prepare, infer, export, evaluate."""

import csv
import json
import shutil

import numpy as np
import pytest
from siim_acr_files import write_siim_acr

from monai_wsss.data import stem_of


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
