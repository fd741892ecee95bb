import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from monai_wsss.networks.nets.fully_connected_classifier import FullyConnectedClassifier
from monai_wsss.networks.nets.tied_deconv import ImageScores, TiedDeconvNet
from monai_wsss.ops.log_sum_exp_pooling import log_sum_exp_pooling

TINY = {"width": 1 / 24}  # 4, 10, 16, 16, 10 channels


def net(**arguments) -> TiedDeconvNet:
    torch.manual_seed(0)
    return TiedDeconvNet(**{**TINY, **arguments})


def filled(network: nn.Module) -> nn.Module:
    """Biases away from 0."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.randn_like(parameter) / 4)
    return network


def literal(network: TiedDeconvNet, x: torch.Tensor) -> torch.Tensor:
    """Class maps as the equations read: the whole stack is built, and deconvolutions are convolutions."""
    two = x.ndim == 4
    conv_nd, pool, unpool = (
        (F.conv2d, F.max_pool2d, F.max_unpool2d) if two else (F.conv3d, F.max_pool3d, F.max_unpool3d)
    )
    dims = tuple(range(2, x.ndim))
    convs, switches = network.encoder.convolutions(), []
    for first, end in network.encoder.spans:
        for conv in convs[first:end]:
            x = conv(x).relu()
        size = x.shape
        x, places = pool(x, 2, return_indices=True)
        switches.append((places, size))
    stack = [x]
    for number, deconv in enumerate(network.deconvs):
        first, end = network.encoder.spans[4 - number]
        x = unpool(x, switches[4 - number][0], 2, output_size=switches[4 - number][1])
        for conv, layer in zip(convs[first:end][::-1], deconv.layers, strict=True):
            weight = conv.weight if layer.weight is None else layer.weight
            # The transpose of a convolution is the convolution with its channels exchanged and its kernel turned round
            turned = weight.transpose(0, 1).flip(dims)
            x = conv_nd(x, turned, layer.bias, padding=weight.shape[-1] // 2).relu()
        stack.append(x)
    features = []
    for level in stack:
        axes = (1, *dims) if network.normalise == "image" else dims
        level = (level - level.mean(axes, keepdim=True)) / (level.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()
        features.append(F.interpolate(level, size=x.shape[2:], mode="nearest-exact"))
    return network.map_conv(torch.cat(features, dim=1))


@pytest.mark.parametrize(
    ("name", "stages", "layers", "stack", "parameters"),
    [
        # Encoder, then the biases of the deconvolutions, then two maps with their biases
        ("tuberculosis", 0, [], [256], 3_723_968 + 2 * 256 + 2),
        ("tuberculosis", 1, [[384]], [256, 384], 3_723_968 + 384 + 2 * 640 + 2),
        ("tuberculosis", 3, [[384], [384], [256]], [256, 384, 384, 256], 3_723_968 + 1024 + 2 * 1280 + 2),
        (
            "vgg16",
            3,
            [[512, 512, 512], [512, 512, 256], [256, 256, 128]],
            [512, 512, 256, 128],
            14_713_536 + (1536 + 1280 + 640) + 2 * 1408 + 2,
        ),
    ],
)
def test_is_the_table(name: str, stages: int, layers: list, stack: list, parameters: int) -> None:
    network = TiedDeconvNet(name, deconv_stages=stages)
    assert [[len(layer.bias) for layer in deconv.layers] for deconv in network.deconvs] == layers
    assert network.stack_channels == stack
    assert sum(weight.numel() for weight in network.parameters()) == parameters
    outputs = []
    for deconv in network.deconvs:
        deconv.register_forward_hook(lambda _module, _inputs, output: outputs.append(tuple(output.shape)))
    with torch.no_grad():
        maps = network(torch.zeros(1, 1, 64, 32))
    assert outputs == [(1, width, 4 << place, 2 << place) for place, width in enumerate(stack[1:])]
    assert maps.shape == (1, 2, 2 << stages, 1 << stages)


def test_what_the_bias_of_the_maps_begins_with() -> None:
    """Of an image of zeros the maps are the bias."""
    for bias in (0.0, 1.0):
        maps = net(map_bias=bias).maps(torch.zeros(1, 1, 64, 64))
        assert maps.eq(bias).all()


@pytest.mark.parametrize("name", ["tuberculosis", "vgg16"])
@pytest.mark.parametrize(
    ("size", "arguments"),
    [
        ((64, 96), {"deconv_stages": 0}),
        ((64, 96), {"deconv_stages": 2, "normalise": "channel"}),
        ((64, 32), {"tied": False}),
        ((75, 47), {"activation": "softmax", "num_classes": 3}),
        ((35, 32, 40), {"spatial_dims": 3, "in_channels": 2}),
    ],
)
def test_maps_are_the_equations(name: str, size: tuple[int, ...], arguments: dict) -> None:
    network = filled(net(name=name, **arguments))
    x = torch.randn(2, arguments.get("in_channels", 1), *size)
    with torch.no_grad():
        torch.testing.assert_close(network.maps(x), literal(network, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (75, 47)])
def test_gradients_are_the_equations(size: tuple[int, int]) -> None:
    network, x = filled(net()).double(), torch.randn(2, 1, *size, dtype=torch.float64)
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    grads = (torch.autograd.grad(maps.square().sum(), weights) for maps in (network(x), literal(network, x)))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("tied", "stages"), [(True, 3), (False, 3), (True, 1)])
def test_one_parameter_serves_both(tied: bool, stages: int) -> None:
    network = net(tied=tied, deconv_stages=stages)
    keys = [key for key in network.state_dict() if key.startswith("deconvs.")]
    assert keys == [f"deconvs.{n}.layers.0.{kind}" for n in range(stages) for kind in ("bias", "weight")[: 2 - tied]]
    features = torch.rand(1, 10, 1, 1)
    places = torch.zeros(1, 10, 1, 1, dtype=torch.long)
    before = network.deconvs[0](features, places, [2, 2], network.encoder.weights()[4:])
    with torch.no_grad():
        network.encoder.convolutions()[4].weight.mul_(3)
    after = network.deconvs[0](features, places, [2, 2], network.encoder.weights()[4:])
    torch.testing.assert_close(after, before * (3 if tied else 1))


def test_gradients_of_both_uses_add() -> None:
    x, (tied, untied) = torch.randn(2, 1, 64, 64, dtype=torch.float64), (net(tied=each).double() for each in (1, 0))
    untied.load_state_dict(tied.state_dict(), strict=False)
    for deconv, conv in zip(untied.deconvs, untied.encoder.convolutions()[:1:-1], strict=True):
        deconv.layers[0].weight.data.copy_(conv.weight)
    for network in (tied, untied):
        network(x).square().sum().backward()
    for number in (2, 3, 4):
        apart = untied.encoder.convolutions()[number].weight.grad, untied.deconvs[4 - number].layers[0].weight.grad
        assert all(grad.abs().max() > 1e-6 for grad in apart)
        torch.testing.assert_close(tied.encoder.convolutions()[number].weight.grad, apart[0] + apart[1])


def test_unpools_to_where_the_maximum_stood() -> None:
    network = net(deconv_stages=1)
    seen = []
    network.deconvs[0].layers[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        x = torch.randn(1, 1, 64, 64)
        last, switches = network.encoder(x)
        network(x)
    unpooled = seen[0]
    assert unpooled.shape == (1, 10, 4, 4)
    torch.testing.assert_close(F.max_pool2d(unpooled, 2), last)
    assert (unpooled.unflatten(2, (2, 2)).unflatten(4, (2, 2)) > 0).sum((3, 5)).max() == 1  # one of four positions
    assert torch.equal(unpooled.flatten(2).gather(2, switches[-1][0].flatten(2)), last.flatten(2))


def test_untied_weights_keep_the_scale() -> None:
    network = net(tied=False, width=1.0, deconv_stages=1)
    weight = network.deconvs[0].layers[0].weight
    # 256 channels in, 9 positions: variance 2 / 2304
    assert weight.var().item() == pytest.approx(2 / 2304, rel=0.02)


@pytest.mark.parametrize("normalise", ["image", "channel"])
def test_normalised_stack(normalise: str) -> None:
    network = net(normalise=normalise)
    level = torch.rand(2, 3, 4, 5) * torch.tensor([1.0, 10.0, 0.0]).view(3, 1, 1) + 7
    done = network._standardise(level)
    axes = (1, 2, 3) if normalise == "image" else (2, 3)
    torch.testing.assert_close(done.mean(axes), torch.zeros_like(done.mean(axes)), rtol=0, atol=1e-4)
    spread = done.std(axes, correction=0)
    if normalise == "image":
        torch.testing.assert_close(spread, torch.ones(2))
        # one scale for all channels: ten times as strong stays ten times as strong
        strength = done.std((2, 3))
        torch.testing.assert_close(strength[:, 1] / strength[:, 0], level.std((2, 3))[:, 1] / level.std((2, 3))[:, 0])
    else:
        torch.testing.assert_close(spread, torch.tensor([[1.0, 1.0, 0.0]] * 2), rtol=0, atol=1e-3)
    torch.testing.assert_close(network._standardise(level[1:]), done[1:])


@pytest.mark.parametrize("normalise", ["image", "channel"])
@pytest.mark.parametrize("size", [(32, 32), (64, 64)])
def test_empty_images_give_the_maps_bias(normalise: str, size: tuple[int, int]) -> None:
    network = net(normalise=normalise)  # biases of 0: all features of a black image are 0
    nn.init.constant_(network.map_conv.bias, 0.5)
    maps = network(torch.zeros(2, 1, *size))
    maps.sum().backward()
    assert torch.equal(maps, torch.full_like(maps, 0.5))
    assert all(weight.grad.isfinite().all() for weight in network.parameters() if weight.grad is not None)


@pytest.mark.parametrize("size", [(64, 64), (75, 47), (33, 32, 40)])
def test_relu_masks(size: tuple[int, ...]) -> None:
    network = filled(net(spatial_dims=len(size))).eval()
    network.threshold.fill_(0.25)
    x = torch.randn(2, 1, *size)
    with torch.no_grad():
        mode = "bilinear" if len(size) == 2 else "trilinear"
        lesion = network.maps(x).relu()[:, 1:]
        torch.testing.assert_close(network.lesion_maps(x), lesion)
        torch.testing.assert_close(network(x), F.interpolate(lesion, size=size, mode=mode) - 0.25)
        torch.testing.assert_close(network(x)[1:], network(x[1:]), rtol=1e-4, atol=1e-5)
        assert torch.equal(network.train()(x), network.maps(x))


def test_softmax_masks() -> None:
    network = net(activation="softmax", num_classes=3).eval()
    x = torch.randn(2, 1, 64, 40)
    with torch.no_grad():
        probabilities = network.maps(x).softmax(dim=1)
        assert probabilities.shape[1] == 4 and network.threshold.shape == (3,)
        torch.testing.assert_close(network.lesion_maps(x), probabilities[:, 1:])
        enlarged = F.interpolate(probabilities, size=(64, 40), mode="bilinear")
        torch.testing.assert_close(network(x).softmax(dim=1), enlarged)
        torch.testing.assert_close(network(x).exp(), enlarged)


@pytest.mark.parametrize(("activation", "classes"), [("relu", 1), ("softmax", 3)])
def test_image_scores(activation: str, classes: int) -> None:
    network = net(activation=activation, num_classes=classes, sharpness=2.0).eval()
    x = torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        scores = log_sum_exp_pooling(network.maps(x).relu() if classes == 1 else network.maps(x).softmax(1), 2.0)
        expected = scores.softmax(dim=1)[:, 1:] if classes == 1 else scores[:, 1:]
        torch.testing.assert_close(ImageScores(network)(x).sigmoid(), expected)
        assert torch.equal(ImageScores(network.train())(x), ImageScores(network.eval())(x))


@pytest.mark.parametrize(
    ("name", "first"), [("tuberculosis", {0: 5, 1: 4, 2: 3, 3: 2}), ("vgg16", {0: 13, 1: 10, 3: 4})]
)
def test_trains_only_what_is_tied(name: str, first: dict[int, int]) -> None:
    for stages, trained in first.items():
        for tied in (True, False):
            network = net(name=name, deconv_stages=stages, tied=tied)
            network.train_only("tied")
            convs = network.encoder.convolutions()
            assert [conv.weight.requires_grad for conv in convs] == [n >= trained for n in range(len(convs))]
            assert [conv.bias.requires_grad for conv in convs] == [n >= trained for n in range(len(convs))]
            others = [weight for key, weight in network.named_parameters() if not key.startswith("encoder.")]
            assert all(weight.requires_grad for weight in others)
            network.train_only("all")
            assert all(weight.requires_grad for weight in network.parameters())
    with pytest.raises(ValueError, match="trains must be all or tied, got none"):
        net().train_only("none")


def test_starts_from_the_classifier() -> None:
    source = filled(FullyConnectedClassifier(input_size=32, hidden=4, **TINY))
    network = net(deconv_stages=0)
    before = network.map_conv.weight.clone()
    network.start_from(source.state_dict())
    for ours, theirs in zip(network.encoder.parameters(), source.encoder.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(network.map_conv.weight, before)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("earlier", "later"), [(0, 1), (1, 2), (2, 3), (0, 3), (2, 2)])
def test_starts_from_an_earlier_stage(earlier: int, later: int, tied: bool) -> None:
    source, network = filled(net(deconv_stages=earlier, tied=tied)), filled(net(deconv_stages=later, tied=tied))
    source.threshold.fill_(3.0)
    own = {key: value.clone() for key, value in network.state_dict().items()}
    network.start_from(source.state_dict())
    after = network.state_dict()
    channels = sum(source.stack_channels)
    for key, value in source.state_dict().items():
        if key == "map_conv.weight":
            assert torch.equal(after[key][:, :channels], value) and not after[key][:, channels:].any()
        elif key != "threshold":
            assert torch.equal(after[key], value), key
    for key in after.keys() - source.state_dict().keys():
        assert torch.equal(after[key], own[key]), key
    assert after["threshold"].item() == 0
    x = torch.randn(2, 1, 64, 96)
    with torch.no_grad():  # the same maps on more pixels, so the same scores
        expected = (
            source.maps(x).repeat_interleave(1 << (later - earlier), 2).repeat_interleave(1 << (later - earlier), 3)
        )
        torch.testing.assert_close(network.maps(x), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ImageScores(network)(x), ImageScores(source)(x), rtol=1e-4, atol=1e-4)
    network(x).square().sum().backward()
    assert network.map_conv.weight.grad[:, channels:].abs().sum() > 0 or later == earlier


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda: net(width=1 / 16, deconv_stages=1),
            r"encoder.trunk.0.weight has shape \(6, 1, 11, 11\), the network needs \(4, 1",
        ),
        (lambda: net(name="vgg16"), "encoder.trunk.2.weight is not in this network"),
        (lambda: net(spatial_dims=3, deconv_stages=0), "encoder.trunk.0.weight has shape"),
        (lambda: net(deconv_stages=3), "deconvs.1.layers.0.bias is not in this network"),
        (lambda: net(tied=False, deconv_stages=1), "deconvs.0.layers.0.weight is not in this network"),
        (
            lambda: net(activation="softmax", num_classes=2, deconv_stages=0),
            r"map_conv.weight has shape \(3, 10, 1, 1\), the network needs \(2, 10, 1, 1\)",
        ),
        (lambda: nn.Linear(2, 2), "encoder.trunk.0.weight is missing"),
    ],
)
def test_refuses_another_networks_weights(source, message: str) -> None:
    network = net(deconv_stages=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=message) as error:
        network.start_from(source().state_dict())
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_an_untied_network_refuses_tied_deconvolutions() -> None:
    with pytest.raises(ValueError, match=r"deconvs\.0\.layers\.0\.weight is missing"):
        net(tied=False, deconv_stages=2).start_from(net(deconv_stages=1).state_dict())


@pytest.mark.parametrize(
    "arguments", [{}, {"name": "vgg16", "spatial_dims": 3, "activation": "softmax", "tied": False}]
)
def test_can_be_scripted(arguments: dict) -> None:
    network = filled(net(width=1 / 64, **arguments)).eval()
    x = torch.randn(1, 1, *(40, 32, 33)[: network.map_conv.weight.ndim - 2])
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(ImageScores(network)), buffer)
    buffer.seek(0)
    loaded = torch.jit.load(buffer)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        torch.testing.assert_close(loaded(x), ImageScores(network)(x))
        torch.testing.assert_close(loaded.network(x), network(x))
        torch.testing.assert_close(loaded.network.lesion_maps(x), network.lesion_maps(x))


def test_under_autocast() -> None:
    network, x = net(), torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        expected = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = network(x)
    assert maps.dtype == torch.float32
    # a maximum that changes its place changes a map here and there
    assert (maps - expected).abs().mean() < 0.1 * expected.std()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"deconv_stages": 4}, "deconv_stages must be 0 to 3, got 4"),
        ({"activation": "tanh"}, "activation must be relu or softmax, got tanh"),
        ({"num_classes": 2}, "num_classes must be 1 with relu and 1 or more with softmax, got 2"),
        ({"num_classes": 0, "activation": "softmax"}, "num_classes"),
        ({"normalise": "batch"}, "normalise must be image or channel, got batch"),
        ({"sharpness": 0.0}, "sharpness must be > 0 and finite, got 0.0"),
    ],
)
def test_refuses_arguments(arguments: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        net(**arguments)
