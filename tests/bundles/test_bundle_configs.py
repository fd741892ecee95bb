"""Every bundle's configs: one default an id, shared components wired alike, each value reachable and used."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from monai_wsss.workflow.bundle_config import config_files, stage_parts
from monai_wsss.workflow.bundle_freeze import write_value

BUNDLES = sorted(path.parents[1] for path in Path(__file__).parents[2].glob("bundles/*/configs/metadata.json"))
# These differ between the stages on purpose: finer maps for seeds; DropBlock and first weights in training.
STAGE_ARGUMENTS = {"output_stride", "drop_prob", "drop_size", "map_bias"}
SHARED = ("preprocessing", "classifier_def", "network_def", "backbone_def", "mask_folders")


@cache
def load(bundle):
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted((bundle / "configs").glob("*.yaml"))}


def stages_of(bundle):
    return {name: config for name, config in load(bundle).items() if "run" in config}


def overlays_of(bundle):
    return {name: config for name, config in load(bundle).items() if "run" not in config}


def is_value(value):
    """A hyperparameter or a place, not a component or a list of them."""
    return not isinstance(value, dict) and not (isinstance(value, list) and any(isinstance(v, dict) for v in value))


@cache
def values_of(bundle):
    found = [(stage, name) for stage, config in stages_of(bundle).items() for name, v in config.items() if is_value(v)]
    return [(stage, name) for stage, name in found if name not in ("run", "initialize", "handlers")]


def text_of(bundle, stage):
    return (bundle / "configs" / f"{stage}.yaml").read_text()


ids = [path.name for path in BUNDLES]
each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=ids)
each_stage = pytest.mark.parametrize(("bundle", "stage"), [(b, stage) for b in BUNDLES for stage in stages_of(b)])
each_value = pytest.mark.parametrize(
    ("bundle", "stage", "name"), [(b, *value) for b in BUNDLES for value in values_of(b)]
)
each_overlaid = pytest.mark.parametrize(
    ("bundle", "overlay", "name"),
    [(b, overlay, name) for b in BUNDLES for overlay, config in overlays_of(b).items() for name in config],
)


@each_stage
def test_nothing_mirrors_but_the_transform_that_knows_the_sides(bundle, stage):
    text = text_of(bundle, stage)
    assert not re.search(r"\b(Rand)?Flipd?\b|RandAxisFlip|RandZoom|shear_range", text)
    # MONAI's scale is 1 + U(-r, r): below 1 it cannot turn negative and mirror
    assert all(abs(float(r)) < 1 for found in re.findall(r"scale_range: \[(.*)\]", text) for r in found.split(","))


@each_bundle
def test_labels_follow_the_image_through_every_geometric_augmentation(bundle):
    transforms = stages_of(bundle)["train"]["train"]["preprocessing"]["transforms"]
    if transforms[0]["keys"] == ["image"]:
        return  # a localiser learns from image-level labels alone
    geometric = [t for t in transforms if re.search("Mirror|RandFlip|RandRotate|RandAffine", t["_target_"])]
    assert geometric
    for transform in geometric:
        assert transform["keys"] == ["image", "label"]
        assert transform.get("label_keys", "label") == "label"
        if "RandAffined" in transform["_target_"] or "RandRotated" in transform["_target_"]:
            assert transform["mode"] == ["bilinear", "nearest"]  # a label between two labels is none
    for transform in transforms:
        if "Mirror" in transform["_target_"]:
            assert transform["labels"] == "@labels"  # left and right change places


@each_bundle
def test_an_id_has_one_default(bundle):
    stages = stages_of(bundle)
    for name in {name for _, name in values_of(bundle)}:
        found = {stage: config[name] for stage, config in stages.items() if name in config}
        assert len({str(value) for value in found.values()}) == 1, found


@each_bundle
@pytest.mark.parametrize("component", SHARED)
def test_a_shared_component_is_wired_alike_everywhere(bundle, component):
    found = [config[component] for config in stages_of(bundle).values() if component in config]
    found = [{k: v for k, v in value.items() if k not in STAGE_ARGUMENTS} for value in found]
    assert len(found) > 1 or component not in ("preprocessing", "network_def")
    assert all(value == found[0] for value in found)


@each_value
def test_every_value_can_be_set_from_outside(bundle, stage, name):
    config = stages_of(bundle)[stage]
    value = [1, 2] if isinstance(config[name], list) else 17
    assert yaml.safe_load(write_value(text_of(bundle, stage), name, value)) == config | {name: value}


@each_value
def test_every_value_is_used(bundle, stage, name):
    if name in ("bundle_root", "labels") or (stage, name) == ("pipeline", "stages"):
        return  # bundle_root is MONAI's own; evaluate and inference read the labels of the data set
    if stage == "pipeline" and any(name in entry for entry in stages_of(bundle)["pipeline"]["stages"]):
        return  # a stage's condition
    text = text_of(bundle, stage)
    assert f"@{name}" in text, f"{stage}.yaml: {name} does nothing"


@each_overlaid
def test_overlays_set_values_of_stages_alone(bundle, overlay, name):
    stages = [stage for stage, known in values_of(bundle) if known == name]
    assert stages, f"{overlay}.yaml: no stage has {name}"
    value, default = overlays_of(bundle)[overlay][name], stages_of(bundle)[stages[0]][name]
    assert value is None or default is None or isinstance(value, type(default)), f"{name}: {value} for {default}"


@each_overlaid
def test_an_overlay_says_only_what_differs(bundle, overlay, name):
    default = next(config[name] for config in stages_of(bundle).values() if name in config)
    assert overlays_of(bundle)[overlay][name] != default


@each_bundle
def test_pipeline_names_every_stage_once(bundle):
    stages = stages_of(bundle)
    listed = [config_files(stage) for stage in stages["pipeline"]["stages"]]
    assert sorted({files[0] for files in listed}) == sorted(f"{name}.yaml" for name in stages if name != "pipeline")
    assert len({tuple(files) for files in listed}) == len(listed)
    assert stage_parts(bundle / "configs") <= {f"{name}.yaml" for name in overlays_of(bundle)}


@each_bundle
def test_numbers_are_numbers(bundle):
    """1e-3 without its point is text to YAML."""
    for name, config in load(bundle).items():
        for key, value in config.items():
            assert not (isinstance(value, str) and re.fullmatch(r"[\d.+-]+e[+-]?\d+", value)), f"{name}: {key}"
