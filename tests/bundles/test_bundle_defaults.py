"""The hyperparameters of the Mixed-UNet bundle: the paper's values, the same in every config, each reachable."""

import math
import re
from pathlib import Path

import pytest
import yaml

from monai_wsss.workflow.bundle_freeze import write_value

CONFIGS = Path(__file__).parents[2] / "bundles" / "brain_mri_lesion_mixed_unet" / "configs"
LOADED = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.glob("*.yaml"))}
STAGES = {name: config for name, config in LOADED.items() if "run" in config}
OVERLAYS = {name: config for name, config in LOADED.items() if "run" not in config}


def is_value(value):
    """A hyperparameter or a place, not a component or a list of them."""
    return not isinstance(value, dict) and not (isinstance(value, list) and any(isinstance(v, dict) for v in value))


VALUES = [(stage, name) for stage, config in STAGES.items() for name, v in config.items() if is_value(v)]
VALUES = [(stage, name) for stage, name in VALUES if name not in ("run", "initialize", "handlers")]


@pytest.mark.parametrize(
    ("stage", "name", "value"),
    [
        ("classify", "classifier_depth", 50),  # Table I
        ("classify", "size", [256, 256]),
        ("classify", "classify_learning_rate", 1e-3),
        ("classify", "classify_weight_decay", 1e-4),
        ("classify", "poly_power", 0.9),
        ("seed", "scales", [0.5, 1.0, 1.5, 2.0]),  # IV-B
        ("seed", "flips", False),
        ("refine", "threshold", 0.35),  # Eq. 12, large lesions
        ("train", "segmenter", "mixed_unet"),
        ("train", "channels", [64, 128, 256, 512]),  # Fig. 2
        ("train", "up_kernel", 3),
        ("train", "pool_kernel", 3),
        ("train", "size", [256, 256]),  # IV-C from here on
        ("train", "train_epochs", 100),
        ("train", "train_batch_size", 8),
        ("train", "train_learning_rate", 1e-3),
        ("train", "poly_power", 0.9),
        ("train", "train_weight_decay", 1e-4),
        ("train", "noise_std", [0.3, 0.7]),
        ("train", "seed_loss_weight", 1.0),  # Eq. 10 is a plain sum
        ("train", "crf_loss_weight", 1.0),
        ("train", "lesion_weight", 1.0),
    ],
)
def test_defaults_are_the_papers(stage, name, value):
    found = STAGES[stage][name]
    assert found == value
    assert type(found) is type(value)  # 1e-3 without its point is text to YAML


def test_rotations_are_the_papers():
    train = {t["_target_"]: t for t in STAGES["train"]["train"]["preprocessing"]["transforms"]}
    assert math.degrees(train["RandRotated"]["range_x"]) == pytest.approx(25, abs=0.05)
    assert train["RandRotate90d"]["max_k"] == 3  # 90, 180, 270 degrees
    classify = {t["_target_"]: t for t in STAGES["classify"]["augmentation"]["transforms"]}
    assert math.degrees(classify["RandAffined"]["rotate_range"]) == pytest.approx(25, abs=0.05)
    for transforms in (STAGES["train"]["train"]["preprocessing"], STAGES["classify"]["augmentation"]):
        mirrors = [t for t in transforms["transforms"] if t["_target_"] == "monai_wsss.transforms.RandMirrord"]
        assert [t["spatial_axis"] for t in mirrors] == [0, 1]
        assert all(t["labels"] == "@labels" for t in mirrors)  # left and right change places


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_mirrors_but_the_transform_that_knows_the_sides(stage):
    text = (CONFIGS / f"{stage}.yaml").read_text()
    assert not re.search(r"Flipd?\b|RandAxisFlip|RandZoom|shear_range", text)
    # MONAI's scale is 1 + U(-r, r): below 1 it cannot turn negative and mirror
    assert all(abs(float(r)) < 1 for found in re.findall(r"scale_range: \[(.*)\]", text) for r in found.split(","))


def test_labels_follow_the_image_through_every_geometric_augmentation():
    for transform in STAGES["train"]["train"]["preprocessing"]["transforms"]:
        if "Mirror" in transform["_target_"] or transform["_target_"].startswith(("RandFlip", "RandRotate")):
            assert transform["keys"] == ["image", "label"]
            assert transform.get("label_keys", "label") == "label"


@pytest.mark.parametrize("name", sorted({name for _, name in VALUES}))
def test_an_id_has_one_default(name):
    found = {stage: config[name] for stage, config in STAGES.items() if name in config}
    assert len({str(value) for value in found.values()}) == 1, found


@pytest.mark.parametrize("component", ["preprocessing", "classifier_def", "network_def"])
def test_a_shared_component_is_wired_alike_everywhere(component):
    found = [config[component] for config in STAGES.values() if component in config]
    found = [{k: v for k, v in value.items() if k != "output_stride"} for value in found]  # finer for seeds alone
    assert len(found) > 1
    assert all(value == found[0] for value in found)


@pytest.mark.parametrize(("stage", "name"), VALUES)
def test_every_value_can_be_set_from_outside(stage, name):
    text = (CONFIGS / f"{stage}.yaml").read_text()
    value = [1, 2] if isinstance(STAGES[stage][name], list) else 17
    assert yaml.safe_load(write_value(text, name, value)) == STAGES[stage] | {name: value}


@pytest.mark.parametrize(("stage", "name"), VALUES)
def test_every_value_is_used(stage, name):
    if name in ("bundle_root", "labels") or (stage, name) == ("pipeline", "stages"):
        return  # bundle_root is MONAI's own; evaluate and inference read the labels of the data set
    text = (CONFIGS / f"{stage}.yaml").read_text()
    assert f"@{name}" in text, f"{stage}.yaml: {name} does nothing"


@pytest.mark.parametrize(("overlay", "name"), [(o, name) for o, config in OVERLAYS.items() for name in config])
def test_overlays_set_values_of_stages_alone(overlay, name):
    stages = [stage for stage, known in VALUES if known == name]
    assert stages, f"{overlay}.yaml: no stage has {name}"
    value = OVERLAYS[overlay][name]
    default = STAGES[stages[0]][name]
    assert default is None or isinstance(value, type(default)), f"{name}: {value} in place of {default}"


def test_the_bundle_has_its_overlays():
    assert sorted(OVERLAYS) == ["multi_gpu", "small"]


def test_pipeline_names_every_stage_once_in_the_order_of_their_inputs():
    assert [stage["config"] for stage in STAGES["pipeline"]["stages"]] == [
        f"{name}.yaml" for name in ("classify", "seed", "refine", "train", "inference", "evaluate")
    ]
    assert {stage["config"] for stage in STAGES["pipeline"]["stages"]} == {f"{n}.yaml" for n in STAGES} - {
        "pipeline.yaml"
    }
