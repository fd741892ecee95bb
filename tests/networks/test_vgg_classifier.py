import pytest
import torch
import torch.nn.functional as F
from torch import nn

from monai_wsss.networks import ClassifierHead
from monai_wsss.networks.nets.vgg_classifier import VGGClassifier

# Places of the convolutions in torchvision's `features`, written down from its configuration "D".
PLAIN = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
WITH_NORM = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]


def small(output_stride: int = 8, batch_norm: bool = False, **arguments: object) -> VGGClassifier:
    torch.manual_seed(0)
    return VGGClassifier(output_stride=output_stride, batch_norm=batch_norm, width=0.125, **arguments).eval()


def test_number_of_parameters_is_the_published_one() -> None:
    # 138,357,544 (16 layers) without its classifier of 123,642,856; batch norm adds 2 for each of 4,224 channels
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in VGGClassifier(in_channels=3, batch_norm=norm).trunk.parameters())
            for norm in (False, True)
        ]
    assert counts == [14_714_688, 14_723_136]
    assert counts == [138_357_544 - 123_642_856, 14_714_688 + 2 * 4224]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(("batch_norm", "places"), [(False, PLAIN), (True, WITH_NORM)])
def test_layers_are_numbered_as_torchvisions(batch_norm: bool, places: list[int], output_stride: int) -> None:
    with torch.device("meta"):
        net = VGGClassifier(batch_norm=batch_norm, output_stride=output_stride)
    expected = {f"trunk.{place}.{kind}" for place in places for kind in ("weight", "bias")}
    if batch_norm:
        kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        expected |= {f"trunk.{place + 1}.{kind}" for place in places for kind in kinds}
    assert net.state_dict().keys() == expected | {"fc.weight", "fc.bias"}


def test_output_stride_32_is_the_published_network() -> None:
    net, x = small(output_stride=32), torch.randn(2, 1, 64, 96)
    weights = net.state_dict()
    with torch.no_grad():
        actual = net.features(x)
        for place in PLAIN:
            x = F.relu(F.conv2d(x, weights[f"trunk.{place}.weight"], weights[f"trunk.{place}.bias"], padding=1))
            if place in (2, 7, 14, 21, 28):  # last of a block
                x = F.max_pool2d(x, 2)
    torch.testing.assert_close(actual, x)


@pytest.mark.parametrize(
    ("output_stride", "reached"),
    # An impulse at pixel 128 of 256. Block 1 spreads it to 126..130, halved 63..65; block 2 to 61..67, halved 30..33;
    # block 3 to 27..36, halved 13..18; block 4 to 10..21. Stride 8: pooled 9..22, three convolutions of dilation 2
    # reach 6 further, 3..28. Stride 16: halved 5..10, then 2..13. Stride 32: halved once more, 1..6.
    [(8, range(3, 29)), (16, range(2, 14)), (32, range(1, 7))],
)
def test_reach_of_one_pixel(output_stride: int, reached: range) -> None:
    net = VGGClassifier(batch_norm=False, output_stride=output_stride, width=1 / 64)
    for parameter in net.trunk.parameters():
        nn.init.constant_(parameter, 0.5 if parameter.ndim > 1 else 0)  # all positive: nothing cancels
    image = torch.zeros(1, 1, 256, 256)
    image[..., 128, 128] = 1
    with torch.no_grad():
        features = net.features(image)[0, 0]
    for axis in (0, 1):
        assert features.any(dim=axis).nonzero().flatten().tolist() == list(reached)


@pytest.mark.parametrize(("size", "batch_norm"), [((64, 80), False), ((64, 80), True), ((32, 16, 32), False)])
def test_dilated_features_hold_the_strided_ones(size: tuple[int, ...], batch_norm: bool) -> None:
    # Pooling 2x2 and 3x3 see different windows. With the fourth pooling a mere sampling, the dilated block computes
    # on the finer grid what the strided one computes on its own.
    dims = len(size)
    fine = small(8, batch_norm, spatial_dims=dims)
    coarse = small(16, batch_norm, spatial_dims=dims)
    coarse.load_state_dict(fine.state_dict())
    fourth = fine.block_ends[3] - 1
    fine.trunk[fourth] = nn.Identity()
    coarse.trunk[fourth] = (nn.MaxPool2d if dims == 2 else nn.MaxPool3d)(1, stride=2)
    image = torch.randn(1, 1, *size)
    with torch.no_grad():
        expected = coarse.features(image)
        actual = fine.features(image)[(..., *[slice(None, None, 2)] * dims)]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_levels_follow_the_poolings() -> None:
    net = small()
    image = torch.randn(1, 1, 64, 64)
    # layers up to and with each block's pooling; the fifth block has none at stride 8
    ends = [5, 10, 17, 24, 30]
    with torch.no_grad():
        for level, end in zip(net.levels(image), ends, strict=True):
            torch.testing.assert_close(level, net.trunk[:end](image))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_activations_keep_their_scale_and_training_from_scratch_works(batch_norm: bool) -> None:
    torch.manual_seed(0)
    net = VGGClassifier(batch_norm=batch_norm, head=ClassifierHead(3, 64), width=0.125)
    # Two classes: a bright square or none, in noise.
    images = 0.3 * torch.randn(16, 1, 32, 32)
    labels = torch.arange(16)[:, None] % 2
    images[1::2, :, 8:20, 8:20] += 1
    with torch.no_grad():
        assert 0.05 < float(net.features(images).std()) < 5
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(25):
        loss = F.binary_cross_entropy_with_logits(net(images), labels.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_refuses_other_output_strides() -> None:
    with pytest.raises(ValueError, match=r"output_stride must be one of \(8, 16, 32\), got 4"):
        VGGClassifier(output_stride=4)
