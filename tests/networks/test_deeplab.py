import pytest
import torch
from torch.nn import functional as F

from monai_wsss.networks.blocks.aspp import ASPP, ImagePooling
from monai_wsss.networks.nets.deeplab import DeepLabV3, DeepLabV3Plus

both = pytest.mark.parametrize("network", [DeepLabV3, DeepLabV3Plus])


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_parameters_of_v3():
    # torchvision publishes 42,004,074 with 21 classes, and with an auxiliary head: 1024 -> 256 by 3x3 with norm, -> 21
    auxiliary = 1024 * 256 * 9 + 2 * 256 + 256 * 21 + 21
    with torch.device("meta"):
        assert count(DeepLabV3(2, 3, 21)) == 42_004_074 - auxiliary


def test_parameters_of_the_decoder():
    # projection 256 -> 48 and a 3x3 convolution 304 -> 256, each with a norm, before the 3x3 that both have
    decoder = 256 * 48 + 2 * 48 + 304 * 256 * 9 + 2 * 256
    with torch.device("meta"):
        assert count(DeepLabV3Plus(2, 3, 21)) - count(DeepLabV3(2, 3, 21)) == decoder


@both
def test_width_scales_every_channel(network):
    # a quarter of (64, 256, 512, 1024, 2048), of 256 and of 48
    net = network(width=0.25, out_channels=2)
    assert net.encoder.level_channels == (16, 64, 128, 256, 512)
    assert net.head.weight.shape == (2, 64, 1, 1)
    assert network is DeepLabV3 or net.project.conv.weight.shape == (12, 64, 1, 1)
    with torch.no_grad():
        assert net.eval()(torch.rand(1, 1, 33, 40)).shape == (1, 2, 33, 40)


@both
@pytest.mark.parametrize(("output_stride", "rates"), [(16, [1, 6, 12, 18]), (8, [1, 12, 24, 36])])
def test_rates_follow_the_output_stride(network, output_stride, rates):
    with torch.device("meta"):
        pyramid = network(depth=18, output_stride=output_stride).aspp
    assert [branch.conv.dilation for branch in pyramid.branches] == [(rate, rate) for rate in rates]
    assert [branch.conv.kernel_size for branch in pyramid.branches] == [(1, 1)] + [(3, 3)] * 3


@both
def test_refuses_other_output_strides(network):
    with pytest.raises(ValueError, match="output_stride must be 16 or 8, got 32"):
        network(depth=18, output_stride=32)


def conv_norm_relu(x, block, rate=1):
    x = F.conv2d(x, block.conv.weight, padding=rate * (block.conv.weight.shape[-1] // 2), dilation=rate)
    norm = block.adn.N
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()


def test_pyramid_equals_its_formula():
    torch.manual_seed(0)
    pyramid = ASPP(2, 5, 4, rates=(2, 3)).eval()
    for name, buffer in pyramid.named_buffers():  # statistics that are not the neutral ones
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 2)
    x = torch.randn(2, 5, 9, 7)
    norm = pyramid.pooling.norm
    mean = torch.einsum("bfhw,of->bo", x / 63, pyramid.pooling.conv.weight[:, :, 0, 0])
    mean = F.batch_norm(mean, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
    parts = [conv_norm_relu(x, block, rate) for block, rate in zip(pyramid.branches, (1, 2, 3), strict=True)]
    parts.append(mean[:, :, None, None].repeat(1, 1, 9, 7))
    torch.testing.assert_close(pyramid(x), conv_norm_relu(torch.cat(parts, dim=1), pyramid.merge))


def test_image_pooling_uses_the_batchs_statistics_from_two_images_on():
    torch.manual_seed(0)
    pooling = ImagePooling(2, 3, 4)
    x = torch.randn(5, 3, 6, 4)
    means = pooling.conv(x.mean(dim=(2, 3), keepdim=True))
    expected = F.batch_norm(means, None, None, training=True).relu()
    torch.testing.assert_close(pooling(x), expected.expand(-1, -1, 6, 4))
    torch.testing.assert_close(pooling.norm.running_mean, 0.1 * means.mean(dim=(0, 2, 3)))


@pytest.mark.parametrize("size", [(6, 4), (1, 1)])
def test_image_pooling_of_one_image_uses_the_running_statistics(size):
    torch.manual_seed(0)
    pooling = ImagePooling(2, 3, 4)
    x = torch.randn(1, 3, *size)
    training = pooling(x)
    assert training.any()  # the batch's own statistics would leave nothing of it
    torch.testing.assert_close(training, pooling.eval()(x))


@both
def test_one_image_trains(network):
    torch.manual_seed(0)
    net = network(out_channels=2, depth=18, channels=8)
    net(torch.randn(1, 1, 40, 33)).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_decoder_sees_what_the_pyramid_does_not():
    # Gradients of a fine level reach the logits by the projection even where the coarse features are cut off.
    torch.manual_seed(0)
    net = DeepLabV3Plus(depth=18, channels=8).eval()
    image = torch.randn(1, 1, 64, 64)
    torch.nn.init.zeros_(net.aspp.merge.conv.weight)
    assert net(image).std(dim=(2, 3)).min() > 0
    torch.nn.init.zeros_(net.project.conv.weight)
    inner = net(image)[:, :, 16:-16, 16:-16]  # the 3x3 convolutions' own padding shows at the border
    assert inner.std(dim=(2, 3)).max() < 1e-6
