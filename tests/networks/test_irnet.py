import pytest
import torch
from tiny_backbone import RESNET_STEPS, VGG_STEPS, Backbone
from torch import nn

from monai_wsss.losses.affinity import AffinityLoss
from monai_wsss.networks.nets.irnet import IRNet


def network(steps=RESNET_STEPS, **options) -> IRNet:
    torch.manual_seed(0)
    return IRNet(Backbone(steps), **{"boundary_channels": 8, "displacement_channels": 32, **options})


@pytest.mark.parametrize("steps", [RESNET_STEPS, VGG_STEPS])
@pytest.mark.parametrize(
    ("size", "grid"),
    # the published code crops what lies beyond 512
    [((64, 64), (16, 16)), ((37, 50), (10, 13)), ((5, 3), (2, 1)), ((520, 300), (130, 75)), ((41, 1021), (11, 256))],
)
def test_grid_of_stride_4_at_any_size(steps, size, grid):
    net = network(steps).eval()
    image = torch.randn(1, 1, *size)
    with torch.no_grad():
        boundary, displacement = net(image)
    assert boundary.shape == (1, 1, *grid) and displacement.shape == (1, 2, *grid)
    assert torch.isfinite(boundary).all() and torch.isfinite(displacement).all()
    assert net.boundary(image).shape == (1, 1, *grid)


def test_pixels_beyond_512_count():
    net = network().eval()
    image = torch.zeros(1, 1, 520, 16)
    changed = image.clone()
    changed[..., 516:, :] = 5
    with torch.no_grad():
        difference = (net(image)[0] - net(changed)[0]).abs()[0, 0].mean(dim=1)
    assert difference.argmax() >= 128


def test_a_mark_stays_where_it_is():
    # a bright square at rows 200..216 of 520 belongs to rows 50..53 of the grid
    net = network().eval()
    image = torch.zeros(1, 1, 520, 300)
    image[..., 200:216, 100:116] = 10
    with torch.no_grad():
        difference = (net(image)[0] - net(torch.zeros_like(image))[0])[0, 0].abs()
    difference = (difference - difference.median()).abs()
    rows, columns = (difference > difference.max() / 2).nonzero().T
    assert 47 <= rows.min() and rows.max() <= 56
    assert 22 <= columns.min() and columns.max() <= 31


def test_number_of_parameters_of_the_published_branches():
    net = IRNet(Backbone(channels=(64, 256, 512, 1024, 2048)))
    counts = {name: sum(p.numel() for p in group) for name, group in net.trainable_parameters().items()}
    # 3904 x 32 weights, 5 norms of 2 x 32, 160 + 1
    assert counts["boundary"] == 124928 + 320 + 161
    # 64 x 64 + 256 x 128 + 512 x 256 + 1024 x 256 + 2048 x 256, norms of 2 x (64 + 128 + 3 x 256),
    # 768 x 256 + 2 x 256, 448 x 256 + 2 x 256, 256 x 2 without bias
    assert counts["displacement"] == 954368 + 1920 + 197120 + 115200 + 512


def test_groups_are_all_that_trains():
    net = network()
    groups = net.trainable_parameters()
    grouped = [p for group in groups.values() for p in group]
    assert {id(p) for p in grouped} == {id(p) for p in net.parameters() if p.requires_grad}
    assert len(grouped) == len({id(p) for p in grouped})
    assert not {id(p) for p in grouped} & {id(p) for p in net.backbone.parameters()}
    assert all(group for group in groups.values())


def test_training_moves_the_branches_and_leaves_the_backbone():
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD([p for group in net.trainable_parameters().values() for p in group], lr=0.1)
    image = torch.randn(2, 1, 32, 40, requires_grad=True)
    boundary, displacement = net(image)
    (boundary.square().mean() + displacement.square().mean()).backward()
    optimizer.step()
    assert image.grad is None
    assert all(p.grad is None for p in net.backbone.parameters())
    assert net.training and not any(m.training for m in net.backbone.modules())
    frozen = ("backbone.", "mean_shift")
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith(frozen), name


def test_training_and_evaluation_agree_on_the_boundary():
    net, image = network(), torch.randn(2, 1, 24, 24)
    torch.testing.assert_close(net.train()(image)[0], net.eval()(image)[0])


def test_mean_shift_is_taken_off_in_evaluation_alone():
    net, image = network(), torch.randn(2, 1, 24, 24)
    plain = net.eval()(image)[1]
    net.set_mean_shift(torch.tensor([1.0, -2.0]))
    torch.testing.assert_close(net(image)[1], plain - torch.tensor([1.0, -2.0]).reshape(1, 2, 1, 1))
    torch.testing.assert_close(net.train()(image)[1], plain)


