import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.inferers import MultiScaleCAMInferer
from monai_wsss.networks import ResNetClassifier


class Tiny(nn.Module):
    """Features are ``f(image)``; the sizes of the images that came are kept."""

    def __init__(self, weight: list[list[float]], f=lambda x: x) -> None:
        super().__init__()
        self.class_weight = nn.Parameter(torch.tensor(weight))
        self.f = f
        self.sizes: list[tuple[int, ...]] = []

    def features(self, x: Tensor) -> Tensor:
        self.sizes.append(tuple(x.shape[2:]))
        return self.f(x)


class Blur(nn.Module):
    """Two features of a 3x3 kernel that is its own mirror image or not."""

    def __init__(self, symmetric: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        kernel = torch.randn(2, 1, 3, 3)
        self.kernel = nn.Parameter(kernel + kernel.flip(-1) if symmetric else kernel)
        self.class_weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))

    def features(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=1).relu()


@pytest.fixture(scope="module")
def resnet() -> ResNetClassifier:
    torch.manual_seed(0)
    return ResNetClassifier(num_classes=2, depth=18, output_stride=16).eval()


IMAGE = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[10.0, 0.0], [0.0, 20.0]]]])


def test_hand_numbers_at_scale_1() -> None:
    # class 0: 2 * first - first channel's partner: 2 * [1 2; 3 4] - [10 0; 0 20] = [-8 4; 6 -12]; class 1: .1 * second
    maps = MultiScaleCAMInferer(scales=(1.0,))(IMAGE, Tiny([[2.0, -1.0], [0.0, 0.1]]))
    torch.testing.assert_close(maps, torch.tensor([[[[-8.0, 4.0], [6.0, -12.0]], [[1.0, 0.0], [0.0, 2.0]]]]))


def test_hand_numbers_of_two_scales() -> None:
    # At 0.5 the 2x2 image becomes its mean: 2.5 and 7.5, so class 0 is 2 * 2.5 - 7.5 = -2.5 everywhere.
    # Mean with scale 1: ([-8 4; 6 -12] - 2.5) / 2 = [-5.25 .75; 1.75 -7.25]
    net = Tiny([[2.0, -1.0]])
    maps = MultiScaleCAMInferer(scales=(0.5, 1.0))(IMAGE, net)
    torch.testing.assert_close(maps, torch.tensor([[[[-5.25, 0.75], [1.75, -7.25]]]]))
    assert net.sizes == [(1, 1), (2, 2)]


def test_hand_numbers_of_a_coarse_feature() -> None:
    # 1x4 image, features of stride 2 by maximum: [3 7]. Back to width 4 at centres 0.25, 0.75: [3 4 6 7].
    image = torch.tensor([[[[1.0, 3.0, 7.0, 5.0]]]])
    net = Tiny([[1.0]], lambda x: F.max_pool2d(x, (1, 2)))
    assert MultiScaleCAMInferer(scales=(1.0,))(image, net).flatten().tolist() == [3.0, 4.0, 6.0, 7.0]


@pytest.mark.parametrize("size", [(8, 6), (4, 6, 8)])
def test_constant_features_are_the_same_at_any_scale(size: tuple[int, ...]) -> None:
    # features 3 and 4 everywhere, weights 2 and .5: 3 * 2 + 4 * .5 = 8
    net = Tiny([[2.0, 0.5]], lambda x: torch.cat([torch.full_like(x, 3), torch.full_like(x, 4)], dim=1)[..., ::2])
    maps = MultiScaleCAMInferer(flips=True, mirror_classes=())(torch.randn(2, 1, *size), net)
    torch.testing.assert_close(maps, torch.full((2, 1, *size), 8.0))


def test_default_scales_are_the_papers() -> None:
    net = Tiny([[1.0]])
    MultiScaleCAMInferer()(torch.zeros(1, 1, 10, 7), net)
    # 7 * 0.5 = 3.5 and 7 * 1.5 = 10.5 are rounded to even, as Python does
    assert net.sizes == [(5, 4), (10, 7), (15, 10), (20, 14)]


