import io

import pytest
import torch
from monai.networks.nets import FlexibleUNet, SEResNext50, senet
from safetensors.torch import save_file
from torch.nn import functional as F

from monai_wsss.errors import InputError
from monai_wsss.networks.nets.deeplab import DeepLabV3, DeepLabV3Plus
from monai_wsss.networks.nets.resnet_classifier import ResNetClassifier
from monai_wsss.networks.nets.segmenter import SEGMENTERS, segmenter, with_backbone

NAMES = [
    "mixed_unet",
    "unet",
    "fcn",
    "unet_resnet18",
    "unet_resnet50",
    "unet_se_resnext50",
    "deeplab_v3",
    "deeplab_v3_resnet18",
    "deeplab_v3_plus",
    "deeplab_v3_plus_resnet18",
    "deeplab_v2_vgg16",
    "deeplab_v2_vgg16_large_fov",
    "deeplab_v2_resnet101",
    "deeplab_v2_resnet18",
]
NARROW = (4, 4, 8, 8)


def test_names():
    assert list(SEGMENTERS) == NAMES


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # Mixed-UNet's paper, table IV: RGB in, one output, published widths
        ("fcn", 18_643_713),
        ("unet", 31_043_521),
        ("deeplab_v3", 39_633_729),
        ("mixed_unet", 12_437_057),  # ours, with the 3x3 of the text; the printed 10,303,105 fits no such network
    ],
)
def test_parameters_of_the_papers_comparison(name, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in segmenter(name, 2, 3, 1).parameters()) == parameters


