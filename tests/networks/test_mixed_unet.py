import io

import pytest
import torch

from monai_wsss.networks import MixedUNet

SMALL = (4, 6, 8)


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        # The paper's widths with RGB in and one output.
        ({"in_channels": 3, "out_channels": 1}, 10_716_737),
        # 3x3: two decoders, each (9 - 4) * (512*256 + 256*128 + 128*64) = 860_160 more
        ({"in_channels": 3, "out_channels": 1, "up_kernel": 3}, 12_437_057),
        ({"in_channels": 3, "out_channels": 1, "pool_kernel": 3}, 10_716_737),
        # One input channel less 2 * 64 * 9 = 1_152, one output more 128 + 1 = 129
        ({}, 10_715_714),
    ],
)
def test_parameter_count(arguments: dict, parameters: int) -> None:
    with torch.device("meta"):
        assert count(MixedUNet(**arguments)) == parameters


def test_parameter_count_3d_by_hand() -> None:
    # levels 2-3, 1 in, 1 out; conv a->b: 27ab + b, batch norm 2b, transposed 2x2x2 a->b: 8ab + b
    encoder = (27 * 1 * 2 + 2 + 4) + (27 * 2 * 2 + 2 + 4) + (27 * 2 * 3 + 3 + 6) + (27 * 3 * 3 + 3 + 6)
    decoder = (8 * 3 * 2 + 2) + (27 * 4 * 2 + 2 + 4) + (27 * 2 * 2 + 2 + 4)
    assert encoder + 2 * decoder + (4 * 1 + 1) == 1374
    net = MixedUNet(spatial_dims=3, in_channels=1, out_channels=1, channels=(2, 3))
    assert count(net) == 1374


@pytest.mark.parametrize("kernels", [(2, 2), (2, 3), (3, 2), (3, 3)])
@pytest.mark.parametrize("size", [(16, 16), (17, 13), (1, 5), (7, 18, 9)])
def test_any_size_comes_back(size: tuple[int, ...], kernels: tuple[int, int]) -> None:
    net = MixedUNet(len(size), 2, 3, channels=SMALL, up_kernel=kernels[0], pool_kernel=kernels[1]).eval()
    with torch.inference_mode():
        logits = net(torch.randn(2, 2, *size))
    assert logits.shape == (2, 3, *size)
    assert logits.isfinite().all()


def test_levels_are_halved_and_rounded_up() -> None:
    for kernel in (2, 3):
        encoder = MixedUNet(channels=SMALL, pool_kernel=kernel).eval().encoder
        assert [tuple(f.shape[1:]) for f in encoder(torch.zeros(1, 1, 9, 8))] == [(4, 9, 8), (6, 5, 4), (8, 3, 2)]


def test_decoders_share_form_but_no_weight() -> None:
    net = MixedUNet(channels=SMALL)
    first, second = net.decoder1.state_dict(), net.decoder2.state_dict()
    assert {k: v.shape for k, v in first.items()} == {k: v.shape for k, v in second.items()}
    assert not {id(p) for p in net.decoder1.parameters()} & {id(p) for p in net.decoder2.parameters()}
    net(torch.randn(2, 1, 8, 8)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_both_decoders_reach_the_output() -> None:
    torch.manual_seed(0)
    net = MixedUNet(channels=SMALL, out_channels=1).eval()
    image = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        levels = net.encoder(image)
        weight, bias = net.head.weight[:, :, 0, 0], net.head.bias
        expected = (
            torch.einsum("bfhw,kf->bkhw", net.decoder1(levels), weight[:, :4])
            + torch.einsum("bfhw,kf->bkhw", net.decoder2(levels), weight[:, 4:])
            + bias
        )
        torch.testing.assert_close(net(image), expected)


def test_batch_equals_single() -> None:
    net = MixedUNet(channels=SMALL).eval()
    images = torch.randn(3, 1, 12, 10)
    with torch.no_grad():
        torch.testing.assert_close(net(images), torch.cat([net(image[None]) for image in images]))


def test_shift_by_the_coarsest_cell() -> None:
    # Three levels: a shift by 4 pixels moves every grid by whole cells. Zeros around the object keep borders equal.
    torch.manual_seed(0)
    net = MixedUNet(channels=SMALL).eval()
    image = torch.zeros(1, 1, 128, 128)
    image[..., 60:68, 56:64] = torch.randn(8, 8)
    with torch.no_grad():
        shifted = net(image.roll((4, 8), dims=(2, 3)))
        expected = net(image).roll((4, 8), dims=(2, 3))
    torch.testing.assert_close(shifted[..., 40:88, 40:88], expected[..., 40:88, 40:88])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kernel", [2, 3])
def test_script_gives_the_same_for_other_sizes(dims: int, kernel: int) -> None:
    net = MixedUNet(dims, channels=SMALL, up_kernel=kernel, pool_kernel=kernel).eval()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(net), buffer)
    buffer.seek(0)
    scripted = torch.jit.load(buffer)
    with torch.no_grad():
        for size in ((8, 8, 8), (11, 9, 6)):
            image = torch.randn(1, 1, *size[:dims])
            torch.testing.assert_close(scripted(image), net(image))


def test_autocast() -> None:
    net = MixedUNet(channels=SMALL).eval()
    image = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        expected = net(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(image)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"up_kernel": 4}, "up_kernel must be 2 or 3, got 4"),
        ({"pool_kernel": 1}, "pool_kernel must be 2 or 3, got 1"),
        ({"channels": (8,)}, r"at least two levels, got \(8,\)"),
    ],
)
def test_refuses_other_values(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixedUNet(**arguments)
