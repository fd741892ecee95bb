import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.inferers.gated_slice import GatedSliceInferer
from monai_wsss.inferers.multi_scale_segmenter import MultiScaleSegmenter
from monai_wsss.networks.nets.deeplab_v2 import LARGE_FOV_RATES, DeepLabV2


def network(out_channels: int = 3) -> DeepLabV2:
    torch.manual_seed(0)
    net = DeepLabV2(out_channels=out_channels, rates=LARGE_FOV_RATES, width=1 / 16).eval()
    for layer in net.last:
        nn.init.normal_(layer.weight)
    return net


def resize(x: Tensor, size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def area(x: Tensor) -> Tensor:
    """A network whose logits are the number of pixels it was given."""
    return torch.full((len(x), 1, *x.shape[2:]), float(x.shape[-2] * x.shape[-1]))


def halves(x: Tensor) -> Tensor:
    """Logits of a network that knows left from right: what lies in the first half, what in the second."""
    first = (torch.arange(x.shape[-1]) < x.shape[-1] / 2).to(x)
    return torch.cat([x * first, x * (1 - first)], dim=1)


@pytest.mark.parametrize(
    ("scales", "expected"),
    # 8 x 12 pixels: 6 x 9 at .75, 10 x 15 at 1.25, 4 x 6 at .5; a side of 8 x .3 = 2.4 and 3.6 round to 2 and 4
    [((1.0,), 96), ((0.75, 1.0, 1.25), (54 + 96 + 150) / 3), ((0.5, 0.5), 24), ((0.3,), 8), ((0.01,), 1)],
)
def test_mean_over_the_scales_by_hand(scales, expected):
    logits = MultiScaleSegmenter(area, scales)(torch.zeros(2, 1, 8, 12))
    assert logits.shape == (2, 1, 8, 12)
    torch.testing.assert_close(logits, torch.full((2, 1, 8, 12), float(expected)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(40, 32), (33, 47)])
def test_equals_its_formula(channels, size):
    net, images = network(channels), torch.rand(2, 1, *size)
    with torch.no_grad():
        views = [resize(images, [round(n * s) for n in size]) for s in (0.75, 1.0, 1.25)]
        expected = sum(resize(net(view), size) for view in views) / 3
        mirrored = sum(resize(net(view.flip(-1)).flip(-1), size) for view in views) / 3
    torch.testing.assert_close(MultiScaleSegmenter(net)(images), expected)
    flips = MultiScaleSegmenter(net, flips=True, flip_axis=1, mirror_classes=())
    torch.testing.assert_close(flips(images), (expected + mirrored) / 2)


def test_a_network_in_training_mode_is_brought_back_from_its_grid():
    net, images = network(), torch.rand(1, 1, 40, 32)
    net.training = True
    with torch.no_grad():
        assert net(images).shape[2:] == (5, 4)
        torch.testing.assert_close(MultiScaleSegmenter(net, (1.0,))(images), resize(net(images), (40, 32)))


@pytest.mark.parametrize(("flip_axis", "dim"), [(0, 2), (1, 3), (-1, 3), (-2, 2)])
def test_flips_make_any_network_equivariant(flip_axis, dim):
    net, images = network(), torch.rand(2, 1, 40, 32)
    both = MultiScaleSegmenter(net, flips=True, flip_axis=flip_axis, mirror_classes=())
    torch.testing.assert_close(both(images.flip(dim)), both(images).flip(dim))
    plain = MultiScaleSegmenter(net)
    assert not torch.allclose(plain(images.flip(dim)), plain(images).flip(dim), atol=1e-3)


@pytest.mark.parametrize("background", [False, True])
def test_mirrored_logits_go_back_to_their_own_side(background):
    # [6 0 0 4]: class 0 (left) sees 6 at its place, class 1 (right) 4. Mirrored, [4 0 0 6], they see each other's.
    image = torch.tensor([[[[6.0, 0.0, 0.0, 4.0]]]])
    net = (lambda x: torch.cat([x + 1, halves(x)], dim=1)) if background else halves
    aware = MultiScaleSegmenter(net, (1,), flips=True, flip_axis=-1, mirror_classes=(1, 0))(image)[0, :, 0]
    assert aware[-2:].tolist() == [[6, 0, 0, 0], [0, 0, 0, 4]]
    if background:
        assert aware[0].tolist() == [7, 1, 1, 5]
    careless = MultiScaleSegmenter(net, (1,), flips=True, flip_axis=-1, mirror_classes=())(image)[0, :, 0]
    assert careless[-2:].tolist() == [[3, 0, 0, 2], [3, 0, 0, 2]]


def test_batch_equals_single_and_half_precision_is_summed_in_float32():
    net, images = network(), torch.rand(3, 1, 24, 32)
    segment = MultiScaleSegmenter(net)
    torch.testing.assert_close(segment(images), torch.cat([segment(image[None]) for image in images]))
    half = MultiScaleSegmenter(lambda x: torch.full_like(x, 6e4, dtype=torch.float16))(images)
    assert half.dtype == torch.float32 and half.unique().tolist() == [6e4]  # the sum is beyond float16
    assert not segment(images).requires_grad


def test_volumes():
    logits = MultiScaleSegmenter(lambda x: x, (0.5, 1.0))(torch.ones(1, 2, 4, 6, 8))
    torch.testing.assert_close(logits, torch.ones(1, 2, 4, 6, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scales": ()}, "scales must be one or more factors > 0"),
        ({"scales": (1.0, 0.0)}, "scales must be one or more factors > 0"),
        ({"scales": (float("nan"),)}, "scales must be one or more factors > 0"),
        ({"flips": True}, "flips must be false"),
        ({"mirror_classes": (1,)}, "must be a permutation"),
    ],
)
@pytest.mark.parametrize("make", [lambda **a: MultiScaleSegmenter(area, **a), GatedSliceInferer])
def test_refuses(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_refuses_networks_that_do_not_fit():
    images = torch.zeros(1, 1, 4, 4)
    with pytest.raises(TypeError, match="one tensor of logits, got tuple"):
        MultiScaleSegmenter(lambda x: (x, x))(images)
    with pytest.raises(ValueError, match="2 classes, the network 4 channels"):
        MultiScaleSegmenter(lambda x: x.repeat(1, 4, 1, 1), flips=True, mirror_classes=(1, 0))(images)


class Bright(nn.Module):
    """A slice classifier that sees a lesion where the slice's mean is above 0."""

    def forward(self, x: Tensor) -> Tensor:
        return 10 * x.mean(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("flips", [False, True])
def test_volumes_slice_by_slice_behind_the_gate(channels, flips):
    net, volumes = network(channels), torch.rand(2, 1, 24, 32, 3)
    volumes[..., 1] -= 1
    views = {"scales": (0.75, 1.0, 1.25), "flips": flips, "mirror_classes": (0,)}
    infer = GatedSliceInferer(Bright(), sw_batch_size=2, **views)
    with torch.no_grad():
        logits = infer(volumes, net)
    for index in (0, 2):
        torch.testing.assert_close(logits[..., index], MultiScaleSegmenter(net, **views)(volumes[..., index]))
    assert logits.shape == (2, channels, 24, 32, 3)
    assert (logits[:, -1, ..., 1] < -9e3).all()  # gated after the mean, which would have weakened the gate
    assert infer.probabilities is not None and infer.probabilities.shape == (2, 3, 1)


def test_one_scale_without_flips_is_the_network_itself():
    volumes, net = torch.rand(1, 1, 8, 8, 2), nn.Conv2d(1, 1, 1)
    assert GatedSliceInferer(scales=[1], mirror_classes=())(volumes, net).requires_grad
    assert not GatedSliceInferer(scales=[1, 1])(volumes, net).requires_grad


def test_meta_tensors_keep_their_geometry():
    affine = torch.diag(torch.tensor([0.5, 0.5, 3.0, 1.0])).double()
    volume = MetaTensor(torch.rand(1, 1, 16, 24, 2), affine=affine)
    logits = GatedSliceInferer(scales=(0.5, 1.0))(volume, lambda x: x)
    assert isinstance(logits, MetaTensor)
    torch.testing.assert_close(logits.affine, affine)
