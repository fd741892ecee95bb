import pytest
import torch
from torch import nn

from monai_wsss.networks.blocks import UNetDecoder, UNetEncoder, UpBlock


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        # 2x2 of ones, stride 2: every pixel is spread over its own two columns, none overlap: [1 1 2 2] -> first 3
        (2, [1.0, 1.0, 2.0]),
        # 3x3 of ones, stride 2, padding 1: even columns come from one pixel, odd ones from both neighbours:
        # [1 1+2 2 2] -> first 3. The row, of one pixel, is doubled and cropped to 1.
        (3, [1.0, 3.0, 2.0]),
    ],
)
def test_up_block_concatenates_the_skip_and_the_cropped_rise(kernel: int, expected: list[float]) -> None:
    block = UpBlock(2, 1, 1, kernel)
    nn.init.ones_(block.up.weight)
    nn.init.zeros_(block.up.bias)
    block.convs = nn.Identity()
    skip = torch.tensor([[[[7.0, 8.0, 9.0]]]])
    out = block(torch.tensor([[[[1.0, 2.0]]]]), skip)
    assert out.tolist() == [[[[7.0, 8.0, 9.0]], [expected]]]


def test_decoder_uses_every_level() -> None:
    torch.manual_seed(0)
    decoder = UNetDecoder(2, (4, 6, 8))
    levels = [torch.randn(2, c, n, n, requires_grad=True) for c, n in ((4, 7), (6, 4), (8, 2))]
    out = decoder(levels)
    assert out.shape == (2, 4, 7, 7)
    out.square().sum().backward()
    assert all(level.grad is not None and level.grad.abs().sum() > 0 for level in levels)


def test_encoder_levels_are_pooled_one_from_another() -> None:
    # With convolutions that do nothing a 3x3 image becomes the maxima of its quarters, then of all.
    encoder = UNetEncoder(2, 1, (1, 1, 1))
    encoder.levels = nn.ModuleList([nn.Identity() for _ in range(3)])
    first, second, third = encoder(torch.arange(9.0).view(1, 1, 3, 3))
    assert first.shape == (1, 1, 3, 3)
    # 0 1 | 2      4 | 5
    # 3 4 | 5  ->  7 | 8  -> 8
    # 6 7 | 8
    assert second.tolist() == [[[[4.0, 5.0], [7.0, 8.0]]]]
    assert third.tolist() == [[[[8.0]]]]


def test_encoder_with_3x3_pooling() -> None:
    # Windows of 3 centred on the even columns: max(0 1), max(1 2 3), max(3 4)
    encoder = UNetEncoder(2, 1, (1, 1), pool_kernel=3)
    encoder.levels = nn.ModuleList([nn.Identity(), nn.Identity()])
    assert encoder(torch.arange(5.0).view(1, 1, 1, 5))[1].tolist() == [[[[1.0, 3.0, 4.0]]]]
