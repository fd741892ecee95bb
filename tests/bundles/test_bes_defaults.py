"""The hyperparameters of the BES bundle: the paper's, else IRNet's or those of the published code."""

from pathlib import Path

import pytest
import yaml

from monai_wsss.workflow import Pipeline

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_mri_lesion_bes"
LOADED = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((BUNDLE / "configs").glob("*.yaml"))}
ORDER = ["classify", "seed", "confident", "bes", "walk", "train", "infer", "evaluate"]


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        ("classify", "classifier_name", "resnet50"),  # the paper's from here on: 4.1
        ("classify", "output_stride", 16),
        ("classify", "head_convs", 0),
        ("classify", "classifier_pooling", "attention"),  # Eqs. 6 and 7
        ("classify", "attention", 0.001),
        ("seed", "cam_method", "cam"),
        ("seed", "seed_normalise", "max"),  # Eq. 8
        ("confident", "foreground_threshold", 0.30),  # Eq. 1
        ("confident", "background_threshold", 0.07),
        ("bes", "theta_scale", 0.35),  # Eq. 3
        ("bes", "bes_reference_code", False),
        ("bes", "bes_batch_size", 16),
        ("bes", "bes_learning_rate", 0.1),
        ("bes", "bes_momentum", 0.9),
        ("bes", "bes_weight_decay", 1e-4),
        ("bes", "boundary_backbone", None),
        ("walk", "walk_beta", 5.0),
        ("walk", "walk_multiply_edge", False),
        ("walk", "walk_crf", True),
        ("train", "segmenter", "deeplab_v2_resnet101"),  # 4.2
        ("seed", "scales", [1.0, 0.5, 1.5, 2.0]),  # IRNet's from here on
        ("seed", "flips", True),
        ("classify", "classify_epochs", 5),
        ("classify", "classify_batch_size", 16),
        ("classify", "classify_learning_rate", 0.1),
        ("classify", "classify_weight_decay", 1e-4),
        ("confident", "crf_confidence", 0.7),
        ("confident", "crf_srgb", 5.0),
        ("confident", "crf_weight_gaussian", 3.0),
        ("confident", "crf_weight_bilateral", 10.0),
        ("confident", "crf_iterations", 10),
        ("walk", "walk_radius", 5),
        ("walk", "walk_exp_times", 8),
        ("walk", "walk_threshold", 0.25),
        ("train", "train_batch_size", 10),  # DeepLab-v2's
        ("train", "train_learning_rate", 2.5e-4),
        ("train", "train_weight_decay", 5e-4),
        ("train", "poly_power", 0.9),
        ("reference_code", "theta_scale", 0.30),
        ("reference_code", "classifier_pooling", "attention_features"),
        ("reference_code", "bes_reference_code", True),
        ("voc", "size", [512, 512]),
        ("voc", "bes_window", 13),  # Eq. 2 on the grid of stride 4
        ("voc", "theta_diff", 0.10),
        ("voc", "in_channels", 3),
        ("pipeline", "refine", "bes"),
        ("pipeline", "supervision", "static"),
    ],
)
def test_defaults(config, name, value):
    found = LOADED[config][name]
    assert found == value
    assert type(found) is type(value)  # 1e-3 without its point is text to YAML


@pytest.mark.parametrize("config", ["bes", "small"])
def test_another_window_finds_as_straight_an_edge_as_the_papers(config):
    """Both sides of an edge through the window's middle differ by 1 / w: 1.3 times that is the paper's 0.10 at 13."""
    window, difference = LOADED[config]["bes_window"], LOADED[config]["theta_diff"]
    assert window % 2 == 1
    assert difference * window == pytest.approx(1.3, abs=0.05)
    smaller = (window - 1) / 2 / window  # share of the lesser side
    assert smaller > LOADED["bes"]["theta_scale"]


def test_training_lasts_as_long_as_the_papers_on_voc():
    """3500 iterations of 16 of 10,582 images (4.1): 5.3 epochs; 1983 in the published code."""
    for config, iterations in (("bes", 3500), ("reference_code", 1983)):
        assert LOADED[config]["bes_epochs"] * 10_582 / 16 == pytest.approx(iterations, rel=0.06)


def test_the_bundle_has_its_overlays():
    overlays = sorted(name for name, config in LOADED.items() if "run" not in config)
    assert overlays == ["multi_gpu", "reference_code", "small", "voc"]


def test_the_stages_come_in_the_order_of_their_inputs():
    assert [stage["name"] for stage in Pipeline(str(BUNDLE), "data", "run").stages] == ORDER
