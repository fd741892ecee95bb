import math

import pytest
import torch

from monai_wsss.losses.affinity import AffinityLoss
from monai_wsss.ops.affinity import affinity_targets, boundary_affinity
from monai_wsss.ops.pair_paths import pair_offsets


def case(labels, probability, field):
    """One row of pixels: labels, boundary probabilities, displacements (y, x); within radius 2 neighbours pair."""
    boundary = torch.logit(torch.tensor(probability))[None, None, None]
    return boundary, torch.tensor(field).T[None, :, None], torch.tensor(labels, dtype=torch.uint8)[None, None, None]


def example(*shape: int, labels: int = 4):
    generator = torch.Generator().manual_seed(3)
    boundary = torch.randn(2, 1, *shape, generator=generator)
    field = 3 * torch.randn(2, len(shape), *shape, generator=generator)
    target = torch.randint(0, labels, (2, 1, *shape), generator=generator).byte()
    return boundary, field, target.masked_fill(target == 3, 255)


def dense_loss(boundary, field, labels, radius):
    """Every pair at once, by autograd."""
    affinity = boundary_affinity(boundary.sigmoid(), radius)
    background, foreground, negative = affinity_targets(labels, radius)
    offsets = pair_offsets(radius, labels.ndim - 2).tolist()
    moves = []
    for offset in offsets:  # a roll brings the partner; pairs outside the image are no target
        partner = field.roll([-o for o in offset], dims=list(range(2, field.ndim)))
        moves.append(field - partner)
    move = torch.stack(moves, dim=2)
    target = torch.tensor(offsets, dtype=field.dtype).T.reshape(1, field.shape[1], -1, *[1] * (field.ndim - 2))

    def mean(values, mask):
        return values[mask].sum() / max(int(mask.sum()), 1)

    near, far = -(affinity + 1e-5).log(), -(1 - affinity + 1e-5).log()
    positive = (mean(near, background) + mean(near, foreground)) / 2
    gap_fg, gap_bg = (move - target).abs().mean(dim=1), move.abs().mean(dim=1)
    return (positive + mean(far, negative)) / 2 + (mean(gap_fg, foreground) + mean(gap_bg, background)) / 2


ZERO = [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("labels", "probability", "field", "expected"),
    [
        # one background pair, a = .5: -ln .5 / 4; with it |(1, 0) - (0, 2)| = (1, 2), mean 1.5, half of it .75
        ([0, 0], [0.2, 0.5], ZERO, math.log(2) / 4),
        ([0, 0], [0.2, 0.5], [[1.0, 0.0], [0.0, 2.0]], math.log(2) / 4 + 0.75),
        # one pair of a class, d = (0, 1): a field of zeros misses it by (0, 1), mean .5, half of it .25
        ([3, 3], [0.2, 0.5], ZERO, math.log(2) / 4 + 0.25),
        # the centre to the right of both, 2 and 1 away: right; to the left it would be wrong by 2 in one of two
        ([3, 3], [0.2, 0.5], [[7.0, 2.0], [7.0, 1.0]], math.log(2) / 4),
        ([3, 3], [0.2, 0.5], [[7.0, -2.0], [7.0, -1.0]], math.log(2) / 4 + 0.5),
        # negative: a = .2, -ln .8 / 2; the field does not matter
        ([0, 3], [0.2, 0.8], [[9.0, 9.0], [0.0, 0.0]], -math.log(0.8) / 2),
        ([2, 3], [0.2, 0.8], ZERO, -math.log(0.8) / 2),
        # a background pair (.8) and a negative (.5), then an ignored pixel
        ([0, 0, 3, 255], [0.2, 0.1, 0.5, 0.9], [[0.0, 0.0]] * 4, -math.log(0.8) / 4 + math.log(2) / 2),
        ([255, 0], [0.2, 0.8], [[9.0, 9.0], [0.0, 0.0]], 0.0),
        ([255, 255], [0.2, 0.8], ZERO, 0.0),
    ],
)
def test_by_hand(labels, probability, field, expected):
    assert AffinityLoss(2)(*case(labels, probability, field)).item() == pytest.approx(expected, abs=1e-4)


def test_rows_come_first():
    # one column: d = (1, 0), and the centre is below
    boundary, labels = torch.zeros(1, 1, 2, 1), torch.ones(1, 1, 2, 1, dtype=torch.uint8)
    field = torch.tensor([[2.0, 0.0], [1.0, 0.0]]).T.reshape(1, 2, 2, 1)
    assert AffinityLoss(2)(boundary, field, labels).item() == pytest.approx(math.log(2) / 4, abs=1e-4)