@pytest.mark.parametrize("mean", [torch.zeros(3), torch.tensor([0.0, float("nan")]), torch.zeros(1, 2)])
def test_bad_mean_shift(mean):
    with pytest.raises(ValueError, match="finite numbers"):
        network().set_mean_shift(mean)


def test_state_dict_is_all_there_is():
    one, other, image = network(), network(), torch.randn(1, 1, 24, 24)
    one.set_mean_shift(torch.tensor([0.5, 0.25]))
    nn.init.normal_(one.backbone.stages[0][0].weight)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(one.eval()(image), other.eval()(image))


def test_names_and_shapes_of_saved_weights():
    # files of weights hold these names: a change here is one that old runs cannot be read with
    def block(name, before, after):
        return {
            f"{name}.conv.weight": (after, before, 1, 1),
            f"{name}.adn.N.weight": (after,),
            f"{name}.adn.N.bias": (after,),
        }

    channels = (4, 6, 8, 10, 12)
    expected = {"mean_shift": (2,), "boundary_head.conv.weight": (1, 40, 1, 1), "boundary_head.conv.bias": (1,)}
    for i, (before, after) in enumerate(zip(channels, (8, 16, 32, 32, 32), strict=True)):
        expected |= block(f"boundary_levels.{i}", before, 8) | block(f"displacement_levels.{i}", before, after)
    expected |= block("displacement_merge", 96, 32) | block("displacement_join", 56, 32)
    expected |= {"displacement_head.conv.weight": (2, 32, 1, 1)}
    state = network().state_dict()
    assert {k: tuple(v.shape) for k, v in state.items() if not k.startswith("backbone.")} == expected
    assert {k for k in state if k.startswith("backbone.")} == {f"backbone.{k}" for k in Backbone().state_dict()}


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_boundary_of_the_flip_pair(axis):
    net, image = network().eval(), torch.randn(2, 1, 32, 48)
    dim = axis + 2 if axis >= 0 else axis
    with torch.no_grad():
        logits = (net(image)[0] + net(image.flip(dim))[0].flip(dim)) / 2
    torch.testing.assert_close(net.boundary(image, flip_axis=axis), logits.sigmoid())
    torch.testing.assert_close(
        net.boundary(image.flip(dim), flip_axis=axis),
        net.boundary(image, flip_axis=axis).flip(dim),
    )
    torch.testing.assert_close(net.boundary(image, flips=False), net(image)[0].sigmoid())


def test_boundary_of_the_flip_pair_has_whole_cells():
    # 50 columns: from the right, cells would begin 2 pixels further left; the edge is repeated to 52
    net, image = network().eval(), torch.randn(1, 1, 32, 50)
    padded = torch.cat([image, image[..., -1:], image[..., -1:]], dim=-1)
    torch.testing.assert_close(net.boundary(image), net.boundary(padded))


def test_boundary_leaves_the_other_branch_and_the_graph_alone():
    net, calls = network().eval(), []
    net.displacement_head.register_forward_hook(lambda *_: calls.append(1))
    assert not net.boundary(torch.randn(1, 1, 16, 16)).requires_grad
    assert not calls


def test_both_branches_learn_with_the_affinity_loss():
    net = network().train()
    labels = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    labels[..., 4:12, 3:11] = 1
    image = labels.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3).float() + 0.1 * torch.randn(1, 1, 64, 64)
    groups = net.trainable_parameters()
    optimizer = torch.optim.SGD(
        [{"params": groups["boundary"], "lr": 0.1}, {"params": groups["displacement"], "lr": 0.3}]
    )
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = AffinityLoss(3)(*net(image), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_3d():
    net = IRNet(Backbone(spatial_dims=3), boundary_channels=4, displacement_channels=32, spatial_dims=3).eval()
    image = torch.randn(1, 1, 17, 20, 9)
    boundary, displacement = net(image)
    assert boundary.shape == (1, 1, 5, 5, 3) and displacement.shape == (1, 3, 5, 5, 3)
    assert net.boundary(image, flip_axis=0).shape == (1, 1, 5, 5, 3)


def test_autocast():
    net = network().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        boundary, displacement = net(torch.randn(1, 1, 32, 32))
        loss = AffinityLoss(3)(boundary, displacement, torch.ones(1, 1, 8, 8, dtype=torch.uint8))
        probability = net.boundary(torch.randn(1, 1, 32, 32))
    loss.backward()
    assert probability.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for p in net.trainable_parameters()["displacement"])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"boundary_channels": 6}, "6"), ({"boundary_channels": 0}, "0"), ({"displacement_channels": 48}, "48")],
)
def test_bad_channels(options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_backbone_must_have_five_levels():
    backbone = Backbone()
    backbone.level_channels = backbone.level_channels[:4]
    with pytest.raises(ValueError, match="five levels"):
        IRNet(backbone)
