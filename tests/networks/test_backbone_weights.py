import pickle  # to write a hostile file that must not be run
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from monai_wsss.errors import InputError
from monai_wsss.networks import ResNetClassifier, load_backbone

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
