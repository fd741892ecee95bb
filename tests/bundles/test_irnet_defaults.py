"""The hyperparameters of the chest X-ray bundle: the paper's, else those of the published code."""

from pathlib import Path

import pytest
import yaml

from monai_wsss.workflow import Pipeline

BUNDLE = Path(__file__).parents[2] / "bundles" / "cxr_pneumothorax_irnet"
CONFIGS = BUNDLE / "configs"
LOADED = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.glob("*.yaml"))}


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        ("classify", "size", [512, 512]),  # the paper's from here on: 4.5
        ("classify", "classifier_name", "vgg16_bn"),  # 4.4; batch norm is the code's
        ("classify", "output_stride", 8),  # step 1
        ("classify", "head_convs", 3),
        ("seed", "cam_method", "grad_cam_pp"),  # Table 2
        ("train", "segmenter", "unet_se_resnext50"),  # 4.4
        ("train", "train_learning_rate", 6e-5),  # 4.5 from here on
        ("train", "train_momentum", 0.9),
        ("train", "train_weight_decay", 1e-6),
        ("train", "train_batch_size", 48),
        ("classify", "drop_prob", 0.2),  # the published code's from here on
        ("classify", "drop_size", 7),
        ("classify", "classify_epochs", 50),
        ("classify", "classify_batch_size", 16),
        ("classify", "classify_optimizer", "adam"),
        ("classify", "classify_learning_rate", 1e-4),
        ("classify", "classify_weight_decay", 1e-5),
        ("classify", "classify_step_epochs", 5),
        ("classify", "classify_step_factor", 0.1),
        ("confident", "foreground_threshold", 0.30),  # IRNet's from here on
        ("confident", "background_threshold", 0.05),
        ("confident", "crf_confidence", 0.7),
        ("confident", "crf_sxy_gaussian", 3.0),
        ("confident", "crf_weight_gaussian", 3.0),
        ("confident", "crf_sxy_bilateral", 50.0),
        ("confident", "crf_srgb", 5.0),
        ("confident", "crf_weight_bilateral", 10.0),
        ("confident", "crf_iterations", 10),
        ("irnet", "irnet_epochs", 10),
        ("irnet", "irnet_batch_size", 24),
        ("irnet", "irnet_learning_rate", 0.1),
        ("irnet", "displacement_factor", 10.0),
        ("irnet", "irnet_weight_decay", 1e-4),
        ("irnet", "irnet_radius", 10),
        ("walk", "walk_radius", 5),
        ("walk", "walk_beta", 10.0),
        ("walk", "walk_exp_times", 8),
        ("walk", "walk_threshold", 0.25),
        ("reference_code", "classifier_name", "resnet50"),
        ("reference_code", "head_convs", 0),
        ("reference_code", "cam_method", "grad_cam_pp_code"),
        ("reference_code", "segmenter", "unet_resnet50"),
        ("reference_code", "train_learning_rate", 1e-4),
        ("reference_code", "train_batch_size", 64),
        ("voc", "classify_optimizer", "radam"),
        ("voc", "classify_learning_rate", 1e-5),
        ("voc", "drop_prob", 0.3),
        ("voc", "segmenter", "deeplab_v3_plus"),
    ],
)
def test_defaults(config, name, value):
    found = LOADED[config][name]
    assert found == value
    assert type(found) is type(value)  # 1e-3 without its point is text to YAML


def test_learning_rates_of_the_code_are_reached():
    """1e-4, 2e-4, 1e-3, 2e-3: weights and biases of the backbone, of the new layers."""
    c = LOADED["classify"]
    rate, new, bias = (c[f"classify_{name}"] for name in ("learning_rate", "new_factor", "bias_factor"))
    assert [rate, bias * rate, new * rate, new * bias * rate] == pytest.approx([1e-4, 2e-4, 1e-3, 2e-3])


def test_the_segmenters_rate_falls_by_the_epoch():
    (handler,) = [h for h in LOADED["train"]["train"]["handlers"] if h["_target_"] == "LrScheduleHandler"]
    assert handler["epoch_level"] is True
    assert LOADED["train"]["lr_scheduler"]["total_iters"] == "@train_epochs"


def test_films_are_fitted_into_the_grid_and_flipped_sideways_alone():
    assert LOADED["classify"]["pixel_spacing"] is None
    for transforms in (LOADED["classify"]["augmentation"], LOADED["train"]["train"]["preprocessing"]):
        mirrors = [t for t in transforms["transforms"] if "Mirror" in t["_target_"]]
        assert [t["spatial_axis"] for t in mirrors] == [0]


def test_the_bundle_has_its_overlays():
    overlays = sorted(name for name, config in LOADED.items() if "run" not in config)
    assert overlays == ["multi_gpu", "reference_code", "small", "voc"]


def test_the_stages_come_in_the_order_of_their_inputs():
    order = ["classify", "seed", "confident", "irnet", "walk", "train", "infer", "evaluate"]
    assert [stage["name"] for stage in Pipeline(str(BUNDLE), "data", "run").stages] == order
