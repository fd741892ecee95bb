import pytest
import torch
from torch import nn

from monai_wsss.networks.nets.classifier import classifier
from monai_wsss.networks.nets.pooled_classifier import PooledClassifier

NAMES = ["resnet18", "resnet34", "resnet50", "resnet101", "vgg16", "vgg16_bn", "alexnet", "googlenet", "densenet121"]
ONE_OF_EACH = ["resnet18", "resnet50", "vgg16", "vgg16_bn", "alexnet", "googlenet", "densenet121"]


def small(name: str, **arguments: object) -> PooledClassifier:
    torch.manual_seed(0)
    return classifier(name, **{"num_classes": 2, "width": 0.125, **arguments})


@pytest.mark.parametrize(
    ("name", "channels", "strides"),
    [
        ("resnet18", (64, 64, 128, 256, 512), (4, 4, 8, 8, 8)),
        ("resnet34", (64, 64, 128, 256, 512), (4, 4, 8, 8, 8)),
        ("resnet50", (64, 256, 512, 1024, 2048), (4, 4, 8, 8, 8)),
        ("resnet101", (64, 256, 512, 1024, 2048), (4, 4, 8, 8, 8)),
        ("vgg16", (64, 128, 256, 512, 512), (2, 4, 8, 8, 8)),
        ("vgg16_bn", (64, 128, 256, 512, 512), (2, 4, 8, 8, 8)),
        ("alexnet", (64, 192, 384, 256, 256), (4, 8, 8, 8, 8)),
        ("googlenet", (64, 192, 480, 832, 1024), (2, 4, 8, 8, 8)),
        ("densenet121", (64, 256, 512, 1024, 1024), (2, 4, 8, 8, 8)),
    ],
)
@pytest.mark.parametrize("size", [(64, 96), (67, 41), (33, 40, 41)])
def test_levels_of_the_published_widths(
    name: str, channels: tuple[int, ...], strides: tuple[int, ...], size: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        net = classifier(name, len(size), in_channels=3, num_classes=20, head_convs=3).eval()
        levels = net.levels(torch.zeros(1, 3, *size))
        features = net.features(torch.zeros(1, 3, *size))
    assert net.level_channels == channels
    expected = [(1, c, *(-(-n // s) for n in size)) for c, s in zip(channels, strides, strict=True)]
    assert [tuple(level.shape) for level in levels] == expected
    assert features.shape == (1, 512, *expected[-1][2:])
    assert net.class_weight.shape == (20, 512)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", NAMES)
def test_output_stride(name: str, output_stride: int) -> None:
    with torch.device("meta"):
        features = classifier(name, output_stride=output_stride).features(torch.zeros(2, 1, 65, 64))
    assert features.shape[2:] == (-(-65 // output_stride), 64 // output_stride)


@pytest.mark.parametrize("head_convs", [0, 3])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_parts_make_the_whole(name: str, head_convs: int) -> None:
    net = small(name, head_convs=head_convs, head_channels=96, drop_prob=0.3).eval()
    images = torch.randn(2, 1, 40, 33)
    seen: list[torch.Tensor] = []
    handle = net.get_submodule("last").register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        logits, features, levels = net(images), net.features(images), net.levels(images)
        handle.remove()
        torch.testing.assert_close(seen[0], features, rtol=0, atol=0)
        torch.testing.assert_close(net.classify(features), logits, rtol=0, atol=0)
        maps = torch.einsum("bfhw,kf->bkhw", features, net.class_weight)
        torch.testing.assert_close(maps.mean(dim=(2, 3)) + net.fc.bias, logits)
        on_top = levels[-1]
        for conv in [module for module in net.head if isinstance(module, nn.Conv2d)]:
            on_top = nn.functional.conv2d(on_top, conv.weight, conv.bias, padding=1).clamp(min=0)
        torch.testing.assert_close(features, on_top)
    assert features.min() >= 0
    assert tuple(level.shape[1] for level in levels) == net.level_channels
    assert features.shape[1] == (12 if head_convs else net.level_channels[-1])  # 96 / 8


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_three_convolutions_of_the_paper(name: str) -> None:
    with torch.device("meta"):
        without, net = classifier(name), classifier(name, head_convs=3)
    below = without.level_channels[-1]
    # 3x3 from the backbone to 512, twice 512 to 512, each with biases; the linear layer reads 512 then
    added = 9 * below * 512 + 512 + 2 * (9 * 512 * 512 + 512) + 512 - below
    own = [sum(p.numel() for p in each.parameters()) for each in (without, net)]
    assert own[1] - own[0] == added
    new = {"head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias", "head.4.weight", "head.4.bias"}
    assert net.state_dict().keys() - without.state_dict().keys() == new


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_drop_block_acts_on_the_last_two_levels_in_training(name: str) -> None:
    images = torch.randn(3, 1, 96, 96)
    plain, dropping = small(name, head_convs=1), small(name, head_convs=1, drop_prob=0.3, drop_size=3)
    assert plain.state_dict().keys() == dropping.state_dict().keys()
    before, after = plain.train().levels(images), dropping.train().levels(images)
    for level in range(3):
        assert torch.equal(before[level], after[level])
    for level in (3, 4):
        assert not torch.equal(before[level], after[level])
        gone = (after[level] == 0).all(dim=1) & ~(before[level] == 0).all(dim=1)
        assert 0.1 < gone.float().mean() < 0.4
    plain.load_state_dict(dropping.state_dict())  # batch norm has seen other features
    with torch.no_grad():
        torch.testing.assert_close(dropping.eval()(images), plain.eval()(images), rtol=0, atol=0)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_batch_equals_single_and_trace(name: str) -> None:
    net = small(name, head_convs=2, drop_prob=0.2).eval()
    images = torch.randn(3, 1, 40, 48)
    with torch.no_grad():
        expected = net(images)
        torch.testing.assert_close(torch.cat([net(image[None]) for image in images]), expected)
        torch.testing.assert_close(torch.jit.trace(net, images[:1])(images), expected)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_weight_gets_a_gradient_in_half_precision_too(name: str) -> None:
    net = small(name, head_convs=1, drop_prob=0.1, drop_size=2, width=0.25)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(torch.randn(2, 1, 48, 48))
    logits.float().square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        # a quarter of (64, 256, 512, 1024, 2048), and so on
        ("resnet50", (16, 64, 128, 256, 512)),
        ("alexnet", (16, 48, 96, 64, 64)),
        ("googlenet", (16, 48, 120, 208, 256)),
        ("densenet121", (16, 64, 128, 256, 256)),
    ],
)
def test_width_scales_every_channel(name: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        net = classifier(name, head_convs=3, width=0.25)
    assert net.level_channels == channels
    assert net.class_weight.shape == (1, 128)  # 512 / 4


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_width(name: str) -> None:
    features = classifier(name, width=1 / 64).eval().features(torch.rand(1, 1, 64, 64))
    assert features.shape[2:] == (8, 8) and bool(features.isfinite().all())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", ["vgg16", "alexnet", "googlenet", "densenet121"])
def test_script_gives_the_same_for_other_sizes(name: str, dims: int) -> None:
    net = small(name, spatial_dims=dims).eval()
    scripted = torch.jit.script(net)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        for size in ((40, 33, 32), (32, 48, 35)):
            images = torch.randn(2, 1, *size[:dims])
            torch.testing.assert_close(scripted(images), net(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vgg19"}, f"must be one of {', '.join(NAMES)}, got vgg19"),
        ({"output_stride": 4}, "output_stride must be one of .*, got 4"),
        ({"name": "vgg16", "output_stride": 4}, "output_stride must be one of .*, got 4"),
        ({"name": "alexnet", "output_stride": 4}, "output_stride must be one of .*, got 4"),
        ({"name": "googlenet", "output_stride": 4}, "output_stride must be one of .*, got 4"),
        ({"name": "densenet121", "output_stride": 4}, "output_stride must be one of .*, got 4"),
        ({"head_convs": -1}, "convs of the head must be 0 or more, got -1"),
        ({"width": 0.01}, "width must leave at least one of 64 and of 512 channels, got 0.01"),
        ({"head_channels": 2, "width": 0.25}, "width must leave at least one of 64 and of 2 channels, got 0.25"),
        ({"drop_prob": 1.0}, r"drop_prob must lie in \[0, 1\), got 1.0"),
    ],
)
def test_refuses_other_values(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(**{"name": "resnet18", **arguments})


@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_attention_pooling_of_the_class_maps(name):
    """Score of BES, Eqs. 6-7, of the map that CAM reads off, plus the bias."""
    network = classifier(name, num_classes=2, width=0.125, pooling="attention", attention=0.5).eval()
    torch.nn.init.constant_(network.fc.bias, 0.25)
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    features = network.features(images)
    maps = torch.einsum("bfhw,kf->bkhw", features, network.class_weight).flatten(2)
    expected = (maps * (0.5 * maps).softmax(2)).sum(2) + 0.25
    torch.testing.assert_close(network(images), expected)


def test_attention_pooling_of_the_features_takes_no_gradient_through_its_weights():
    network = classifier("resnet18", width=0.125, pooling="attention_features", attention=2.0).eval()
    features = torch.rand(1, network.class_weight.shape[1], 3, 3, requires_grad=True)
    network.classify(features).sum().backward()
    attention = (2.0 * features.flatten(2)).softmax(2).reshape(features.shape).detach()
    torch.testing.assert_close(features.grad, attention * network.class_weight.detach()[0, :, None, None])


def test_attention_without_sharpness_is_the_average():
    torch.manual_seed(0)
    average = classifier("resnet18", width=0.125).eval()
    images = torch.randn(2, 1, 32, 32)
    for pooling in ("attention", "attention_features"):
        other = classifier("resnet18", width=0.125, pooling=pooling, attention=0.0).eval()
        other.load_state_dict(average.state_dict())
        torch.testing.assert_close(other(images), average(images))


def test_other_poolings_are_refused():
    with pytest.raises(ValueError, match="pooling must be one of average, attention, attention_features, got max"):
        classifier("resnet18", pooling="max")
