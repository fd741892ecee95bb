import io
import re

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from monai_wsss.engines import parameter_groups
from monai_wsss.errors import InputError
from monai_wsss.networks.nets.classifier import classifier
from monai_wsss.networks.nets.deeplab_v2 import LARGE_FOV_RATES, DeepLabV2
from monai_wsss.networks.nets.segmenter import segmenter, with_backbone

CONVS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]  # in torchvision's `features` of VGG16
SMALL = {"vgg16": 1 / 16, "resnet18": 1.0}  # width
both = pytest.mark.parametrize("backbone", SMALL)


def small(backbone: str = "vgg16", **arguments) -> DeepLabV2:
    torch.manual_seed(0)
    return DeepLabV2(out_channels=3, backbone=backbone, width=SMALL[backbone], **arguments).eval()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # VGG16's convolutions have 14,710,464 weights (3 colours) and 4,224 biases. A branch: 512 x 1024 x 9 + 1024,
        # 1024 x 1024 + 1024 and 1024 x 21 + 21 = 4,719,616 + 1,049,600 + 21,525 = 5,790,741.
        ("deeplab_v2_vgg16", 14_710_464 + 4_224 + 4 * 5_790_741),
        ("deeplab_v2_vgg16_large_fov", 14_710_464 + 4_224 + 5_790_741),
        # ResNets of 1,000 classes have 44,549,160 and 11,689,512, less 2048 x 1000 + 1000 and 512 x 1000 + 1000;
        # four times 3x3: 2048 x 21 x 9 + 21 and 512 x 21 x 9 + 21
        ("deeplab_v2_resnet101", 44_549_160 - 2_049_000 + 4 * 387_093),
        ("deeplab_v2_resnet18", 11_689_512 - 513_000 + 4 * 96_789),
    ],
)
def test_parameters(name, expected):
    with torch.device("meta"):
        network = segmenter(name, 2, 3, 21)
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize("name", ["deeplab_v2_vgg16", "deeplab_v2_resnet18"])
@pytest.mark.parametrize(("size", "cells"), [(321, 41), (128, 16), (97, 13)])
def test_an_eighth_in_training_and_the_images_size_in_evaluation(name, size, cells):
    with torch.device("meta"):
        network = segmenter(name, 2, 3, 21)
        images = torch.zeros(2, 3, size, 97)
        assert network.train()(images).shape == (2, 21, cells, 13)
        assert network.eval()(images).shape == (2, 21, size, 97)


@both
@pytest.mark.parametrize("size", [(33, 47), (64, 40)])
def test_evaluation_is_training_interpolated(backbone, size):
    network, images = small(backbone), torch.rand(2, 1, *size)
    with torch.no_grad():
        evaluated = network(images)
        network.training = True  # the network alone: dropout stays off, batch norm as it is
        logits = network(images)
    assert logits.shape[2:] == tuple(-(-n // 8) for n in size)
    expected = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(evaluated, expected)


@pytest.mark.parametrize("size", [(33, 41), (40, 24)])
def test_vgg_trunk_equals_its_formula(size):
    encoder, image = small().encoder, torch.rand(1, 1, *size)
    weights = encoder.state_dict()
    with torch.no_grad():
        x = image
        for place in CONVS:
            rate = 2 if place > 21 else 1
            kernel, bias = weights[f"trunk.{place}.weight"], weights[f"trunk.{place}.bias"]
            x = F.conv2d(x, kernel, bias, padding=rate, dilation=rate).relu()
            if place in (2, 7, 14, 21, 28):  # last of a block
                x = F.max_pool2d(x, 3, stride=2 if place < 21 else 1, padding=1)
        x = F.avg_pool2d(x, 3, stride=1, padding=1)
        levels = encoder(image)
    torch.testing.assert_close(levels[-1], x)
    assert [level.shape[1] for level in levels] == list(encoder.level_channels)
    assert weights.keys() == {f"trunk.{place}.{kind}" for place in CONVS for kind in ("weight", "bias")}


def test_vgg_branches_equal_their_formula():
    network, features = small(), torch.randn(2, 32, 30, 26)
    network.encoder = torch.nn.Module()
    network.encoder.forward = lambda x: [x]
    network.training = True
    w = network.state_dict()
    expected = 0
    with torch.no_grad():
        for i, rate in enumerate((6, 12, 18, 24)):
            b, last = f"branches.{i}.", f"last.{i}."
            x = F.conv2d(features, w[b + "0.weight"], w[b + "0.bias"], padding=rate, dilation=rate).relu()
            x = F.conv2d(x, w[b + "3.weight"], w[b + "3.bias"]).relu()
            assert x.shape == (2, 64, 30, 26)
            expected = expected + F.conv2d(x, w[last + "weight"], w[last + "bias"])
        torch.testing.assert_close(network(features), expected)


def test_resnet_has_last_layers_alone():
    network, image = small("resnet18"), torch.rand(1, 1, 64, 80)
    network.training = True
    with torch.no_grad():
        features = network.encoder(image)[-1]
        assert features.shape == (1, 512, 8, 10)
        expected = sum(
            F.conv2d(features, layer.weight, layer.bias, padding=rate, dilation=rate)
            for layer, rate in zip(network.last, (6, 12, 18, 24), strict=True)
        )
        torch.testing.assert_close(network(image), expected)
    assert not list(network.branches.parameters())


def test_dropout_is_of_single_values_and_of_training_alone():
    network = small()
    assert [m.p for m in network.modules() if type(m) is torch.nn.Dropout] == [0.5] * 8
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image), network(image))
        network.train()
        assert not torch.equal(network(image), network(image))