def test_tiny_images_keep_one_pixel() -> None:
    assert MultiScaleCAMInferer(scales=(0.1,))(torch.ones(1, 1, 1, 3), Tiny([[2.0]])).tolist() == [[[[2.0] * 3]]]


def test_mean_of_single_scales(resnet: ResNetClassifier) -> None:
    images = torch.randn(2, 1, 45, 64)
    scales = (0.5, 1.0, 1.5)
    singles = [MultiScaleCAMInferer(scales=(scale,))(images, resnet) for scale in scales]
    torch.testing.assert_close(MultiScaleCAMInferer(scales=scales)(images, resnet), sum(singles) / 3)
    torch.testing.assert_close(
        MultiScaleCAMInferer(scales=scales[::-1])(images, resnet), MultiScaleCAMInferer(scales=scales)(images, resnet)
    )


def test_mean_of_the_map_plus_bias_is_the_logit() -> None:
    # Holds where features have the image's size; a map resized from a coarser grid weighs its cells unequally.
    net, images, bias = Blur(symmetric=False), torch.randn(2, 1, 9, 14), 0.25
    logits = F.linear(net.features(images).mean(dim=(2, 3)), net.class_weight, torch.tensor([bias]))
    torch.testing.assert_close(
        MultiScaleCAMInferer(scales=(1.0,))(images, net).mean(dim=(2, 3)) + bias, logits.detach()
    )


def test_batch_equals_single(resnet: ResNetClassifier) -> None:
    images = torch.randn(3, 1, 48, 40)
    infer = MultiScaleCAMInferer(flips=True, mirror_classes=())
    torch.testing.assert_close(infer(images, resnet), torch.cat([infer(image[None], resnet) for image in images]))


@pytest.mark.parametrize("axis", [-1, 1])
def test_a_mirror_symmetric_network_gives_mirrored_maps(axis: int) -> None:
    images = torch.randn(1, 1, 12, 15)
    infer, net = MultiScaleCAMInferer(), Blur(symmetric=True)
    torch.testing.assert_close(infer(images.flip(3), net), infer(images, net).flip(3))


@pytest.mark.parametrize(("flip_axis", "dim"), [(-1, 3), (1, 3), (0, 2), (-2, 2)])
def test_flips_make_any_network_equivariant(flip_axis: int, dim: int) -> None:
    images = torch.randn(1, 1, 12, 15)
    net = Blur(symmetric=False)
    plain, both = MultiScaleCAMInferer(), MultiScaleCAMInferer(flips=True, mirror_classes=(), flip_axis=flip_axis)
    assert not torch.allclose(plain(images.flip(dim), net), plain(images, net).flip(dim), atol=1e-2)
    torch.testing.assert_close(both(images.flip(dim), net), both(images, net).flip(dim))
    other = 5 - dim
    assert not torch.allclose(both(images.flip(other), net), both(images, net).flip(other), atol=1e-2)


def test_flips_by_hand() -> None:
    # The feature is the image plus its column number: [5 1] -> [5 2]; mirrored [1 5] -> [1 6] -> back [6 1].
    # Mean: [5.5 1.5]
    net = Tiny([[1.0]], lambda x: x + torch.arange(x.shape[-1]))
    image = torch.tensor([[[[5.0, 1.0]]]])
    assert MultiScaleCAMInferer(scales=(1,), flips=True, mirror_classes=())(image, net).flatten().tolist() == [5.5, 1.5]


def test_no_graph_is_kept_and_inference_mode_works(resnet: ResNetClassifier) -> None:
    images = torch.randn(1, 1, 32, 32, requires_grad=True)
    maps = MultiScaleCAMInferer()(images, resnet)
    assert not maps.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(MultiScaleCAMInferer()(images, resnet), maps)


