"""All stages in order: what is run, what is skipped, what is refused."""

import json
import shutil

import pytest
import yaml

from monai_wsss.errors import InputError
from monai_wsss.workflow import Pipeline
from monai_wsss.workflow.manifest import Manifest

STAGES = ["classify", "seed", "refine", "train", "infer", "evaluate"]


@pytest.fixture
def fork(whole, tmp_path):
    """A copy of the whole run, to be changed."""
    return shutil.copytree(whole.run, tmp_path / "run")


@pytest.fixture
def rerun(whole, fork, run_pipeline):
    """Runs the copy again; returns the names of the stages that did run."""

    def again(settings=None, **options):
        before = Manifest(fork).content["stages"]
        records = run_pipeline(options.pop("data", whole.data), fork, settings, **options)
        # a stage that runs is recorded anew; one that is skipped hands back the record it has
        return [name for name, record in records.items() if record != before.get(name)]

    return again


def stamps(folder):
    """All files but the frozen bundle and run.json, with their times of change."""
    found = {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    return {name: time for name, time in found.items() if name != "run.json" and not name.startswith("bundle/")}


def test_stages_run_in_order_and_all_end_well(whole):
    assert list(whole.records) == list(Manifest(whole.run).content["stages"]) == STAGES
    assert all(record["status"] == "done" for record in whole.records.values())
    assert all(record["config"] and record["inputs"]["dataset"] for record in whole.records.values())
    assert whole.records["train"]["inputs"]["pseudo_masks"] == whole.records["refine"]["output"]


@pytest.mark.parametrize("folder", ["classifier", "seeds", "pseudo_masks", "segmenter", "predictions"])
def test_every_stage_that_sees_images_shows_the_same_slices(whole, folder):
    assert (whole.run / folder / "preview.png").stat().st_size > 0


def test_a_second_call_skips_everything(rerun, fork, files_of):
    times, bundle, before = stamps(fork), files_of(fork / "bundle"), Manifest(fork).content
    assert rerun() == []
    assert stamps(fork) == times and files_of(fork / "bundle") == bundle and Manifest(fork).content == before


def test_from_runs_a_stage_again_and_those_after_it(rerun, fork):
    times = stamps(fork)
    assert rerun(from_stage="infer") == ["infer", "evaluate"]
    changed = {name.split("/")[0] for name, time in stamps(fork).items() if times[name] != time}
    assert changed == {"predictions", "evaluation"}


def test_until_stops_there(whole, run_pipeline, tmp_path):
    assert list(run_pipeline(whole.data, tmp_path / "run", until_stage="seed")) == ["classify", "seed"]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["bundle", "classifier", "run.json", "seeds"]


def test_a_changed_setting_runs_what_it_reaches(rerun, fork):
    """The CRF's weight changes pseudo masks, and with them all that follows; classify and seed stay."""
    assert rerun({"threshold": 0.6}) == STAGES[2:]
    assert yaml.safe_load((fork / "bundle" / "configs" / "refine.yaml").read_text())["threshold"] == 0.6
    assert Manifest(fork).content["overrides"]["threshold"] == 0.6


def test_a_removed_or_spoilt_output_is_made_again(rerun, fork):
    (fork / "evaluation" / "scores.json").write_text("{}")
    assert rerun() == ["evaluate"]
    (fork / "predictions" / "statistics.csv").unlink()
    assert rerun() == ["infer"]  # and as the same bytes come out, evaluate is not run again


def test_a_killed_stage_is_run_again(rerun, fork):
    content = json.loads((fork / "run.json").read_text())
    content["stages"]["refine"]["status"] = "running"
    (fork / "run.json").write_text(json.dumps(content))
    assert rerun() == ["refine"]


def test_a_mended_truth_is_scored_again_and_trains_nothing(whole, rerun, write_study, prepare_study, tmp_path):
    study = shutil.copytree(whole.study, tmp_path / "study")
    data = prepare_study(study, tmp_path / "data")
    rerun(data=data)
    (study / "masks" / "HOSP007.nii.gz").write_bytes((study / "masks" / "HOSP008.nii.gz").read_bytes())
    assert rerun(data=data) == ["evaluate"]


def test_an_overlay_reaches_every_stage_and_settings_win(whole, tmp_path):
    options = {"overlays": ["small"], "overrides": {"train_epochs": 2}}
    bundle = Pipeline(str(whole.bundle), str(whole.data), str(tmp_path / "run"), **options).freeze()
    small = yaml.safe_load((whole.bundle / "configs" / "small.yaml").read_text()) | {"train_epochs": 2}
    seen = set()
    for path in (bundle / "configs").glob("*.yaml"):
        config = yaml.safe_load(path.read_text())
        for name in small.keys() & config.keys():
            assert config[name] == small[name], (path.name, name)
            seen.add(name)
    assert seen == set(small) and not (bundle / "configs" / "small.yaml").exists()


def test_a_run_goes_on_from_its_own_copy_of_the_bundle(rerun, fork):
    """Settings given there are written there, and those of before hold on."""
    before = Manifest(fork).content["overrides"]
    shutil.rmtree(fork / "evaluation")
    own = fork / "bundle"
    assert rerun(bundle=own) == ["evaluate"]
    assert rerun({"infer_gate_probability": 0.9}, bundle=own) in (["infer"], ["infer", "evaluate"])
    assert Manifest(fork).content["overrides"] == before | {"infer_gate_probability": 0.9}
    assert yaml.safe_load((own / "configs" / "inference.yaml").read_text())["infer_gate_probability"] == 0.9
    assert Manifest(fork).content["bundle"] == "brain_mri_lesion_mixed_unet"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_stage": "trian"}, "no stage 'trian'; .* has classify, seed, refine, train, infer, evaluate"),
        ({"until_stage": "segment"}, "no stage 'segment'"),
        ({"overlays": ["smal"]}, "no overlay 'smal'; it has multi_gpu, small"),
        ({"settings": {"train_epoch": 1}}, r"unknown id 'train_epoch' \(did you mean 'train_epochs'\?\)"),
        ({"settings": {"augmentation": 1}}, "augmentation"),
        ({"device": "gpu"}, "device 'gpu'"),
    ],
)
def test_what_the_bundle_does_not_have_is_refused_before_anything_runs(rerun, fork, files_of, options, message):
    before = files_of(fork)
    with pytest.raises(InputError, match=message) as raised:
        rerun(**options)
    assert "\n" not in str(raised.value)
    assert files_of(fork) == before


def test_folders_that_are_none_are_refused(whole, run_pipeline, tmp_path):
    with pytest.raises(InputError, match="no such data folder"):
        run_pipeline(tmp_path / "none", tmp_path / "run")
    with pytest.raises(InputError, match=r"dataset\.json: not found; prepare the data first"):
        run_pipeline(whole.study, tmp_path / "run")
    with pytest.raises(InputError, match="not a bundle with a pipeline"):
        run_pipeline(whole.data, tmp_path / "run", bundle=tmp_path)
    assert not (tmp_path / "run").exists()
