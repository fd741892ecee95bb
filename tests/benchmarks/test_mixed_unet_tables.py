"""The methods files of the Mixed-UNet paper's tables say what the bundle and its networks know."""

from pathlib import Path

import pytest
import torch

from benchmarks.cost import SEGMENTERS
from benchmarks.rows.methods_file import read_methods
from monai_wsss.networks import classifier
from monai_wsss.workflow import Pipeline
from monai_wsss.workflow.bundle_config import load_config
from monai_wsss.workflow.bundle_freeze import overlay_values

ROOT = Path(__file__).parents[2]


def read(number, *overlays):
    path = ROOT / "benchmarks" / "methods" / f"mixed_unet_table_{number}.yaml"
    return read_methods(path, ROOT / "bundles", overlays)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("overlays", [(), ("small",)])
def test_every_method_can_be_run(number, overlays, tmp_path):
    table = read(number, *overlays)
    for method in table.methods:
        pipeline = Pipeline(
            str(method.bundle), str(tmp_path), str(tmp_path), overlays=method.overlays, overrides=method.values
        )
        names = [stage["name"] for stage in pipeline.stages]
        assert (method.until or "infer") in names


def test_classifiers_are_the_papers_and_nearest():
    methods = read(1).methods
    assert {method.values["classifier_name"] for method in methods} == {
        "alexnet", "googlenet", "vgg16_bn", "resnet18", "resnet50", "densenet121"
    }  # fmt: skip
    for method in methods:
        with torch.device("meta"):  # shapes alone
            classifier(method.values["classifier_name"], output_stride=method.values["output_stride"])


def test_masks_differ_in_scales_and_stride_alone():
    kinds = {(tuple(m.values["scales"]), m.values["seed_output_stride"]) for m in read(2).methods}
    assert kinds == {(scales, stride) for scales in ((1.0,), (0.5, 1.0, 1.5, 2.0)) for stride in (8, 16)}
    others = [{k: v for k, v in m.values.items() if k not in ("scales", "seed_output_stride")} for m in read(2).methods]
    assert all(other == others[0] for other in others)


@pytest.mark.parametrize(("overlays", "width"), [((), 1), (("small",), 0.25)])
def test_segmenters_are_those_of_the_cost_table(overlays, width):
    """Without overlays the widths are the published ones, with `small` a quarter of them."""
    methods = read(3, *overlays).methods
    for method in methods:
        own = load_config(method.bundle / "configs" / "train.yaml")
        values = own | overlay_values(method.bundle, method.overlays) | method.values
        assert values["channels"] == [width * channels for channels in (64, 128, 256, 512)], method.name
        assert values["segmenter_width"] == width and values["segmenter"] in {*SEGMENTERS.values()}, method.name
    terms = {method.name: method.values["crf_loss_weight"] for method in methods}
    assert {name for name, weight in terms.items() if weight} == {"Mixed-UNet + CRF mask"}