def test_half_precision_networks_give_float32_maps(resnet: ResNetClassifier) -> None:
    images = torch.randn(1, 1, 64, 64)
    infer = MultiScaleCAMInferer(scales=(1.0,))
    expected = infer(images, resnet)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = infer(images, resnet)
        assert resnet.features(images).dtype == torch.bfloat16
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, expected, rtol=0.1, atol=0.1 * float(expected.abs().max()))


def test_the_sum_over_features_is_not_rounded() -> None:
    # 256 + 1 is 256 in bfloat16; the class map's sum is taken in float32.
    net = Tiny([[1.0, 1.0]], lambda x: torch.cat([x * 256, x], dim=1).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert MultiScaleCAMInferer(scales=(1.0,))(torch.ones(1, 1, 1, 1), net).item() == 257


def test_meta_tensors_give_plain_maps() -> None:
    maps = MultiScaleCAMInferer()(MetaTensor(torch.ones(1, 1, 4, 4)), Tiny([[1.0]]))
    assert type(maps) is Tensor


@pytest.mark.parametrize("scales", [(), (1.0, 0.0), (-1.0,)])
def test_refuses_scales(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="scales must be one or more factors > 0"):
        MultiScaleCAMInferer(scales=scales)


def halves(x: Tensor) -> Tensor:
    """Features of a network that knows left from right: the first half of the columns, and the second."""
    first = (torch.arange(x.shape[-1]) < x.shape[-1] / 2).to(x)
    return torch.cat([x * first, x * (1 - first)], dim=1)


def test_mirrored_maps_go_back_to_their_own_side() -> None:
    # [6 0 0 4]: class 0 (left) sees [6 0 0 0], class 1 (right) [0 0 0 4]. Mirrored: [4 0 0 6], so class 0 sees the
    # right one's 4 and class 1 the left one's 6; back they lie at [0 0 0 4] and [6 0 0 0], each at the other's place.
    image, net = torch.tensor([[[[6.0, 0.0, 0.0, 4.0]]]]), Tiny([[1.0, 0.0], [0.0, 1.0]], halves)
    aware = MultiScaleCAMInferer(scales=(1,), flips=True, mirror_classes=(1, 0))
    assert aware(image, net)[0, :, 0].tolist() == [[6, 0, 0, 0], [0, 0, 0, 4]]
    careless = MultiScaleCAMInferer(scales=(1,), flips=True, mirror_classes=())
    assert careless(image, net)[0, :, 0].tolist() == [[3, 0, 0, 2], [3, 0, 0, 2]]


def test_without_flips_the_sides_do_not_matter() -> None:
    image, net = torch.randn(1, 1, 6, 8), Tiny([[1.0, 0.5], [0.0, 1.0]], halves)
    expected = MultiScaleCAMInferer()(image, net)
    for sides in ((1, 0), None):
        torch.testing.assert_close(MultiScaleCAMInferer(mirror_classes=sides)(image, net), expected)


def test_classes_without_a_side_stay() -> None:
    image, net = torch.randn(2, 1, 6, 8), Tiny([[1.0, 0.5], [0.0, 1.0]], halves)
    expected = MultiScaleCAMInferer(flips=True, mirror_classes=())(image, net)
    torch.testing.assert_close(MultiScaleCAMInferer(flips=True, mirror_classes=(0, 1))(image, net), expected)


def test_flips_are_refused_where_a_side_lacks_its_partner() -> None:
    for unknown in ({}, {"mirror_classes": None}):
        with pytest.raises(ValueError, match="flips must be false"):
            MultiScaleCAMInferer(flips=True, **unknown)


@pytest.mark.parametrize("sides", [(1,), (0, 0), (1, 2)])
def test_refuses_what_is_no_permutation(sides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be a permutation"):
        MultiScaleCAMInferer(mirror_classes=sides)


def test_refuses_another_number_of_classes() -> None:
    with pytest.raises(ValueError, match="mirror_classes has 3 classes, the network 2"):
        MultiScaleCAMInferer(flips=True, mirror_classes=(2, 1, 0))(torch.ones(1, 1, 2, 2), Tiny([[1.0], [1.0]]))
