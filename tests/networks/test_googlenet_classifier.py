import pytest
import torch
import torch.nn.functional as F

from monai_wsss.networks.nets.googlenet_classifier import GoogLeNetClassifier

INCEPTIONS = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
BRANCHES = ["branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1"]
CONVS = ["conv1", "conv2", "conv3", *(f"inception{name}.{branch}" for name in INCEPTIONS for branch in BRANCHES)]


def small(output_stride: int = 8, width: float = 0.125, **arguments: object) -> GoogLeNetClassifier:
    """Weights and statistics away from their defaults, as a file would bring them."""
    torch.manual_seed(0)
    net = GoogLeNetClassifier(output_stride=output_stride, width=width, **arguments).eval()
    for name, buffer in net.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.uniform_(*((-0.2, 0.2) if name.endswith("mean") else (0.5, 1)))
    return net


def test_number_of_parameters_is_the_published_one() -> None:
    # torchvision's without its auxiliary classifiers, 1000 classes and RGB
    with torch.device("meta"):
        net = GoogLeNetClassifier(in_channels=3, num_classes=1000)
    assert sum(p.numel() for p in net.parameters()) == 6_624_904


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_keys_are_torchvisions(output_stride: int) -> None:
    kinds = ["conv.weight", *(f"bn.{n}" for n in ("weight", "bias", "running_mean", "running_var"))]
    expected = {f"{conv}.{kind}" for conv in CONVS for kind in [*kinds, "bn.num_batches_tracked"]}
    assert len(expected) == 57 * 6
    with torch.device("meta"):
        net = GoogLeNetClassifier(output_stride=output_stride)
    assert net.state_dict().keys() == expected | {"fc.weight", "fc.bias"}


def published(x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """torchvision's features, with its poolings."""

    def conv(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        kernel = weights[f"{name}.conv.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        norm = [weights[f"{name}.bn.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *norm, eps=0.001).relu()

    def pool(x: torch.Tensor, size: int = 3) -> torch.Tensor:
        return F.max_pool2d(x, size, 2, ceil_mode=True)

    x = pool(conv(conv(pool(conv(x, "conv1", 2)), "conv2"), "conv3"))
    for name in INCEPTIONS:
        x = pool(x) if name == "4a" else pool(x, 2) if name == "5a" else x
        module = f"inception{name}"
        x = torch.cat(
            [
                conv(x, f"{module}.branch1"),
                conv(conv(x, f"{module}.branch2.0"), f"{module}.branch2.1"),
                conv(conv(x, f"{module}.branch3.0"), f"{module}.branch3.1"),
                conv(F.max_pool2d(x, 3, 1, 1), f"{module}.branch4.1"),
            ],
            dim=1,
        )
    return x


def test_output_stride_32_is_the_published_network_away_from_the_border() -> None:
    # Our first three poolings start one of their cells earlier, of 2, 4 and 8 pixels: 14 in all. A feature sees fewer
    # than 200 pixels to either side by its 3x3 windows (of 2, 5 and 2 modules at strides 8, 16 and 32: 160) and stem.
    net, x = small(32, width=1 / 32), torch.randn(1, 1, 512, 576)
    with torch.no_grad():
        actual, expected = net.features(x), published(F.pad(x, (14, 18, 14, 18)), net.state_dict())
    assert actual.shape[2:] == (16, 18)
    inner = (..., slice(7, 9), slice(7, 11))
    assert float(expected[inner].std()) > 0.01
    torch.testing.assert_close(actual[inner], expected[inner], rtol=1e-4, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize("size", [(64, 80), (67, 45), (32, 33, 40)])
def test_dilated_features_hold_the_strided_ones(size: tuple[int, ...]) -> None:
    dims = len(size)
    fine, coarse = small(8, spatial_dims=dims), small(16, spatial_dims=dims)
    coarse.load_state_dict(fine.state_dict())
    image = torch.randn(1, 1, *size)
    with torch.no_grad():
        actual, expected = fine.features(image)[(..., *[slice(None, None, 2)] * dims)], coarse.features(image)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def test_output_stride_16_without_its_dilation_is_32_without_its_pooling() -> None:
    dilated, strided = small(16), small(32)
    strided.load_state_dict(dilated.state_dict())
    strided.pool4 = torch.nn.MaxPool2d(1, stride=2)  # a mere sampling
    image = torch.randn(1, 1, 96, 64)
    with torch.no_grad():
        actual, expected = dilated.features(image)[..., ::2, ::2], strided.features(image)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
