import copy
import weakref

import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import DenseNet, resnet18
from monai.networks.nets.resnet import ResNet
from monai.visualize import GradCAM, GradCAMpp
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.inferers import MultiScaleCAMInferer
from monai_wsss.inferers.target_layer import target_layer
from monai_wsss.networks.nets.classifier import classifier
from monai_wsss.ops.gradient_map import grad_cam, grad_cam_plus_plus

GRADIENT_METHODS = ("grad_cam", "grad_cam_pp", "grad_cam_pp_code", "layer_cam")


class Pooled(nn.Module):
    """Convolution, ReLU, layer ``last``, global average pooling and a linear layer of K = 3 classes."""

    def __init__(self, dims: int = 2, symmetric: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 6, 3, padding=1, stride=2)
        if symmetric:
            self.conv.weight.data += self.conv.weight.data.flip(-1)
        self.last = nn.Identity()
        self.fc = nn.Linear(6, 3)
        self.fc.weight.data *= 3

    def features(self, x: Tensor) -> Tensor:
        return self.last(self.conv(x).relu())

    @property
    def class_weight(self) -> Tensor:
        return self.fc.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).flatten(2).mean(dim=-1))


class Deep(Pooled):
    """More layers after ``last``, in place and with batch normalisation: gradients differ from place to place."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(
            nn.ReLU(inplace=True), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.head(self.features(x)).mean(dim=(2, 3)))


def images(*size: int, count: int = 2) -> Tensor:
    return torch.randn(count, 1, *size, generator=torch.Generator().manual_seed(1))


def small_resnet() -> ResNet:
    torch.manual_seed(0)
    net = ResNet("basic", [1, 1, 1, 1], [4, 8, 8, 8], n_input_channels=1, num_classes=3, spatial_dims=2).double().eval()
    net.fc.weight.data *= 1e4  # so that the 1e-7 in MONAI's denominator does not count
    return net


@pytest.mark.parametrize("target", ["layer4", "layer2", "layer2.0.conv1"])
def test_grad_cam_is_monais(target: str) -> None:
    net, x = small_resnet(), images(32, 48).double()
    maps = MultiScaleCAMInferer(scales=(1,), method="grad_cam", target=target)(x, net)
    with target_layer(net, target) as layer:
        net(x)
        positions = layer.features[0, 0].numel()
    monai = GradCAM(copy.deepcopy(net), target, postprocessing=lambda m: m)
    expected = torch.cat([monai(x, class_idx=k) for k in range(3)], dim=1)
    torch.testing.assert_close(maps, expected.detach() * positions)
    assert bool((maps > 0).any())


@pytest.mark.parametrize("target", ["layer4", "layer3", "layer2"])
def test_the_published_grad_cam_plus_plus_is_monais(target: str) -> None:
    # One image: MONAI multiplies gradients (1, C, H, W) by exp(S) of shape (B,), which fits no batch.
    # It leaves exp(S) in, and takes S in alpha as 0. Such logits would overflow: a bias brings them back.
    net, x = small_resnet(), images(32, 48, count=1).double()
    net.fc.bias.data -= net(x)[0].detach()
    monai = GradCAMpp(copy.deepcopy(net), target)
    for k in range(3):
        with target_layer(net, target) as layer:
            logits = net(x)
            (gradient,) = torch.autograd.grad(logits[:, k].sum(), layer.features)
            ours = grad_cam_plus_plus(layer.features.detach(), gradient[:, None], "reference_code")
        torch.testing.assert_close(ours, monai.compute_map(x, class_idx=k).detach(), rtol=1e-4, atol=1e-8)
        assert bool((ours > 0).any())


@pytest.mark.parametrize("dims", [2, 3])
def test_grad_cam_after_global_pooling_is_the_positive_part_of_cam(dims: int) -> None:
    net, x = Pooled(dims).eval(), images(*(8, 12, 10)[:dims])
    cam = MultiScaleCAMInferer(scales=(1,))(x, net)
    assert bool((cam < 0).any())
    maps = MultiScaleCAMInferer(scales=(1,), method="grad_cam")(x, net)
    features, weight = net.features(x).detach(), net.fc.weight.detach()
    on_grid = torch.einsum("bf...,kf->bk...", features, weight).relu()
    mode = {2: "bilinear", 3: "trilinear"}[dims]
    torch.testing.assert_close(maps, F.interpolate(on_grid, size=x.shape[2:], mode=mode))
    # the formula itself is the map divided by the number of positions
    positions = features[0, 0].numel()
    gradients = weight.reshape(1, 3, 6, *[1] * dims).expand(2, 3, *features.shape[1:]) / positions
    torch.testing.assert_close(grad_cam(features, gradients), on_grid / positions)


@pytest.mark.parametrize("name", ["resnet18", "vgg16_bn"])
def test_the_projects_classifiers(name: str) -> None:
    torch.manual_seed(0)
    net, x = classifier(name, num_classes=2, width=0.125, head_convs=1, drop_prob=0.2).eval(), images(32, 32)
    on_grid = torch.einsum("bfhw,kf->bkhw", net.features(x), net.class_weight).detach().relu()
    maps = MultiScaleCAMInferer(scales=(1,), method="grad_cam")(x, net)
    torch.testing.assert_close(maps, F.interpolate(on_grid, size=(32, 32), mode="bilinear"))
    assert bool((maps > 0).any())


def test_every_scale_counts_the_same() -> None:
    # A 1x1 convolution and nearest-neighbour images: the features at scale 2 are those at scale 1, four times.
    class Point(Pooled):
        def features(self, x: Tensor) -> Tensor:
            return self.last(torch.cat([x, 2 * x, x * 0 + 1, x, x, x], dim=1))

    net, x = Point().eval(), torch.full((1, 1, 6, 6), 0.7)
    for method in GRADIENT_METHODS:
        one, other = (MultiScaleCAMInferer(scales=(s,), method=method)(x, net) for s in (1, 2))
        torch.testing.assert_close(one, other)
        assert float(one.max()) > 0


def test_the_mean_is_taken_of_what_passed_the_relu() -> None:
    net, x = Pooled().eval(), images(12, 16)
    for method in GRADIENT_METHODS:
        singles = [MultiScaleCAMInferer(scales=(s,), method=method)(x, net) for s in (0.5, 1, 1.5)]
        assert all(bool((m >= 0).all()) for m in singles)
        maps = MultiScaleCAMInferer(scales=(0.5, 1, 1.5), method=method)(x, net)
        torch.testing.assert_close(maps, sum(singles) / 3)


def test_the_two_grad_cam_plus_plus_differ_by_the_score() -> None:
    net, x = Pooled().eval(), images(8, 8)
    plain, published = (MultiScaleCAMInferer(scales=(1,), method=m)(x, net) for m in GRADIENT_METHODS[1:3])
    assert not torch.allclose(plain, published, rtol=0.05)
    with torch.no_grad():  # at a score of 0 they are the same
        net.fc.bias -= net(x[:1])[0]
    plain, published = (MultiScaleCAMInferer(scales=(1,), method=m)(x[:1], net) for m in GRADIENT_METHODS[1:3])
    torch.testing.assert_close(plain, published, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_batch_equals_single_and_classes_stay_apart(method: str) -> None:
    net, x = Deep().eval(), images(16, 12, count=3)
    infer = MultiScaleCAMInferer(scales=(1, 2), method=method, flips=True, mirror_classes=())
    maps = infer(x, net)
    torch.testing.assert_close(maps, torch.cat([infer(image[None], net) for image in x]))
    order = [2, 0, 1]
    net.fc.weight.data, net.fc.bias.data = net.fc.weight.data[order], net.fc.bias.data[order]
    torch.testing.assert_close(infer(x, net), maps[:, order])
    assert not torch.allclose(maps[:, 0], maps[:, 1], atol=1e-3)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_flips(method: str) -> None:
    x, net, mirrored = images(11, 15), Pooled().eval(), Pooled(symmetric=True).eval()
    plain = MultiScaleCAMInferer(scales=(1,), method=method)
    torch.testing.assert_close(plain(x.flip(-1), mirrored), plain(x, mirrored).flip(-1))
    both = MultiScaleCAMInferer(scales=(1,), method=method, flips=True, mirror_classes=())
    assert not torch.allclose(plain(x.flip(-1), net), plain(x, net).flip(-1), atol=1e-2)
    torch.testing.assert_close(both(x.flip(-1), net), both(x, net).flip(-1))


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_mirrored_maps_go_back_to_their_own_class(method: str) -> None:
    net, x = Deep().eval(), images(8, 8)
    plain = MultiScaleCAMInferer(scales=(1,), method=method)
    back = plain(x.flip(-1), net).flip(-1)[:, [1, 0, 2]]
    sided = MultiScaleCAMInferer(scales=(1,), method=method, flips=True, mirror_classes=(1, 0, 2))
    torch.testing.assert_close(sided(x, net), (plain(x, net) + back) / 2)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_any_gradient_mode(method: str) -> None:
    net, x, infer = Deep().eval(), images(8, 8), MultiScaleCAMInferer(method=method)
    expected = infer(x, net)
    assert not expected.requires_grad and torch.is_grad_enabled()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(infer(x.clone(), net), expected)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_the_network_is_left_as_it_was(method: str) -> None:
    net = Deep().eval()
    net.conv.requires_grad_(False)
    state = copy.deepcopy(net.state_dict())
    MultiScaleCAMInferer(method=method, flips=True, mirror_classes=())(images(8, 8), net)
    assert all(p.grad is None for p in net.parameters())
    assert [p.requires_grad for p in net.conv.parameters()] == [False, False] and net.fc.weight.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), state.values(), strict=True))
    assert all(not m._forward_hooks and not m._backward_hooks for m in net.modules())


def test_nothing_of_a_call_stays_in_memory() -> None:
    seen: list[weakref.ref[Tensor]] = []
    net = Deep().eval()
    net.head.register_forward_hook(lambda _, inputs, output: seen.extend(map(weakref.ref, (*inputs, output))))
    MultiScaleCAMInferer(method="grad_cam_pp")(images(8, 8), net)
    assert len(seen) == 8 and all(reference() is None for reference in seen)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@pytest.mark.parametrize(
    ("net", "target", "size"),
    [
        (lambda: resnet18(spatial_dims=2, n_input_channels=1, num_classes=2, conv1_t_stride=2), "layer4", (32, 48)),
        (lambda: DenseNet(2, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2)), "features", (32, 48)),
        (lambda: DenseNet(2, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2)), "class_layers.relu", (32, 48)),
        (lambda: DenseNet(3, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2)), "features", (16, 16, 32)),
    ],
)
def test_monais_classifiers(method: str, net, target: str, size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    maps = MultiScaleCAMInferer(scales=(1, 1.5), method=method, target=target)(images(*size), net().eval())
    assert maps.shape == (2, 2, *size) and bool(maps.isfinite().all())
    assert bool((maps.flatten(1).amax(dim=1) > 0).all())


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(method: str, dtype: torch.dtype) -> None:
    # 64 x 64 positions: gradients of about 1e-4 / 3, of which float16 would keep some 9 bits less
    net, x, infer = Deep().eval(), images(128, 128), MultiScaleCAMInferer(scales=(1,), method=method)
    expected = infer(x, net)
    with torch.autocast("cpu", dtype=dtype):
        maps = infer(x, net)
    assert maps.dtype == torch.float32
    error = (maps - expected).abs().mean() / expected.abs().mean()
    assert float(error) < (0.05 if dtype == torch.bfloat16 else 0.01)


def test_float16_does_not_round_small_gradients_away() -> None:
    # A weight of 1e-4 over 64 * 64 positions is 2.4e-8, less than half of float16's smallest number.
    class Small(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return (self.features(x).half() * 1e-4).mean(dim=(2, 3))[:, :3]

    net, x = Small().eval(), images(128, 128)
    maps = MultiScaleCAMInferer(scales=(1,), method="grad_cam")(x, net)
    expected = F.interpolate(net.features(x).detach()[:, :3] * 1e-4, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(maps, expected, rtol=2e-3, atol=1e-7)


def test_meta_tensors_give_plain_maps() -> None:
    assert type(MultiScaleCAMInferer(method="grad_cam")(MetaTensor(images(8, 8)), Pooled().eval())) is Tensor


def test_arguments_reach_the_network() -> None:
    class Shifted(Pooled):
        def forward(self, x: Tensor, shift: float = 0.0) -> Tensor:
            return super().forward(x + shift)

    x, infer = images(8, 8), MultiScaleCAMInferer(method="layer_cam")
    net = Shifted().eval()
    torch.testing.assert_close(infer(x, net, 0.5), infer(x, net, shift=0.5))
    assert not torch.allclose(infer(x, net, shift=0.5), infer(x, net))


@pytest.mark.parametrize("method", ["gradcam", "CAM", ""])
def test_refuses_methods(method: str) -> None:
    with pytest.raises(ValueError, match=r"method must be one of cam, grad_cam, .*, got"):
        MultiScaleCAMInferer(method=method)


class Gives(Pooled):
    """A network whose answer is ``change(logits)``."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change
        self.side = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        self.side(x)
        return self.change(super().forward(x))


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@pytest.mark.parametrize(
    ("net", "target", "message"),
    [
        (Pooled(), "last", "needs a network in evaluation mode"),
        (lambda x: x, "last", "needs a network in evaluation mode"),
        (Pooled().eval(), "lost", "no layer 'lost'; near names: last"),
        (Pooled().eval(), "fc", "features must be"),
        (Gives(lambda y: y[:, 0]).eval(), "last", r"gives logits \(B, K\), got \(2,\)"),
        (Gives(lambda y: [y]).eval(), "last", r"gives logits \(B, K\), got list"),
        (Gives(lambda y: y).eval(), "side", "do not depend on layer 'side'"),
        (Gives(lambda y: y.detach()).eval(), "last", "do not depend on layer 'last'"),
        (Gives(lambda y: y).eval(), "change", "no layer 'change'"),
    ],
)
def test_refuses_networks(method: str, net, target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiScaleCAMInferer(scales=(1,), method=method, target=target)(images(8, 8), net)
