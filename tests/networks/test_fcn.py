import io
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from monai_wsss.networks.nets.fcn import FCN
from monai_wsss.networks.nets.segmenter import with_backbone
from monai_wsss.networks.nets.vgg_classifier import VGGClassifier


def small(dims: int = 2, width: float = 1 / 32, **arguments: object) -> FCN:
    torch.manual_seed(0)
    return FCN(dims, width=width, **arguments).eval()


def test_parameters_by_hand() -> None:
    # VGG16's convolutions, 14,714,688; a transposed 3x3 convolution a -> b with bias and norm: 9ab + 3b; 1x1: 32 + 1
    widths = (512, 512, 256, 128, 64, 32)
    ups = sum(9 * a * b + 3 * b for a, b in pairwise(widths))
    assert 14_714_688 + ups + 33 == 18_643_713
    with torch.device("meta"):
        net = FCN(in_channels=3, out_channels=1)
    assert sum(p.numel() for p in net.parameters()) == 18_643_713


@pytest.mark.parametrize("size", [(64, 96), (33, 70)])
def test_equals_its_formula(size: tuple[int, int]) -> None:
    net, image = small(), torch.randn(2, 1, *size)
    for name, buffer in net.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 1)
    with torch.no_grad():
        levels = net.encoder(image)
        x, grids = levels[4], [level.shape[2:] for level in (*levels[3::-1], image)]
        assert [tuple(grid) for grid in grids] == [tuple(-(-n // 2**i) for n in size) for i in (4, 3, 2, 1, 0)]
        for i, (up, (height, width)) in enumerate(zip(net.ups, grids, strict=True)):
            x = F.conv_transpose2d(x, up.conv.weight, up.conv.bias, stride=2, padding=1, output_padding=1)
            norm = up.adn.N
            x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
            x = x[:, :, :height, :width] + (levels[3 - i] if i < 2 else 0)
        expected = F.conv2d(x, net.head.weight, net.head.bias)
        torch.testing.assert_close(net(image), expected)
    assert float(expected.std()) > 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_script_gives_the_same_at_any_size(dims: int) -> None:
    net = small(dims)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(net), buffer)
    buffer.seek(0)
    loaded = torch.jit.load(buffer)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        for size in [(40, 24, 33), (33, 47, 20)]:
            images = torch.rand(2, 1, *size[:dims])
            torch.testing.assert_close(loaded(images), net(images))


def test_every_weight_gets_a_gradient_and_batch_equals_single() -> None:
    net = small(width=0.125)
    images = torch.randn(3, 1, 64, 64)
    net.train()(images).square().sum().backward()
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    with torch.no_grad():
        logits = net.eval()(images)
        torch.testing.assert_close(logits, torch.cat([net(image[None]) for image in images]))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = net(images)
    assert (half.float() - logits).abs().max() < 0.1 * logits.abs().max()


def test_starts_from_a_published_vgg(tmp_path) -> None:
    source = VGGClassifier(in_channels=3, batch_norm=False, output_stride=32, width=1 / 32).eval()
    weights = {key.replace("trunk.", "features."): value for key, value in source.state_dict().items()}
    save_file(
        {key: value for key, value in weights.items() if key.startswith("features.")}, tmp_path / "vgg.safetensors"
    )
    net = with_backbone(small(), tmp_path / "vgg.safetensors")
    grey = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(net.encoder(grey), source.levels(grey.repeat(1, 3, 1, 1)), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_learns_a_square() -> None:
    torch.manual_seed(0)
    net = FCN(out_channels=1, width=0.125)
    images = 0.3 * torch.randn(4, 1, 32, 32)
    masks = torch.zeros_like(images)
    for i in range(4):
        masks[i, :, 4 * i : 4 * i + 16, 10:26] = 1
    images += masks
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(30):
        loss = F.binary_cross_entropy_with_logits(net(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = net(images) > 0
    dice = 2 * (found * masks).sum() / (found.sum() + masks.sum())
    assert float(dice) > 0.8
