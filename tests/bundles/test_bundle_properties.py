"""What MONAI, the model zoo and MONAI Label reach into: properties, shapes, TorchScript."""

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out
from monai.bundle.properties import InferProperties, TrainProperties

BUNDLES = Path(__file__).parents[2] / "bundles"
NARROW = {"channels": [4, 8, 16, 32]}
# bundle, ids of the network, small enough for a test
NETWORKS = [
    ("brain_mri_lesion_mixed_unet", {"segmenter": "mixed_unet", **NARROW}),
    ("brain_mri_lesion_mixed_unet", {"segmenter": "unet", **NARROW}),
    ("cxr_pneumothorax_irnet", {"segmenter": "unet_se_resnext50"}),
    ("cxr_pneumothorax_irnet", {"segmenter": "unet_resnet50"}),
    ("cxr_pneumothorax_irnet", {"segmenter": "unet_resnet18"}),
    ("cxr_pneumothorax_irnet", {"segmenter": "deeplab_v3_resnet18"}),
    ("cxr_pneumothorax_irnet", {"segmenter": "deeplab_v3_plus_resnet18"}),
    ("cxr_pneumothorax_irnet", {"segmenter": "unet", **NARROW}),
    ("brain_mri_lesion_dsrg", {"segmenter": "deeplab_v2_vgg16", "segmenter_width": 0.0625}),
    ("brain_mri_lesion_dsrg", {"segmenter": "unet", **NARROW}),
    ("brain_mri_lesion_bes", {"segmenter": "deeplab_v2_vgg16_large_fov", "segmenter_width": 0.0625}),
    ("brain_mri_lesion_bes", {"segmenter": "deeplab_v2_resnet18"}),
    ("brain_ct_hemorrhage_mixed_unet", {"segmenter": "mixed_unet", **NARROW}),
    ("cxr_tuberculosis_deconv", {"network_width": 0.0625}),
    ("cxr_tuberculosis_deconv", {"network_width": 0.0625, "tied": False, "deconv_stages": 1}),
    ("cxr_tuberculosis_deconv", {"network_width": 0.0625, "encoder_name": "vgg16"}),
]

each_bundle = pytest.mark.parametrize("bundle", sorted(path.name for path in BUNDLES.iterdir()))
each_network = pytest.mark.parametrize(("bundle", "values"), NETWORKS)
both = pytest.mark.parametrize(
    ("config", "kind"), [("train.yaml", "train"), ("inference.yaml", "infer")], ids=["train", "inference"]
)


def meta(bundle):
    return str(BUNDLES / bundle / "configs" / "metadata.json")


def config_of(bundle, config):
    return str(BUNDLES / bundle / "configs" / config)


@pytest.fixture
def run_of(whole, whole_films, whole_dsrg, whole_bes, whole_deconv, whole_ct):
    return {run.bundle.name: run for run in (whole, whole_films, whole_dsrg, whole_bes, whole_deconv, whole_ct)}


def references(bundle, config, kind):
    """`(name, id, where it must be referenced)` of MONAI's properties that the config has."""
    parser = ConfigParser(ConfigParser.load_config_file(config_of(bundle, config)))
    properties = TrainProperties if kind == "train" else InferProperties
    rows = [(name, p["id"], p.get("refer_id")) for name, p in properties.items() if p["id"] in parser]
    return parser, rows


def workflow(whole, config, kind, **override):
    places = {"dataset_dir": str(whole.data), "output_dir": str(whole.run), "tracking_uri": "none"}
    path = whole.run / "bundle" / "configs" / config
    made = ConfigWorkflow(config_file=str(path), workflow_type=kind, logging_file=False, **places, **override)
    made.initialize()
    return made


@each_bundle
@both
def test_check_properties_finds_nothing(bundle, config, kind, run_of):
    assert workflow(run_of[bundle], config, kind).check_properties() == []


def test_check_properties_would_find_something(whole):
    wrong = {"validate#evaluator#inferer": "@train#inferer"}
    assert workflow(whole, "train.yaml", "train", **wrong).check_properties() == ["val_inferer"]


@each_bundle
@both
def test_required_and_optional_properties_are_there(bundle, config, kind):
    _, rows = references(bundle, config, kind)
    names = {name for name, _, _ in rows}
    if kind == "train":
        assert names >= {"bundle_root", "device", "dataset_dir", "trainer", "network_def", "max_epochs"}
        assert names >= {"train_dataset", "train_inferer", "train_dataset_data", "train_handlers"}
        assert names >= {"train_preprocessing", "evaluator", "val_interval", "val_dataset", "val_key_metric"}
    else:
        assert names >= {"bundle_root", "device", "dataset_dir", "dataset", "evaluator", "network_def", "inferer"}
        assert names >= {"dataset_data", "handlers", "preprocessing", "postprocessing"}


@each_bundle
@both
def test_optional_properties_are_used_by_exact_reference(bundle, config, kind):
    parser, rows = references(bundle, config, kind)
    checked = 0
    for name, id_, where in rows:
        if where in (None, "validator", "interval"):
            continue
        assert parser.get(where).replace("#", "::") == f"@{id_}", f"{name}: {where} is not @{id_}"
        checked += 1
    assert checked >= 3
    if kind == "train":
        (handler,) = [h for h in parser["train#handlers"] if h["_target_"] == "ValidationHandler"]
        assert (handler["validator"], handler["interval"]) == ("@validate#evaluator", "@val_interval")


@both
@each_network
def test_network_agrees_with_metadata(bundle, values, config, kind):
    verify_net_in_out(
        net_id="network_def",
        meta_file=meta(bundle),
        config_file=config_of(bundle, config),
        device="cpu",
        n=4 if bundle.startswith("brain") else 1,  # 32 x 32
        **values,
    )


def test_another_head_than_metadata_says_is_noticed():
    with pytest.raises(ValueError, match="output channel number `1` doesn't match: `2`"):
        verify_net_in_out(
            net_id="network_def",
            meta_file=meta("brain_mri_lesion_mixed_unet"),
            config_file=config_of("brain_mri_lesion_mixed_unet", "train.yaml"),
            device="cpu",
            n=4,
            out_channels=1,
            **NARROW,
        )


@each_network
def test_torchscript_gives_the_same_output(bundle, values, tmp_path):
    config = config_of(bundle, "inference.yaml")
    parser = ConfigParser(ConfigParser.load_config_file(config))
    parser.update(values)
    network = parser.get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=meta(bundle),
        config_file=config,
        **values,
    )
    files = {"metadata.json": ""}
    loaded = torch.jit.load(tmp_path / "model.ts", _extra_files=files).eval()
    assert json.loads(files["metadata.json"])["name"] == json.loads(Path(meta(bundle)).read_text())["name"]
    channels = json.loads(Path(meta(bundle)).read_text())["network_data_format"]["inputs"]["image"]["num_channels"]
    image = torch.rand(2, channels, 40, 36, generator=torch.Generator().manual_seed(0))  # no power of two
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), network(image))
