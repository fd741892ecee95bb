import pickle  # to write a hostile file that must not be run
import re
from pathlib import Path

import pytest
import torch
from monai.networks.nets import DenseNet121, densenet
from safetensors.torch import save_file

from monai_wsss.errors import InputError
from monai_wsss.networks import ResNetClassifier, load_backbone
from monai_wsss.networks.nets.classifier import classifier
from monai_wsss.networks.nets.conv_encoder import ConvEncoder
from monai_wsss.networks.nets.fully_connected_classifier import FullyConnectedClassifier

HEAD = ["fc.weight", "fc.bias"]
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def rgb() -> Weights:
    """A backbone as published: RGB, 10 classes; batch norm statistics away from their defaults."""
    torch.manual_seed(1)
    weights = ResNetClassifier(in_channels=3, num_classes=10, depth=18).state_dict()
    return {
        key: value + torch.rand(value.shape) if value.is_floating_point() else value + 7
        for key, value in weights.items()
    }


@pytest.fixture(scope="module")
def net() -> ResNetClassifier:
    return ResNetClassifier(in_channels=1, num_classes=2, depth=18)


def write(weights: object, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("name", ["backbone.safetensors", "backbone.pth"])
def test_round_trip(rgb: Weights, tmp_path: Path, name: str) -> None:
    net = ResNetClassifier(in_channels=3, num_classes=10, depth=18, output_stride=8)
    loaded = load_backbone(net, write(rgb, tmp_path / name))
    assert loaded == list(net.state_dict())
    for key, value in net.state_dict().items():
        assert torch.equal(value, rgb[key]), key


def test_head_of_another_shape_is_left_alone(rgb: Weights, net: ResNetClassifier, tmp_path: Path) -> None:
    before = net.fc.weight.clone()
    loaded = load_backbone(net, write(rgb, tmp_path / "backbone.pt"))
    # fc.bias (10,) and fc.weight (10, 512) do not fit 2 classes
    assert loaded == [key for key in net.state_dict() if key not in HEAD]
    assert torch.equal(net.fc.weight, before)
    assert torch.equal(net.layer4[1].conv2.weight, rgb["layer4.1.conv2.weight"])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_first_kernel_keeps_the_response_to_grey(rgb: Weights, tmp_path: Path, channels: int) -> None:
    net = ResNetClassifier(in_channels=channels, depth=18)
    load_backbone(net, write(rgb, tmp_path / "backbone.pt"))
    assert net.conv1.weight.shape == (64, channels, 7, 7)
    grey = torch.randn(1, 1, 16, 16)
    expected = torch.nn.functional.conv2d(grey.expand(1, 3, 16, 16), rgb["conv1.weight"], stride=2, padding=3)
    torch.testing.assert_close(net.conv1(grey.expand(1, channels, 16, 16)), expected, rtol=1e-4, atol=1e-4)


def test_first_kernel_literals(tmp_path: Path, rgb: Weights) -> None:
    # R, G, B kernels of 1, 2 and 6: one channel gets their sum 9, three keep theirs, two get 9 / 2 each
    kernel = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1).expand(64, 3, 7, 7).contiguous()
    path = write({**rgb, "conv1.weight": kernel}, tmp_path / "backbone.pt")
    for channels, expected in ((1, [9.0]), (2, [4.5, 4.5]), (3, [1.0, 2.0, 6.0])):
        net = ResNetClassifier(in_channels=channels, depth=18)
        load_backbone(net, path)
        assert net.conv1.weight[5, :, 3, 3].tolist() == expected


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"model": {f"module.{key}": value for key, value in weights.items()}},
        lambda weights: {key: value for key, value in weights.items() if not key.startswith("fc.")},
        lambda weights: {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")},
        lambda weights: {key: value.half() if value.is_floating_point() else value for key, value in weights.items()},
        lambda weights: {**weights, "projector.weight": torch.zeros(3)},
    ],
    ids=["state_dict", "parallel", "no head", "old batch norm", "half precision", "other head"],
)
def test_files_as_they_are_found(rgb: Weights, net: ResNetClassifier, tmp_path: Path, wrap) -> None:
    loaded = load_backbone(net, write(wrap(rgb), tmp_path / "backbone.pt"))
    assert "conv1.weight" in loaded
    assert net.layer1[0].conv1.weight.dtype == torch.float32
    torch.testing.assert_close(net.layer1[0].conv1.weight.detach(), rgb["layer1.0.conv1.weight"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {"encoder.weight": torch.zeros(1)}, "no weight has a name of this network"),
        (lambda w: {}, "no weight has a name of this network"),
        (lambda w: [1], "holds a list, not weights by name"),
        (
            lambda w: {**w, "layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)},
            r"layer2.0.conv1.weight has shape \(128, 64, 1, 1\), the network needs \(128, 64, 3, 3\)",
        ),
        (lambda w: {**w, "layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3)}, "layer1.2.conv1.weight is not in this"),
        (lambda w: {k: v for k, v in w.items() if k != "layer3.1.bn2.bias"}, "layer3.1.bn2.bias is missing"),
        (lambda w: {**w, "conv1.weight": torch.zeros(64, 3, 7, 7, 7)}, "conv1.weight has shape"),
    ],
)
def test_refuses_another_backbone(rgb: Weights, net: ResNetClassifier, tmp_path: Path, change, message: str) -> None:
    before = {key: value.clone() for key, value in net.state_dict().items()}
    path = write(change(rgb), tmp_path / "backbone.pt")
    with pytest.raises(InputError, match=message) as error:
        load_backbone(net, path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def as_published(name: str) -> Weights:
    """A VGG as torchvision writes it: RGB, its three linear layers (cut to a few numbers here), our 1/8 of width."""
    torch.manual_seed(2)
    state = classifier(name, in_channels=3, output_stride=32, width=0.125).state_dict()
    weights = {key.replace("trunk.", "features."): torch.rand_like(value.float()) for key, value in state.items()}
    weights = {key: value for key, value in weights.items() if key.startswith("features.")}
    return {**weights, **{f"classifier.{layer}.weight": torch.zeros(4, 4) for layer in (0, 3, 6)}}


@pytest.mark.parametrize("file", ["backbone.safetensors", "backbone.pth"])
@pytest.mark.parametrize(("name", "weights"), [("vgg16", 13 * 2), ("vgg16_bn", 13 * 7)])
def test_published_vgg(tmp_path: Path, name: str, weights: int, file: str) -> None:
    rgb = as_published(name)
    net = classifier(name, in_channels=1, output_stride=8, head_convs=3, width=0.125)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    loaded = load_backbone(net, write(rgb, tmp_path / file))
    after = net.state_dict()
    assert loaded == [key for key in after if key.startswith("trunk.")] and len(loaded) == weights
    torch.testing.assert_close(after["trunk.0.weight"], rgb["features.0.weight"].sum(dim=1, keepdim=True))
    for key in loaded[1:]:
        assert torch.equal(after[key].float(), rgb[key.replace("trunk.", "features.")].to(after[key].dtype).float()), (
            key
        )
    for key in after.keys() - set(loaded):
        assert key.startswith(("head.", "fc.")) and torch.equal(after[key], before[key])


@pytest.mark.parametrize(
    ("name", "stem", "heads"),
    [
        ("alexnet", "features.0.weight", ["classifier.1.weight", "classifier.6.bias"]),
        ("googlenet", "conv1.conv.weight", ["aux1.conv.conv.weight", "aux2.fc2.bias", "fc.weight", "fc.bias"]),
        ("densenet121", "features.conv0.weight", ["classifier.weight", "classifier.bias"]),
    ],
)
@pytest.mark.parametrize("old", [False, True], ids=["new names", "old names"])
def test_published_alexnet_googlenet_and_densenet(
    tmp_path: Path, name: str, stem: str, heads: list[str], old: bool
) -> None:
    torch.manual_seed(3)
    source = classifier(name, in_channels=3, output_stride=32, width=0.125).eval()
    weights = {as_torchvision(key, old): value for key, value in source.state_dict().items() if key[:3] != "fc."}
    if old:  # files older than batch norm's step counter
        weights = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    assert stem in weights
    path = write({**weights, **{key: torch.zeros(4, 4) for key in heads}}, tmp_path / "backbone.pth")
    net = classifier(name, in_channels=1, output_stride=32, width=0.125).eval()
    loaded = load_backbone(net, path)
    assert len(loaded) == len(weights) and not any(key.startswith("fc.") for key in loaded)
    grey = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        expected = source.features(grey.repeat(1, 3, 1, 1))
        torch.testing.assert_close(net.features(grey), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    other = classifier(name, width=0.125)
    assert load_backbone(other, write(net.state_dict(), tmp_path / "own.pt")) == list(net.state_dict())


def as_torchvision(key: str, old: bool = False) -> str:
    """torchvision's name of our weight; `norm1` of a dense layer was once `norm.1`."""
    return re.sub(r"\.layers\.(norm|conv)(\d)", r".\1.\2" if old else r".\1\2", key.replace("trunk.", "features."))


def test_densenets_names_are_those_of_monais_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = DenseNet121(2, 3, 4, init_features=8, growth_rate=4)
    published = {
        as_torchvision(key, old=True): torch.rand(value.shape)
        for key, value in reference.state_dict().items()
        if key.startswith("features.") and not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in published
    monkeypatch.setattr(densenet, "load_state_dict_from_url", lambda *_, **__: dict(published))
    densenet._load_state_dict(reference, "densenet121", progress=False)
    net = classifier("densenet121", in_channels=3, width=0.125)
    load_backbone(net, write(published, tmp_path / "backbone.pth"))
    own = {key.replace("trunk.", "features."): value for key, value in net.state_dict().items()}
    for key, value in reference.state_dict().items():
        if key.startswith("features.") and not key.endswith("num_batches_tracked"):
            assert torch.equal(own[key], value), key


@pytest.mark.parametrize(
    ("name", "extra", "gone"),
    [
        ("alexnet", "features.13.weight", "features.10.bias"),
        ("googlenet", "inception5c.branch1.conv.weight", "inception4e.branch3.1.bn.weight"),
        # DenseNet169 has 32 layers in its third block
        ("densenet121", "features.denseblock3.denselayer25.conv1.weight", "features.norm5.weight"),
    ],
)
def test_refuses_another_alexnet_googlenet_or_densenet(tmp_path: Path, name: str, extra: str, gone: str) -> None:
    net = classifier(name, width=0.125)
    weights = {as_torchvision(key): value for key, value in net.state_dict().items()}
    deeper = write({**weights, extra: torch.zeros(1)}, tmp_path / "deeper.pt")
    named = extra.replace("features.", "trunk.").replace("25.conv1", "25.layers.conv1")
    with pytest.raises(InputError, match=f"{re.escape(named)} is not in this network"):
        load_backbone(net, deeper)
    shallower = write({key: value for key, value in weights.items() if key != gone}, tmp_path / "shallower.pt")
    with pytest.raises(InputError, match=f"{re.escape(gone.replace('features.', 'trunk.'))} is missing"):
        load_backbone(net, shallower)


@pytest.mark.parametrize(("prefix", "network"), [("", ConvEncoder), ("encoder.", FullyConnectedClassifier)])
def test_published_vgg_with_switches(tmp_path: Path, prefix: str, network: type) -> None:
    rgb = as_published("vgg16")
    net = network("vgg16", width=0.125, **({"input_size": 32, "hidden": 4} if prefix else {}))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    loaded = load_backbone(net, write(rgb, tmp_path / "backbone.pth"))
    after = net.state_dict()
    assert loaded == [key for key in after if key.startswith(f"{prefix}trunk.")] and len(loaded) == 13 * 2
    stem = f"{prefix}trunk.0.weight"
    torch.testing.assert_close(after[stem], rgb["features.0.weight"].sum(dim=1, keepdim=True))
    for key in loaded:
        if key != stem:
            assert torch.equal(after[key], rgb[key.replace(f"{prefix}trunk.", "features.")]), key
    for key in after.keys() - set(loaded):
        assert torch.equal(after[key], before[key])
    with pytest.raises(InputError, match=r"trunk\.1\.weight is not in this network"):
        load_backbone(net, write(as_published("vgg16_bn"), tmp_path / "other.pth"))


def test_fully_connected_layers_are_taken_where_they_fit(tmp_path: Path) -> None:
    own = FullyConnectedClassifier("vgg16", input_size=32, hidden=4, width=0.125)
    path = write(own.state_dict(), tmp_path / "classifier.pt")
    same = FullyConnectedClassifier("vgg16", input_size=32, hidden=4, width=0.125)
    assert load_backbone(same, path) == list(own.state_dict())
    larger = FullyConnectedClassifier("vgg16", input_size=64, hidden=4, width=0.125)  # four times as many features
    assert [key for key in load_backbone(larger, path) if not key.startswith("encoder.")] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # VGG19 has convolutions at 16 and 23, where VGG16 has a pooling
        (lambda w: {**w, "features.16.weight": torch.zeros(32, 32, 3, 3)}, "trunk.16.weight is not in this network"),
        # VGG13 has none at 14
        (lambda w: {k: v for k, v in w.items() if "features.14." not in k}, "trunk.14.weight is missing"),
        (lambda w: {**w, "features.0.weight": torch.zeros(8, 3, 7, 7)}, r"has shape \(8, 3, 7, 7\), the network needs"),
        (lambda w: as_published("vgg16_bn"), "trunk.1.weight is not in this network"),
        (lambda w: {k: v for k, v in w.items() if k.startswith("classifier.")}, "no weight has a name of this network"),
    ],
)
def test_refuses_another_vgg(tmp_path: Path, change, message: str) -> None:
    net = classifier("vgg16", width=0.125)
    path = write(change(as_published("vgg16")), tmp_path / "backbone.pt")
    with pytest.raises(InputError, match=message):
        load_backbone(net, path)


@pytest.mark.parametrize("name", ["resnet18", "vgg16_bn"])
def test_head_convolutions_are_taken_where_they_fit(tmp_path: Path, name: str) -> None:
    own = classifier(name, head_convs=3, width=0.125)
    path = write(own.state_dict(), tmp_path / "classifier.pt")
    same = classifier(name, head_convs=3, width=0.125)
    assert load_backbone(same, path) == list(same.state_dict())
    assert all(torch.equal(value, same.state_dict()[key]) for key, value in own.state_dict().items())
    # 2 of 3 convolutions, or 2 classes: the rest would fit, but is left alone with what does not
    for arguments in ({"head_convs": 2, "head_channels": 64}, {"head_convs": 3, "num_classes": 2}):
        other = classifier(name, width=0.125, **arguments)
        before = other.head[2].weight.clone()
        assert [key for key in load_backbone(other, path) if key.startswith(("head.", "fc."))] == []
        assert torch.equal(other.head[2].weight, before)
    bare = classifier(name, width=0.125)  # its linear layer has the same shape and reads other features
    assert bare.fc.weight.shape == own.fc.weight.shape and "fc.weight" not in load_backbone(bare, path)


def test_resnet_with_head_convolutions_from_a_published_file(rgb: Weights, tmp_path: Path) -> None:
    net = classifier("resnet18", head_convs=3, drop_prob=0.2)
    before = net.head[0].weight.clone()
    loaded = load_backbone(net, write(rgb, tmp_path / "backbone.pt"))
    assert [key for key in net.state_dict() if key not in loaded] == [
        *(f"head.{place}.{kind}" for place in (0, 2, 4) for kind in ("weight", "bias")),
        *HEAD,
    ]
    assert torch.equal(net.head[0].weight, before)


class Trap:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_refuses_unreadable_files(net: ResNetClassifier, tmp_path: Path) -> None:
    whole = write(net.state_dict(), tmp_path / "whole.pt").read_bytes()
    for name, content in {
        "empty.pt": b"",
        "text.pt": b"these are no weights",
        "cut.pt": whole[: len(whole) // 2],
        "text.safetensors": b"these are no weights",
        "trap.pt": pickle.dumps(Trap(tmp_path / "sprung"), protocol=2),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: cannot be read as plain weights") as error:
            load_backbone(net, tmp_path / name)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(InputError, match=r"missing\.pt: no such file"):
        load_backbone(net, tmp_path / "missing.pt")
