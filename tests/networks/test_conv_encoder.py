import inspect

import pytest
import torch
from torch.nn import functional as F

from monai_wsss.networks.nets.conv_encoder import ConvEncoder
from monai_wsss.networks.nets.fully_connected_classifier import FullyConnectedClassifier


def literal(encoder: ConvEncoder, x: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of the blocks, as the tables read."""
    convs, outputs = list(encoder.trunk.values()), []
    for first, end in encoder.spans:
        for conv in convs[first:end]:
            x = conv(x).relu()
        x = F.max_pool2d(x, 2) if x.ndim == 4 else F.max_pool3d(x, 2)
        outputs.append(x)
    return outputs


@pytest.mark.parametrize(
    ("name", "filters", "kernels", "numbers", "parameters"),
    [
        # 96 x 121 + 96, 256 x 25 x 96 + 256, 384 x 9 x 256 + 384, 384 x 9 x 384 + 384, 256 x 9 x 384 + 256
        (
            "tuberculosis",
            [96, 256, 384, 384, 256],
            [11, 5, 3, 3, 3],
            [0, 3, 6, 9, 12],
            11_712 + 614_656 + 885_120 + 1_327_488 + 884_992,
        ),
        # torchvision's VGG16 features have 14,714,688 with three channels in; two less are 2 x 9 x 64
        (
            "vgg16",
            [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6,
            [3] * 13,
            [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
            14_714_688 - 1152,
        ),
    ],
)
def test_is_the_table(name: str, filters: list, kernels: list, numbers: list, parameters: int) -> None:
    encoder = ConvEncoder(name)
    assert [conv.out_channels for conv in encoder.convolutions()] == filters
    assert [conv.kernel_size[0] for conv in encoder.convolutions()] == kernels
    assert list(encoder.trunk) == [str(number) for number in numbers]
    assert sum(weight.numel() for weight in encoder.parameters()) == parameters
    with torch.no_grad():
        features, switches = encoder(torch.zeros(1, 1, 64, 96))
    assert features.shape == (1, filters[-1], 2, 3)
    assert [size for _, size in switches] == [[64, 96], [32, 48], [16, 24], [8, 12], [4, 6]]


@pytest.mark.parametrize(("name", "size"), [("tuberculosis", (64, 75)), ("vgg16", (47, 40)), ("vgg16", (35, 32, 40))])
def test_features_and_switches(name: str, size: tuple[int, ...]) -> None:
    encoder = ConvEncoder(name, len(size), in_channels=2, width=1 / 32)
    x = torch.randn(2, 2, *size)
    before = x.clone()
    with torch.no_grad():
        features, switches = encoder(x)
        outputs = literal(encoder, x)
    assert torch.equal(x, before)
    torch.testing.assert_close(features, outputs[-1])
    # 75 pixels are 75, 37, 18, 9, 4 before the poolings
    assert [edge for _, (*_, edge) in switches] == [size[-1] >> number for number in range(5)]
    for (indices, _), output in zip(switches, outputs, strict=True):
        assert indices.shape == output.shape
    unpooled = torch.zeros(*outputs[-1].shape[:2], torch.tensor(switches[-1][1]).prod())
    unpooled.scatter_(2, switches[-1][0].flatten(2), outputs[-1].flatten(2))
    unpool = F.max_unpool2d if len(size) == 2 else F.max_unpool3d
    expected = unpool(outputs[-1], switches[-1][0], 2, 2, output_size=switches[-1][1])
    assert torch.equal(unpooled.unflatten(2, switches[-1][1]), expected)


def test_width_is_a_share_of_the_channels() -> None:
    assert [conv.out_channels for conv in ConvEncoder(width=0.25).convolutions()] == [24, 64, 96, 96, 64]


def test_activations_keep_their_scale() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        features, _ = ConvEncoder("vgg16", width=0.25)(torch.randn(1, 1, 64, 64))
    assert 0.1 < features.square().mean().sqrt() < 10  # torch's own initialisation: 1e-2 after thirteen layers


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"name": "vgg19"}, "name must be one of tuberculosis, vgg16, got vgg19"), ({"width": 0.001}, "width must leave")],
)
def test_refuses_arguments(arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ConvEncoder(**arguments)


def test_refuses_small_images() -> None:
    with pytest.raises(ValueError, match="at least 32 pixels"):
        ConvEncoder(width=1 / 32)(torch.zeros(1, 1, 64, 31))


def test_classifier_is_the_papers() -> None:
    net = FullyConnectedClassifier(hidden=8)
    shapes = {name: tuple(weight.shape) for name, weight in net.named_parameters() if "encoder" not in name}
    assert shapes == {  # 256 features on 10 x 10 positions
        "hidden.0.weight": (8, 25_600),
        "hidden.0.bias": (8,),
        "hidden.3.weight": (8, 8),
        "hidden.3.bias": (8,),
        "fc.weight": (1, 8),
        "fc.bias": (1,),
    }
    assert inspect.signature(FullyConnectedClassifier).parameters["hidden"].default == 2048


@pytest.mark.parametrize(("size", "input_size"), [((64, 64), 64), ((64, 40), (64, 40)), ((33, 64, 32), (33, 64, 32))])
def test_classifier_by_its_layers(size: tuple[int, ...], input_size: int | tuple[int, ...]) -> None:
    net = FullyConnectedClassifier("vgg16", len(size), 1, 3, input_size, hidden=7, width=1 / 32)
    x = torch.randn(2, 1, *size)
    first, second = net.hidden[0], net.hidden[3]
    with torch.no_grad():
        features = literal(net.encoder, x)[-1].flatten(1)
        expected = net.fc(second(first(features).relu()).relu())
        torch.testing.assert_close(net(x), expected)
        torch.testing.assert_close(net(x)[:1], net(x[:1]))
    assert expected.shape == (2, 3)


def test_classifier_can_be_scripted() -> None:
    net, x = FullyConnectedClassifier(input_size=32, hidden=4, width=1 / 16), torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(torch.jit.script(net)(x), net(x))


def test_classifier_drops_units_in_training_alone() -> None:
    net = FullyConnectedClassifier(input_size=32, hidden=64, width=1 / 16, dropout=0.5)
    x = torch.randn(1, 1, 32, 32)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_classifier_refuses_another_size() -> None:
    net = FullyConnectedClassifier(input_size=(64, 32), hidden=4, width=1 / 16)
    with pytest.raises(ValueError, match=r"built for images of \[64, 32\] pixels, got \[32, 64\]"):
        net(torch.zeros(1, 1, 32, 64))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"input_size": 31}, "input_size must be 32 pixels or more"), ({"hidden": 0}, "hidden must be 1 or more, got 0")],
)
def test_classifier_refuses_arguments(arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        FullyConnectedClassifier(**arguments)
