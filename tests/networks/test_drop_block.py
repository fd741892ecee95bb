import numpy as np
import pytest
import torch
from scipy.ndimage import binary_opening

from monai_wsss.networks.blocks.drop_block import DropBlock


def dropped_share(block: DropBlock, size: tuple[int, ...], draws: int) -> float:
    torch.manual_seed(0)
    return float((block(torch.ones(draws, 1, *size)) == 0).float().mean())


def test_rate_of_a_small_map_worked_by_hand() -> None:
    # 3x3 map, 2x2 blocks, p = 0.16: gamma = 0.16 * (3/2 * 1/2)^2 = 0.09 at each of the 2x2 seeds. A corner is reached
    # by one seed (0.09), an edge by two (1 - 0.91^2 = 0.1719), the centre by four (1 - 0.91^4 = 0.31425):
    # (4 * 0.09 + 4 * 0.1719 + 0.31425) / 9 = 0.15132. Without the correction for the border it would be 0.0699.
    assert dropped_share(DropBlock(2, 0.16, 2), (3, 3), 50_000) == pytest.approx(0.15132, abs=0.003)


@pytest.mark.parametrize("prob", [0.05, 0.2])
@pytest.mark.parametrize(("size", "block"), [((16, 16), 7), ((9, 30), 4), ((4, 12), 7), ((8, 8, 8), 3), ((12, 12), 1)])
def test_dropped_share_is_near_drop_prob(size: tuple[int, ...], block: int, prob: float) -> None:
    share = dropped_share(DropBlock(len(size), prob, block), size, 12_000)
    # Overlap lowers it, to about 1 - exp(-p); what is left is the error of the draws.
    assert 0.85 * prob < share < 1.07 * prob


@pytest.mark.parametrize(("size", "block"), [((20, 17), 5), ((20, 17), 4), ((6, 20), 7), ((9, 8, 10), 3)])
def test_whole_blocks_are_dropped(size: tuple[int, ...], block: int) -> None:
    torch.manual_seed(1)
    output = DropBlock(len(size), 0.2, block)(torch.ones(8, 1, *size))
    shape = np.ones([min(block, n) for n in size], dtype=bool)
    zero = (output[:, 0] == 0).numpy()
    assert 0 < zero.sum() < zero.size
    for sample in zero:  # a union of blocks, each of them whole, is its own opening by the block
        assert np.array_equal(binary_opening(sample, shape), sample)


def test_a_block_larger_than_the_map_drops_whole_samples() -> None:
    torch.manual_seed(0)
    output = DropBlock(2, 0.25, 7)(torch.ones(4000, 2, 3, 5)).flatten(1)
    dropped = (output == 0).all(dim=1)
    assert torch.equal(dropped, (output == 0).any(dim=1))
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("size", [(12, 12), (6, 6, 6)])
def test_shared_over_channels_and_drawn_for_each_sample(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    kept = DropBlock(len(size), 0.3, 3)(torch.ones(4, 5, *size)) != 0
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert not torch.equal(kept[0], kept[1])


def test_rest_is_divided_by_the_kept_share() -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 3, 12, 12) + 1
    y = DropBlock(2, 0.3, 3)(x)
    kept = y != 0
    torch.testing.assert_close(y, x * kept / kept.float().mean())
    ones = DropBlock(2, 0.3, 3)(torch.ones(4, 3, 12, 12))
    assert float(ones.mean()) == pytest.approx(1, abs=1e-5)


def test_all_dropped_is_zero_and_not_nan() -> None:
    torch.manual_seed(0)
    x = torch.ones(1, 2, 3, 3, requires_grad=True)
    y = DropBlock(2, 0.999999, 7)(x)
    y.sum().backward()
    assert y.eq(0).all() and x.grad is not None and x.grad.eq(0).all()


def test_identity_in_evaluation_and_at_zero() -> None:
    x = torch.rand(2, 3, 8, 8)
    assert DropBlock(2, 0.5, 3).eval()(x) is x
    assert DropBlock(2, 0.0, 3).train()(x) is x


def test_same_seed_same_blocks() -> None:
    block, x = DropBlock(2, 0.3, 3), torch.rand(2, 3, 16, 16)
    draws = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        draws.append(block(x))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    # 300 * 300 positions: a sum in float16 would overflow
    x = torch.ones(1, 2, 300, 300)
    block = DropBlock(2, 0.2, 7)
    torch.manual_seed(0)
    expected = block(x)
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=dtype):
        actual = block(x.to(dtype))
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.float(), expected, rtol=0.01, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 0.2, 7), "spatial_dims must be 2 or 3, got 1"),
        ((2, 1.0, 7), r"drop_prob must lie in \[0, 1\), got 1.0"),
        ((2, -0.1, 7), r"drop_prob must lie in \[0, 1\), got -0.1"),
        ((2, 0.2, 0), "block_size must be at least 1, got 0"),
    ],
)
def test_refuses_other_values(arguments: tuple[int, float, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DropBlock(*arguments)
