"""Stages with conditions: which run, who chooses, and what a changed choice leaves behind."""

import shutil
from pathlib import Path

import pytest
import yaml
from monai.bundle import run as monai_bundle_run
from tiny_bundles import BES_BUNDLE, BUNDLE, CHOICE_SETTINGS, DSRG_BUNDLE, FILM_BUNDLE

from monai_wsss.data import input_error
from monai_wsss.errors import InputError
from monai_wsss.workflow import Pipeline
from monai_wsss.workflow.export import export_bundle, model_card
from monai_wsss.workflow.manifest import Manifest
from monai_wsss.workflow.pipeline import applying_stages

HEAD, TAIL = ["classify", "seed"], ["train", "infer", "evaluate"]
REFINING = {
    "none": ["refine"],
    "crf": ["refine"],
    "irnet": ["confident", "irnet", "walk"],
    "bes": ["confident", "bes", "walk"],
}
GROWING = {"static": [], "dsrg": ["dsrg", "relabel"]}


def names(stages):
    return [stage["name"] for stage in stages]


def pipeline(bundle=BUNDLE, **options):
    return Pipeline(str(bundle), "data", "run", **options)


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"a": "x", "b": "u"}, ["always", "one", "list", "both"]),
        ({"a": "y", "b": "u"}, ["always", "list"]),
        ({"a": "x", "b": "v"}, ["always", "one", "list"]),
        ({"a": "z", "b": "u"}, ["always"]),
        ({}, ["always"]),
    ],
)
def test_conditions(choices, expected):
    stages = [
        {"name": "always", "config": "0.yaml"},
        {"name": "one", "config": "1.yaml", "a": "x"},
        {"name": "list", "config": "2.yaml", "a": ["x", "y"]},
        {"name": "both", "config": "3.yaml", "a": "x", "b": ["u", "w"]},
    ]
    assert names(applying_stages(stages, choices)) == expected


@pytest.mark.parametrize("bundle", [BUNDLE, FILM_BUNDLE, DSRG_BUNDLE, BES_BUNDLE], ids=lambda path: path.name)
@pytest.mark.parametrize("supervision", GROWING)
@pytest.mark.parametrize("refine", REFINING)
def test_every_bundle_has_every_choice(bundle, refine, supervision):
    made = pipeline(bundle, overrides={"refine": refine, "supervision": supervision})
    assert names(made.stages) == [*HEAD, *REFINING[refine], *GROWING[supervision], *TAIL]


def test_an_overlay_chooses_and_an_override_wins(tmp_path):
    bundle = shutil.copytree(BUNDLE, tmp_path / "bundle")
    (bundle / "configs" / "mine.yaml").write_text("refine: irnet\nsupervision: dsrg\n")
    chosen = [*HEAD, *REFINING["irnet"], *GROWING["dsrg"], *TAIL]
    assert names(pipeline(bundle, overlays=["mine"]).stages) == chosen
    made = pipeline(bundle, overlays=["mine"], overrides={"refine": "none"})
    assert names(made.stages) == [*HEAD, *REFINING["none"], *GROWING["dsrg"], *TAIL]
    assert names(pipeline(bundle, overlays=["small"]).stages) == [*HEAD, *REFINING["crf"], *TAIL]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"refine": "bess"}, "refine must be one of none, crf, irnet, bes, got bess"),
        ({"refine": ["bes"]}, r"refine must be one of none, crf, irnet, bes, got \['bes'\]"),
        ({"refine": None}, "refine must be one of none, crf, irnet, bes, got None"),
        ({"supervision": "growing"}, "supervision must be one of static, dsrg, got growing"),
        ({"supervision": False}, "supervision must be one of static, dsrg, got False"),
        ({"refine": "BES"}, "got BES"),
    ],
)
def test_an_unknown_choice_is_one_line_before_anything_is_written(whole, run_pipeline, tmp_path, values, message):
    with pytest.raises(InputError, match=message) as raised:
        run_pipeline(whole.data, tmp_path / "run", values)
    assert "\n" not in str(raised.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["from_stage", "until_stage"])
def test_from_and_until_know_the_stages_of_the_choice_alone(option):
    with pytest.raises(InputError, match="no stage 'walk'; brain_mri_lesion_mixed_unet has classify, seed, refine, tr"):
        pipeline(**{option: "walk"})
    message = "no stage 'refine'; brain_mri_lesion_mixed_unet has classify, seed, confident, bes, walk, train"
    with pytest.raises(InputError, match=message):
        pipeline(overrides={"refine": "bes"}, **{option: "refine"})
    assert pipeline(overrides={"supervision": "dsrg"}, until_stage="relabel").wanted[-1] == "relabel"


