import pytest
import torch
from tiny_backbone import Backbone

from monai_wsss.losses.boundary_exploration import BoundaryExplorationLoss
from monai_wsss.networks.nets.benet import BENet
from monai_wsss.networks.nets.irnet import IRNet
from monai_wsss.networks.nets.resnet_classifier import ResNetClassifier


def network(**options) -> BENet:
    torch.manual_seed(0)
    return BENet(Backbone(), **{"boundary_channels": 8, **options})


def descend(net: BENet, loss: torch.Tensor) -> None:
    net.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in net.trainable_parameters()["boundary"]:
            parameter -= 0.1 * parameter.grad


@pytest.mark.parametrize(("size", "grid"), [((64, 64), (16, 16)), ((37, 50), (10, 13)), ((5, 3), (2, 1))])
def test_grid_of_stride_4_at_any_size(size, grid):
    net, image = network().eval(), torch.randn(2, 1, *size)
    assert net(image).shape == net.boundary(image).shape == (2, 1, *grid)


def test_number_of_parameters_on_a_resnet50():
    (group,) = BENet(Backbone(channels=(64, 256, 512, 1024, 2048))).trainable_parameters().values()
    # 3904 x 32 weights, 5 norms of 2 x 32, 160 + 1
    assert sum(p.numel() for p in group) == 124928 + 320 + 161


def test_stands_on_a_classifier():
    net = BENet(ResNetClassifier(in_channels=1, depth=18, output_stride=16)).train()
    logits = net(torch.randn(2, 1, 32, 40))
    logits.sum().backward()
    assert logits.shape == (2, 1, 8, 10) and all(p.grad is None for p in net.backbone.parameters())


def test_is_irnet_without_displacement():
    irnet, benet, image = IRNet(Backbone(), 8, 32).eval(), network().eval(), torch.randn(2, 1, 37, 50)
    weights = irnet.state_dict()
    shared = {key: value for key, value in weights.items() if not key.startswith(("displacement_", "mean_shift"))}
    benet.load_state_dict(shared)  # strict
    torch.testing.assert_close(benet(image), irnet(image)[0])
    torch.testing.assert_close(benet.boundary(image, flip_axis=0), irnet.boundary(image, flip_axis=0))


def test_no_gradient_reaches_the_backbone():
    net = network().train()
    assert net.training and not any(module.training for module in net.backbone.modules())
    assert not any(p.requires_grad for p in net.backbone.parameters())
    seen = []
    for module in net.backbone.modules():
        module.register_forward_hook(lambda _, __, output: seen.append(output.requires_grad))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    image = torch.randn(2, 1, 32, 40, requires_grad=True)
    logits = net(image)
    assert len(seen) == 5 * 5 and not any(seen)  # stages and what they hold
    descend(net, logits.square().mean())
    assert image.grad is None and all(p.grad is None for p in net.backbone.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("backbone."), name


def test_group_is_all_that_trains():
    net = network()
    groups = net.trainable_parameters()
    assert list(groups) == ["boundary"]
    assert {id(p) for p in groups["boundary"]} == {id(p) for p in net.parameters() if p.requires_grad}


def test_boundary_of_the_flip_pair():
    net, image = network().eval(), torch.randn(2, 1, 32, 48)
    with torch.no_grad():
        logits = (net(image) + net(image.flip(-1)).flip(-1)) / 2
    torch.testing.assert_close(net.boundary(image), logits.sigmoid())
    torch.testing.assert_close(net.boundary(image, flips=False), net(image).sigmoid())
    assert not net.boundary(image).requires_grad


def test_learns_with_its_loss_in_3d_and_under_autocast():
    torch.manual_seed(0)
    net = BENet(Backbone(spatial_dims=3), boundary_channels=4, spatial_dims=3).train()
    labels = torch.zeros(1, 1, 4, 6, 5, dtype=torch.uint8)
    labels[..., 2:4, :], labels[..., 4:, :] = 2, 1
    image = labels.float().repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    losses = []
    for _ in range(15):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = BoundaryExplorationLoss()(net(image), labels)
        descend(net, loss)
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert net.boundary(image, flip_axis=0).shape == labels.shape


@pytest.mark.parametrize("channels", [0, 6])
def test_bad_channels(channels):
    with pytest.raises(ValueError, match=f"multiple of 4, got {channels}"):
        network(boundary_channels=channels)


def test_backbone_must_have_five_levels():
    backbone = Backbone()
    backbone.level_channels = backbone.level_channels[:4]
    with pytest.raises(ValueError, match="five levels"):
        BENet(backbone)
