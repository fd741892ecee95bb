"""The hyperparameters of the tied deconvolution: Kim and Hwang 2016, section 4.2 and Tables 1 and 2."""

from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from monai_wsss.errors import InputError
from monai_wsss.workflow import Pipeline
from monai_wsss.workflow.bundle_config import config_files

BUNDLE = Path(__file__).parents[2] / "bundles" / "cxr_tuberculosis_deconv"
CONFIGS = BUNDLE / "configs"
LOADED = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.glob("*.yaml"))}


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        ("classify", "size", [320, 320]),
        ("classify", "hidden_units", 2048),
        ("classify", "classify_epochs", 50),
        ("classify", "classify_learning_rate", 0.01),
        ("classify", "classify_step_epochs", 20),
        ("classify", "classify_step_factor", 0.5),
        ("classify", "classify_optimizer", "sgd"),
        ("classify", "classify_batch_size", 16),
        ("train", "encoder_name", "tuberculosis"),
        ("train", "baseline_epochs", 50),
        ("train", "baseline_learning_rate", 0.002),
        ("train", "baseline_step_epochs", 20),
        ("train", "baseline_step_factor", 0.5),
        ("train", "deconv_epochs", 10),
        ("train", "deconv_learning_rate", 0.001),
        ("train", "train_optimizer", "sgd"),
        ("train", "train_batch_size", 16),
        ("train", "sharpness", 5.0),
        ("train", "tied", True),
        ("train", "activation", "relu"),
        ("train", "deconv_stages", 3),
        ("voc", "size", [224, 224]),
        ("voc", "encoder_name", "vgg16"),
        ("voc", "activation", "softmax"),
        ("voc", "deconv_training", "end_to_end"),
        ("voc", "deconv_trains", "tied"),
        ("voc", "baseline_learning_rate", 0.001),
        ("voc", "baseline_epochs", 10),
        ("small", "network_width", 0.25),
        ("small", "size", [128, 128]),
    ],
)
def test_value(config, name, value):
    assert LOADED[config][name] == value and type(LOADED[config][name]) is type(value)


@pytest.mark.parametrize(("overlay", "resized", "cropped"), [(None, 340, 320), ("voc", 256, 224), ("small", 136, 128)])
def test_augmentation_is_the_papers_crop(overlay, resized, cropped):
    """A window of `cropped` pixels out of `resized`, seen on a grid of `cropped`: its scale, and how far it moves."""
    values = LOADED["train"] | (LOADED[overlay] if overlay else {})
    assert values["size"][0] == cropped
    assert values["crop_scale"] == pytest.approx(cropped / resized - 1, abs=1e-3)
    assert values["crop_shift"] == pytest.approx((resized - cropped) / 2 * cropped / resized, abs=0.06)


@pytest.mark.parametrize(
    ("trained", "stages", "expected"),
    [
        (None, 3, (10, 0.001, 1.0, 3)),
        (0, 3, (50, 0.002, 0.5, 0)),
        (1, 3, (10, 0.001, 1.0, 1)),
        (None, 0, (50, 0.002, 0.5, 0)),
    ],
)
def test_schedule_of_a_stage(trained, stages, expected):
    parser = ConfigParser(dict(LOADED["train"]) | {"trained_stage": trained, "deconv_stages": stages})
    names = ("train_epochs", "train_learning_rate", "train_step_factor", "network_stages")
    assert tuple(parser.get_parsed_content(name) for name in names) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["classify", "baseline", "deconv1", "deconv2", "train", "infer", "evaluate"]),
        ({"deconv_stages": 2}, ["classify", "baseline", "deconv1", "train", "infer", "evaluate"]),
        ({"deconv_stages": 1}, ["classify", "baseline", "train", "infer", "evaluate"]),
        ({"deconv_stages": 0}, ["classify", "train", "infer", "evaluate"]),
        ({"deconv_training": "end_to_end"}, ["train", "infer", "evaluate"]),
    ],
)
def test_stages_that_a_choice_leaves(values, expected, tmp_path):
    pipeline = Pipeline(str(BUNDLE), str(tmp_path), str(tmp_path / "run"), overrides=values)
    assert [stage["name"] for stage in pipeline.stages] == expected


@pytest.mark.parametrize(("name", "number"), [("baseline", 0), ("deconv1", 1), ("deconv2", 2)])
def test_an_earlier_stage_is_train_yaml_with_its_number(name, number):
    (stage,) = [stage for stage in LOADED["pipeline"]["stages"] if stage["name"] == name]
    assert config_files(stage) == ["train.yaml", f"{name}.yaml"]
    assert LOADED[name] == {"trained_stage": number}


@pytest.mark.parametrize("name", ["baseline", "deconv1", "deconv2"])
def test_an_earlier_stage_is_no_overlay(name, tmp_path):
    with pytest.raises(InputError, match=f"no overlay '{name}'; it has mri, multi_gpu, small, voc"):
        Pipeline(str(BUNDLE), str(tmp_path), str(tmp_path / "run"), overlays=[name])


def test_the_number_of_a_stage_cannot_be_set_for_all(tmp_path):
    with pytest.raises(InputError, match="--set trained_stage: the pipeline sets it for each stage"):
        Pipeline(str(BUNDLE), str(tmp_path), str(tmp_path / "run"), overrides={"trained_stage": 1})