def test_field_to_the_centre_costs_nothing():
    labels = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    labels[..., 2:7, 2:7] = 1
    pixels = torch.stack(torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij"))[None]
    field = torch.where(labels == 1, 4 - pixels, torch.zeros_like(pixels))
    loss, boundary = AffinityLoss(4), torch.zeros(1, 1, 9, 9)
    assert loss(boundary, field, labels) < loss(boundary, torch.zeros_like(field), labels)
    edges_alone = loss(boundary, field, labels)
    torch.testing.assert_close(edges_alone, torch.tensor(math.log(2)), atol=1e-4, rtol=0)  # ln 2 (1/4 + 1/4 + 1/2)


@pytest.mark.parametrize(
    ("shape", "radius", "labels"),
    [((9, 7), 4, 4), ((5, 12), 10, 4), ((4, 3, 5), 3, 4), ((9, 7), 4, 1), ((9, 7), 4, 2)],
)
def test_equals_all_pairs_at_once_with_gradients(shape, radius, labels):
    results = []
    for loss in (AffinityLoss(radius), lambda *x: dense_loss(*x, radius)):
        boundary, field, target = example(*shape, labels=labels)
        boundary, field = boundary.double().requires_grad_(), field.double().requires_grad_()
        value = loss(boundary, field, target)
        (3 * value).backward()
        results.append((value.detach(), boundary.grad, field.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_mirrored_input_same_loss():
    boundary, field, labels = example(8, 11)
    mirrored = field.flip(-1) * torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(
        AffinityLoss(5)(boundary.flip(-1), mirrored, labels.flip(-1)), AffinityLoss(5)(boundary, field, labels)
    )


@pytest.mark.parametrize("label", [0, 1, 254, 255])
@pytest.mark.parametrize("logit", [0.0, 1e4, -1e4])
def test_one_label_alone_and_saturated_logits_stay_finite(label, logit):
    boundary = torch.full((1, 1, 6, 6), logit, requires_grad=True)
    field = torch.zeros(1, 2, 6, 6, requires_grad=True)
    loss = AffinityLoss(3)(boundary, field, torch.full((1, 1, 6, 6), label, dtype=torch.uint8))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(boundary.grad).all() and torch.isfinite(field.grad).all()
    if label == 255:
        assert loss == 0 and not boundary.grad.any() and not field.grad.any()
    elif logit > 0:
        assert loss > 2  # -ln 1e-5 / 4 = 2.88


def test_image_smaller_than_every_offset():
    inputs = torch.zeros(1, 1, 1, 1, requires_grad=True), torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, 1).byte()
    loss = AffinityLoss(5)(*inputs)
    loss.backward()
    assert loss == 0 and inputs[0].grad.item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_counts_in_float32(dtype):
    boundary, field, labels = example(10, 10)
    boundary, field = boundary.to(dtype).requires_grad_(), field.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = AffinityLoss(5)(boundary, field, labels)
    loss.backward()
    assert loss.dtype == torch.float32 and boundary.grad.dtype == field.grad.dtype == dtype
    torch.testing.assert_close(
        loss.detach(), AffinityLoss(5)(boundary.detach().float(), field.detach().float(), labels)
    )


def test_one_input_may_be_constant():
    boundary, field, labels = example(6, 6)
    AffinityLoss(3)(boundary.requires_grad_(), field, labels).backward()
    both = boundary.detach().requires_grad_(), field.requires_grad_()
    AffinityLoss(3)(*both, labels).backward()
    torch.testing.assert_close(boundary.grad, both[0].grad)


def test_nothing_is_recorded_without_gradient():
    boundary, field, labels = example(6, 6)
    boundary.requires_grad_()
    with torch.no_grad():
        quiet = AffinityLoss(3)(boundary, field, labels)
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, AffinityLoss(3)(boundary, field, labels).detach())


def test_memory_does_not_grow_with_the_radius():
    boundary, field, labels = example(12, 12)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        AffinityLoss(8)(boundary.requires_grad_(), field.requires_grad_(), labels).backward()
    assert sum(kept) > 0
    # hooks see the final two gradients and one offset's intermediates at a time; never all 98 offsets in one tensor
    assert max(kept) <= field.numel()


@pytest.mark.parametrize("radius", [0, 1, -2, math.nan])
def test_bad_radius(radius):
    with pytest.raises(ValueError, match=str(radius)):
        AffinityLoss(radius)


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 1, 4, 4), (1, 2, 4, 4), (1, 1, 8, 8)),
        ((1, 1, 4, 4), (1, 3, 4, 4), (1, 1, 4, 4)),
        ((1, 2, 4, 4), (1, 2, 4, 4), (1, 1, 4, 4)),
        ((2, 1, 4, 4), (1, 2, 4, 4), (2, 1, 4, 4)),
        ((1, 1, 4), (1, 1, 4), (1, 1, 4)),
    ],
)
def test_shapes_must_fit(shapes):
    with pytest.raises(ValueError, match="labels must be"):
        AffinityLoss(3)(*(torch.zeros(shape) for shape in shapes))
