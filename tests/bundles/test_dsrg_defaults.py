"""The hyperparameters of the DSRG bundle: the paper's, else those of the published code."""

from pathlib import Path

import pytest
import yaml

from monai_wsss.workflow import Pipeline

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_mri_lesion_dsrg"
LOADED = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((BUNDLE / "configs").glob("*.yaml"))}
ORDER = ["classify", "seed", "refine", "dsrg", "relabel", "train", "infer", "evaluate"]


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        ("classify", "classifier_name", "vgg16"),  # the paper's from here on: 4.1
        ("classify", "classifier_pooling", "average"),
        ("classify", "classify_batch_size", 20),
        ("classify", "classify_optimizer", "sgd"),
        ("classify", "classify_learning_rate", 5e-4),
        ("classify", "classify_weight_decay", 5e-4),
        ("classify", "classify_schedule", "step"),
        ("classify", "classify_step_factor", 0.1),
        ("seed", "cam_method", "cam"),
        ("seed", "seed_normalise", "max"),
        ("refine", "threshold", 0.2),
        ("dsrg", "background_seed", 0.06),
        ("dsrg", "segmenter", "deeplab_v2_vgg16"),
        ("dsrg", "dsrg_foreground", 0.85),
        ("dsrg", "dsrg_background", 0.99),
        ("dsrg", "dsrg_balanced", True),  # Eq. 1
        ("dsrg", "dsrg_grow", True),
        ("dsrg", "dsrg_grow_foreground", True),
        ("dsrg", "dsrg_grow_background", True),
        ("dsrg", "dsrg_rule", "paper"),
        ("dsrg", "dsrg_boundary_weight", 1.0),  # Eq. 2 is a plain sum
        ("dsrg", "dsrg_batch_size", 20),
        ("dsrg", "dsrg_optimizer", "sgd"),
        ("dsrg", "dsrg_learning_rate", 5e-4),
        ("dsrg", "dsrg_momentum", 0.9),
        ("dsrg", "dsrg_weight_decay", 5e-4),
        ("dsrg", "dsrg_schedule", "step"),
        ("dsrg", "dsrg_step_factor", 0.1),
        ("dsrg", "soft_crf_weight_gaussian", 3.0),  # Koltun's
        ("dsrg", "soft_crf_weight_bilateral", 10.0),
        ("dsrg", "soft_crf_srgb", 13.0),
        ("dsrg", "dsrg_crf_iterations", 10),
        ("relabel", "relabel_restrict", True),  # the published code's from here on
        ("relabel", "relabel_scales", [0.75, 1.0, 1.25]),
        ("relabel", "relabel_crf_iterations", 10),
        ("inference", "infer_scales", [0.75, 1.0, 1.25]),
        ("inference", "infer_crf_iterations", 10),
        ("dsrg", "dsrg_stride", 8),  # 41 x 41 for 321 pixels
        ("dsrg", "dsrg_new_factor", 10.0),
        ("dsrg", "dsrg_bias_factor", 2.0),
        ("train", "train_batch_size", 10),
        ("train", "train_optimizer", "sgd"),
        ("train", "train_learning_rate", 1e-3),
        ("train", "train_weight_decay", 5e-4),
        ("train", "poly_power", 0.9),
        ("reference_code", "dsrg_rule", "reference_code"),
        ("reference_code", "dsrg_decay_biases", False),
        ("reference_code", "dsrg_step_factor", 0.33),
        ("reference_code", "relabel_restrict", False),
        ("voc", "size", [321, 321]),
        ("voc", "in_channels", 3),
        ("voc", "infer_gate_probability", 0.0),
        ("coco", "size", [321, 321]),
        ("pipeline", "refine", "none"),
        ("pipeline", "supervision", "dsrg"),
    ],
)
def test_defaults(config, name, value):
    found = LOADED[config][name]
    assert found == value
    assert type(found) is type(value)  # 1e-3 without its point is text to YAML


def test_training_lasts_as_long_as_the_published_codes_iterations_on_voc():
    """8000 of 20 images, the rate falling every 2000 (4.1), and 20,000 of 10, of 10,582: 15.1, 3.8 and 18.9 epochs."""
    dsrg, train = LOADED["dsrg"], LOADED["train"]
    assert dsrg["dsrg_epochs"] * 10_582 / dsrg["dsrg_batch_size"] == pytest.approx(8000, rel=0.02)
    assert dsrg["dsrg_step_epochs"] * 10_582 / dsrg["dsrg_batch_size"] == pytest.approx(2000, rel=0.06)
    assert train["train_epochs"] * 10_582 / train["train_batch_size"] == pytest.approx(20_000, rel=0.01)


def test_voc_has_the_published_crf_widths():
    """In training 3 and 80 pixels, divided by 12, of the 41 x 41 grid; the loss divides by its stride of 8."""
    voc, stride = LOADED["voc"], LOADED["dsrg"]["dsrg_stride"]
    assert voc["soft_crf_sxy_gaussian"] / stride == pytest.approx(3 / 12, abs=1e-3)
    assert voc["soft_crf_sxy_bilateral"] / stride == pytest.approx(80 / 12, abs=5e-3)


def test_the_bundle_has_its_overlays():
    overlays = sorted(name for name, config in LOADED.items() if "run" not in config)
    assert overlays == ["coco", "multi_gpu", "reference_code", "small", "voc"]


def test_the_stages_come_in_the_order_of_their_inputs():
    assert [stage["name"] for stage in Pipeline(str(BUNDLE), "data", "run").stages] == ORDER