def test_the_command_line_of_monai_chooses(monkeypatch):
    """`python -m monai.bundle run --config_file pipeline.yaml --refine bes`: a choice is an id of that config."""
    seen = []
    monkeypatch.setattr(Pipeline, "run", lambda self: seen.append((names(self.stages), self.overrides)))
    config = str(BUNDLE / "configs" / "pipeline.yaml")
    monai_bundle_run(config_file=config, logging_file=False, refine="bes", bes_epochs=1)
    assert seen.pop() == ([*HEAD, *REFINING["bes"], *TAIL], {"refine": "bes", "bes_epochs": 1})
    monai_bundle_run(config_file=config, logging_file=False, refine="crf", dataset_dir="d")  # as it is anyway
    assert seen.pop() == ([*HEAD, *REFINING["crf"], *TAIL], {})
    with pytest.raises((RuntimeError, ValueError)) as raised:
        monai_bundle_run(config_file=config, logging_file=False, supervision="bes")
    assert "supervision must be one of static, dsrg, got bes" in str(input_error(raised.value))


def test_the_frozen_bundle_carries_the_choice(whole, tmp_path):
    options = {"overrides": {"refine": "bes", "supervision": "dsrg"}}
    frozen = Pipeline(str(BUNDLE), str(whole.data), str(tmp_path / "run"), **options).freeze()
    for name in ("pipeline", "train", "dsrg", "walk"):
        config = yaml.safe_load((frozen / "configs" / f"{name}.yaml").read_text())
        assert config["refine"] == "bes" and config.get("supervision", "dsrg") == "dsrg"
    assert names(pipeline(frozen).stages) == [*HEAD, *REFINING["bes"], *GROWING["dsrg"], *TAIL]
    back = pipeline(frozen, overrides={"refine": "crf", "supervision": "static"})
    assert names(back.stages) == [*HEAD, *REFINING["crf"], *TAIL]


def files(folder):
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_changed_choice_and_back(whole, run_pipeline, tmp_path, files_of):
    """What the choice does not reach stays, what it reaches is made anew, and the way back ends in the same bytes."""
    run, settings = shutil.copytree(whole.run, tmp_path / "run"), CHOICE_SETTINGS | {"train_epochs": 1}

    def rerun(**choice):
        before = Manifest(run).content["stages"]
        records = run_pipeline(whole.data, run, settings | choice)
        assert {record["status"] for record in records.values()} == {"done"}
        return [name for name, record in records.items() if record != before.get(name)]

    assert rerun() == TAIL
    first = {folder: files_of(run / folder) for folder in ("pseudo_masks", "segmenter")}

    assert rerun(refine="bes") == [*REFINING["bes"], *TAIL]
    assert {name.split("/")[0] for name in files(run / "pseudo_masks")} == {"boundary", "maps", "walk", "preview.png"}
    assert "refine" not in Manifest(run).content["stages"]  # its folder is another stage's now
    export_bundle(run, tmp_path / "bes")
    assert names(pipeline(tmp_path / "bes").stages) == [*HEAD, *REFINING["bes"], *TAIL]
    card = (tmp_path / "bes" / "docs" / "README.md").read_text().split("## These weights")[1]
    assert "| walk |" in card and "| refine |" not in card and "Trained on masks made from image-level labels." in card

    assert rerun() == ["refine", *TAIL]
    assert {folder: files_of(run / folder) for folder in first} == first
    assert not (run / "evaluation" / "boundary_quality.json").exists()
    assert "bes" in Manifest(run).content["stages"]  # left behind, with its folder
    manifest = Manifest(run)
    manifest.content["stages"]["bes"]["status"] = "failed"  # tells nothing of the present weights
    manifest.content["stages"]["confident"]["output"] = "other"
    manifest.set()
    card = (export_bundle(run, tmp_path / "crf") / "docs" / "README.md").read_text().split("## These weights")[1]
    assert "| bes |" not in card and "| refine |" in card and model_card(manifest, run).endswith(card)


def test_a_choice_whose_stages_have_not_run_is_no_bundle(whole, run_pipeline, tmp_path):
    """The configs say bes, the weights are those of crf."""
    run = shutil.copytree(whole.run, tmp_path / "run")
    run_pipeline(whole.data, run, {"refine": "bes"}, until_stage="seed")
    with pytest.raises(InputError, match="stage confident has not run since a choice was changed; finish"):
        export_bundle(run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_run_without_its_own_bundle_is_no_bundle(whole, tmp_path):
    run = shutil.copytree(whole.run, tmp_path / "run", ignore=shutil.ignore_patterns("bundle"))
    with pytest.raises(
        InputError, match=r"bundle/configs/\w+\.yaml: not there; run the pipeline into this folder first"
    ):
        export_bundle(run, tmp_path / "bundle")
