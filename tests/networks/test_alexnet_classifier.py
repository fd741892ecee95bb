import pytest
import torch
import torch.nn.functional as F

from monai_wsss.networks.nets.alexnet_classifier import AlexNetClassifier

PLACES = [0, 3, 6, 8, 10]  # of the convolutions in torchvision's `features`


def small(output_stride: int = 8, **arguments: object) -> AlexNetClassifier:
    torch.manual_seed(0)
    return AlexNetClassifier(output_stride=output_stride, width=0.125, **arguments).eval()


def test_number_of_parameters_is_the_published_one() -> None:
    # 61,100,840 without its three linear layers: 9216 -> 4096 -> 4096 -> 1000
    linear = 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    with torch.device("meta"):
        net = AlexNetClassifier(in_channels=3)
    assert sum(p.numel() for p in net.trunk.parameters()) == 61_100_840 - linear == 2_469_696


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_layers_are_numbered_as_torchvisions(output_stride: int) -> None:
    with torch.device("meta"):
        net = AlexNetClassifier(output_stride=output_stride)
    expected = {f"trunk.{place}.{kind}" for place in PLACES for kind in ("weight", "bias")}
    assert net.state_dict().keys() == expected | {"fc.weight", "fc.bias"}


def published(x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """torchvision's features, with its padding."""
    for place, stride, padding in zip(PLACES, (4, 1, 1, 1, 1), (2, 2, 1, 1, 1), strict=True):
        x = F.conv2d(x, weights[f"trunk.{place}.weight"], weights[f"trunk.{place}.bias"], stride, padding).relu()
        if place in (0, 3, 10):
            x = F.max_pool2d(x, 3, 2)
    return x


def test_output_stride_32_is_the_published_network_away_from_the_border() -> None:
    # Our first convolution starts 3 pixels earlier, our poolings one of their cells, of 4, 8 and 16 pixels: 31 in all.
    # A feature sees 195 pixels, so those of the middle see no border.
    net, x = small(32), torch.randn(1, 1, 512, 544)
    with torch.no_grad():
        actual, expected = net.features(x), published(F.pad(x, (31, 31, 31, 31)), net.state_dict())
    assert actual.shape == (1, 32, 16, 17)
    inner = (..., slice(4, 12), slice(4, 13))
    assert float(expected[inner].std()) > 0.01
    torch.testing.assert_close(actual[inner], expected[inner])


@pytest.mark.parametrize("size", [(64, 80), (67, 45), (32, 33, 40)])
def test_dilated_features_hold_the_strided_ones(size: tuple[int, ...]) -> None:
    dims = len(size)
    fine, coarse = small(8, spatial_dims=dims), small(16, spatial_dims=dims)
    coarse.load_state_dict(fine.state_dict())
    image = torch.randn(1, 1, *size)
    with torch.no_grad():
        actual, expected = fine.features(image)[(..., *[slice(None, None, 2)] * dims)], coarse.features(image)
    torch.testing.assert_close(actual, expected)


def test_levels_are_the_five_convolutions() -> None:
    net, image = small(32), torch.randn(1, 1, 64, 64)
    # layers up to and with each convolution's ReLU; the fifth with its pooling
    with torch.no_grad():
        for level, end in zip(net.levels(image), (2, 5, 8, 10, 13), strict=True):
            torch.testing.assert_close(level, net.trunk[:end](image))


def test_training_from_scratch_works() -> None:
    torch.manual_seed(0)
    net = AlexNetClassifier(width=0.125)
    images = 0.3 * torch.randn(16, 1, 64, 64)
    labels = torch.arange(16)[:, None] % 2
    images[1::2, :, 16:40, 16:40] += 1  # a bright square or none
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(25):
        loss = F.binary_cross_entropy_with_logits(net(images), labels.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
