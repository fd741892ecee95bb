"""The hyperparameters of the Mixed-UNet bundle are the paper's."""

import math
from pathlib import Path

import pytest
import yaml

from monai_wsss.workflow import Pipeline

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_mri_lesion_mixed_unet"
CONFIGS = BUNDLE / "configs"
STAGES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.glob("*.yaml"))}


@pytest.mark.parametrize(
    ("stage", "name", "value"),
    [
        ("classify", "classifier_name", "resnet50"),  # Table I
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


def test_the_bundle_has_its_overlays():
    assert sorted(name for name, config in STAGES.items() if "run" not in config) == ["multi_gpu", "small"]


def test_the_stages_come_in_the_order_of_their_inputs():
    order = ["classify", "seed", "refine", "train", "inference", "evaluate"]
    stages = Pipeline(str(BUNDLE), "data", "run").stages
    assert [stage["config"] for stage in stages] == [f"{name}.yaml" for name in order]