@pytest.mark.parametrize(("name", "channels"), [("fcn", 32), ("deeplab_v3", 256), ("deeplab_v3_plus_resnet18", 256)])
def test_width_reaches_the_network(name, channels):
    with torch.device("meta"):
        assert segmenter(name, 2, 1, 2, width=0.25).head.weight.shape == (2, channels // 4, 1, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [[(64, 64), (33, 97), (70, 31)], [(17, 40, 33)]], ids=["2D", "3D"])
def test_logits_have_the_images_size(name, sizes):
    with torch.device("meta"):
        network = segmenter(name, len(sizes[0]), 2, 3, NARROW).eval()
        for size in sizes:
            assert network(torch.zeros(2, 2, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize(
    "name", ["unet", "unet_resnet18", "unet_se_resnext50", "deeplab_v3_plus_resnet18", "deeplab_v2_resnet18"]
)
def test_script_gives_the_same_output_at_any_size(name):
    torch.manual_seed(0)
    network = segmenter(name, 2, 1, 2, NARROW).eval()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    buffer.seek(0)
    loaded = torch.jit.load(buffer)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        for size in [(40, 24), (33, 47)]:
            images = torch.rand(2, 1, *size)
            torch.testing.assert_close(loaded(images), network(images))


@pytest.mark.parametrize(
    "name", ["unet", "unet_resnet18", "unet_se_resnext50", "deeplab_v3_plus_resnet18", "deeplab_v2_resnet18"]
)
def test_every_weight_gets_a_gradient(name):
    torch.manual_seed(0)
    network = segmenter(name, 2, 1, 2, NARROW)
    network(torch.randn(2, 1, 40, 33)).square().sum().backward()
    without = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", ["unet_resnet18", "deeplab_v3_plus_resnet18", "deeplab_v2_resnet18"])
def test_batch_equals_single_and_half_precision_is_close(name):
    torch.manual_seed(0)
    network = segmenter(name, 2, 1, 2).eval()
    images = torch.rand(3, 1, 40, 33)
    with torch.no_grad():
        logits = network(images)
        torch.testing.assert_close(logits, torch.cat([network(image[None]) for image in images]), rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(images)
    assert (half.float() - logits).abs().max() < 0.1 * logits.abs().max()


def test_unet_is_monais_on_the_padded_image():
    torch.manual_seed(0)
    network = segmenter("unet_resnet18", 2, 1, 2).eval()
    monais = FlexibleUNet(1, 2, "resnet18_projected").eval()
    monais.load_state_dict(network.state_dict())
    image = torch.rand(1, 1, 33, 60)
    with torch.no_grad():
        expected = monais(F.pad(image, (0, 4, 0, 31), mode="replicate"))[:, :, :33, :60]
        torch.testing.assert_close(network(image), expected)
        torch.testing.assert_close(network(image[:, :, :32, :32]), monais(image[:, :, :32, :32]))


@pytest.mark.parametrize(
    ("name", "kind", "channels", "output_stride"),
    [
        ("deeplab_v3", DeepLabV3, 2048, 8),
        ("deeplab_v3_plus", DeepLabV3Plus, 2048, 16),
        ("deeplab_v3_resnet18", DeepLabV3, 512, 16),
        ("deeplab_v3_plus_resnet18", DeepLabV3Plus, 512, 8),
    ],
)
def test_names_and_stride_reach_deeplab(name, kind, channels, output_stride):
    with torch.device("meta"):
        network = segmenter(name, 2, 1, 2, output_stride=output_stride)
        coarsest = network.encoder(torch.zeros(2, 1, 64, 64))[-1]
    assert type(network) is kind
    assert coarsest.shape == (2, channels, 64 // output_stride, 64 // output_stride)


def test_names_reach_deeplab_v2():
    # the last layer's kernel tells VGG16 (1x1 of 1024 channels) from ResNet (3x3 of the trunk's)
    for name, branches, channels, size in [
        ("deeplab_v2_vgg16", 4, 1024, 1),
        ("deeplab_v2_vgg16_large_fov", 1, 1024, 1),
        ("deeplab_v2_resnet101", 4, 2048, 3),
        ("deeplab_v2_resnet18", 4, 512, 3),
    ]:
        with torch.device("meta"):
            network = segmenter(name, 2, 1, 5)
        assert [layer.weight.shape for layer in network.last] == [(5, channels, size, size)] * branches, name
    with torch.device("meta"):
        assert segmenter("deeplab_v2_vgg16", 2, 1, 5, width=0.25).last[0].weight.shape == (5, 256, 1, 1)
        rates = [branch[0].dilation[0] for branch in segmenter("deeplab_v2_vgg16", 2, 1, 5).branches]
        fov = segmenter("deeplab_v2_vgg16_large_fov", 2, 1, 5).branches[0][0].dilation[0]
    assert (rates, fov) == ([6, 12, 18, 24], 12)


def test_another_name():
    with pytest.raises(ValueError, match=f"one of {', '.join(NAMES)}, got vnet"):
        segmenter("vnet", 2, 1, 2)


@pytest.mark.parametrize("name", ["unet_resnet18", "deeplab_v3_plus_resnet18", "deeplab_v2_resnet18"])
def test_encoder_starts_from_a_file(name, tmp_path):
    torch.manual_seed(0)
    source = ResNetClassifier(in_channels=3, num_classes=10, depth=18).eval()
    save_file(source.state_dict(), tmp_path / "backbone.safetensors")
    network = segmenter(name, 2, 1, 2).eval()
    head = {key: value.clone() for key, value in network.state_dict().items() if not key.startswith("encoder.")}
    assert with_backbone(network, tmp_path / "backbone.safetensors") is network

    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():  # a grey image, and the same as RGB; layer1 comes before any dilation
        torch.testing.assert_close(
            network.encoder(image)[1], source.levels(image.repeat(1, 3, 1, 1))[1], rtol=1e-3, atol=1e-4
        )
    for key, value in source.state_dict().items():
        if key.startswith(("layer", "bn1")):
            assert torch.equal(network.encoder.state_dict()[key], value), key
    assert all(torch.equal(network.state_dict()[key], value) for key, value in head.items())


def test_no_file_changes_nothing():
    network = segmenter("mixed_unet", 2, 1, 2, NARROW)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert with_backbone(network) is network
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", ["mixed_unet", "unet"])
def test_network_without_a_known_encoder(name, tmp_path):
    with torch.device("meta"):
        network = segmenter(name, 2, 1, 2)
    with pytest.raises(ValueError, match="no ResNet, SE-ResNeXt or VGG16 encoder"):
        with_backbone(network, tmp_path / "backbone.pt")


def published_name(key):
    """MONAI's name of an SE-ResNeXt weight -> the name in the published file."""
    for ours, theirs in (
        (".conv1.conv.", ".conv1."),
        (".conv2.conv.", ".conv2."),
        (".conv3.conv.", ".conv3."),
        (".conv1.adn.N.", ".bn1."),
        (".conv2.adn.N.", ".bn2."),
        (".conv3.adn.N.", ".bn3."),
        (".se_layer.fc.0.", ".se_module.fc1."),
        (".se_layer.fc.2.", ".se_module.fc2."),
        (".project.conv.", ".downsample.0."),
        (".project.adn.N.", ".downsample.1."),
    ):
        key = key.replace(ours, theirs)
    return key


def test_published_se_resnext_weights_are_taken_as_monai_takes_them(tmp_path, monkeypatch):
    reference, generator = SEResNext50(spatial_dims=2, in_channels=3), torch.Generator().manual_seed(0)
    published = {"last_linear.weight": torch.zeros(1000, 2048), "last_linear.bias": torch.zeros(1000)}
    for key, value in reference.state_dict().items():
        if key.startswith("layer") and not key.endswith("num_batches_tracked"):
            weight = torch.rand(value.shape, generator=generator)
            published[published_name(key)] = weight[..., None, None] if weight.ndim == 2 else weight  # 1x1 convolutions
    assert "layer1.0.se_module.fc1.weight" in published and "layer4.0.downsample.1.running_var" in published
    torch.save(published, tmp_path / "published.pt")

    monkeypatch.setattr(senet, "download_url", lambda **_: None)
    monkeypatch.setattr(senet, "load_state_dict_from_url", lambda *_, **__: dict(published))
    monkeypatch.setattr(senet.torch, "load", lambda *_, **__: dict(published))
    senet._load_state_dict(reference, "se_resnext50_32x4d", progress=False)
    monkeypatch.undo()

    encoder = with_backbone(segmenter("unet_se_resnext50", 2, 1, 1), tmp_path / "published.pt").encoder.state_dict()
    expected = reference.state_dict()
    for key in encoder:
        if key.endswith("num_batches_tracked"):
            continue
        if key == "layer0.conv1.weight":  # three channels on one: a grey image gives the same response
            torch.testing.assert_close(encoder[key], expected[key].sum(1, keepdim=True))
        else:
            assert torch.equal(encoder[key], expected[key]), key


def test_file_of_another_resnet(tmp_path):
    torch.save(ResNetClassifier(depth=34).state_dict(), tmp_path / "backbone.pt")
    with pytest.raises(InputError, match="same depth"):
        with_backbone(segmenter("unet_resnet18", 2, 1, 2), tmp_path / "backbone.pt")