@pytest.mark.parametrize(("backbone", "hidden"), [("vgg16", 21), ("resnet18", 20)])
def test_last_layers_and_biases_learn_faster(backbone, hidden):
    # Caffe: 1 and 2 for weight and bias, 10 and 20 for those of the last layers; ResNet18's 20 weights and the
    # weights of its 20 norms go with the factor 1, the norms' biases with 2
    network = small(backbone)
    groups = parameter_groups(network, 1.0, new=["last"], new_factor=10.0, bias_factor=2.0)
    counts = {group["lr"]: len(group["params"]) for group in groups}
    assert counts == {1.0: 21 if backbone == "vgg16" else 2 * hidden, 2.0: hidden, 10.0: 4, 20.0: 4}


@both
def test_every_weight_gets_a_gradient(backbone):
    network = small(backbone).train()
    network(torch.randn(2, 1, 64, 65)).square().sum().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_script_gives_the_same_output_at_any_size_in_both_modes():
    network = small(dropout=0.0, rates=LARGE_FOV_RATES)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    buffer.seek(0)
    loaded = torch.jit.load(buffer)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        for images in (torch.rand(2, 1, 40, 24), torch.rand(1, 1, 33, 47)):
            torch.testing.assert_close(loaded.eval()(images), network.eval()(images))
            torch.testing.assert_close(loaded.train()(images), network.train()(images))


def test_one_channel_and_three_dimensions():
    network = DeepLabV2(3, 2, 1, rates=LARGE_FOV_RATES, width=1 / 64)
    images = torch.rand(2, 2, 16, 24, 9)  # no axis is too short for a pooling
    assert network.train()(images).shape == (2, 1, 2, 3, 2)
    assert network.eval()(images).shape == (2, 1, 16, 24, 9)


def published(width: float = 1.0, norm: bool = False, channels: int = 3) -> dict[str, torch.Tensor]:
    """A VGG16 by torchvision's names, its classifier included."""
    torch.manual_seed(1)
    trunk = classifier("vgg16_bn" if norm else "vgg16", in_channels=channels, width=width).state_dict()
    weights = {key.replace("trunk.", "features."): value for key, value in trunk.items() if key.startswith("trunk.")}
    return {**weights, "classifier.0.weight": torch.zeros(8, 8), "classifier.0.bias": torch.zeros(8)}


@pytest.mark.parametrize("file", ["torchvision's", "a run's classifier", "a run's segmenter's trunk"])
def test_trunk_starts_from_a_file(file, tmp_path):
    weights = published(1 / 16)
    if file == "a run's classifier":  # trained in the same run, with another pooling, head convolutions and `fc`
        torch.manual_seed(1)
        net = classifier("vgg16", in_channels=3, num_classes=2, head_convs=3, width=1 / 16)
        weights = net.state_dict()
    elif file == "a run's segmenter's trunk":
        weights = {key.replace("features.", "trunk."): value for key, value in weights.items() if "features" in key}
    save_file(weights, tmp_path / "vgg16.safetensors")
    network = small()
    others = {key: value.clone() for key, value in network.state_dict().items() if not key.startswith("encoder.")}
    assert with_backbone(network, tmp_path / "vgg16.safetensors") is network
    prefix = "features" if file == "torchvision's" else "trunk"
    for place in CONVS:
        for kind in ("weight", "bias"):
            actual = network.encoder.state_dict()[f"trunk.{place}.{kind}"]
            expected = weights[f"{prefix}.{place}.{kind}"]
            if (place, kind) == (0, "weight"):  # three colours on grey
                expected = expected.sum(dim=1, keepdim=True)
            torch.testing.assert_close(actual, expected)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in others.items())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda: published(1 / 16, norm=True), "is not in this network; give a backbone of the same depth"),
        (lambda: published(1 / 8), "has shape (8, 3, 3, 3), the network needs (4, 1, 3, 3)"),
        (lambda: {k: v for k, v in published(1 / 16).items() if "28.bias" not in k}, "trunk.28.bias is missing"),
        (lambda: classifier("resnet18").state_dict(), "no weight has a name of this network"),
    ],
    ids=["batch norm", "width", "incomplete", "ResNet"],
)
def test_file_of_another_network(weights, message, tmp_path):
    torch.save(weights(), tmp_path / "backbone.pt")
    network = small()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match=re.escape(message)) as error:
        with_backbone(network, tmp_path / "backbone.pt")
    assert "\n" not in str(error.value)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())


def test_refuses():
    with pytest.raises(ValueError, match="backbone must be vgg16 or a ResNet, got vgg19"):
        DeepLabV2(backbone="vgg19")
    with pytest.raises(ValueError, match="depth must be one of"):
        DeepLabV2(backbone="resnet77")


def test_width_of_a_resnet():
    network = segmenter("deeplab_v2_resnet18", 2, 1, 2, width=0.25)
    assert network.encoder.level_channels == (16, 16, 32, 64, 128)
    assert network.last[0].weight.shape == (2, 128, 3, 3)
