import pytest
import torch
from monai.networks.nets import FlexibleUNet, SEResNeXt50
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE

from monai_wsss.networks.encoders import AtrousResNet, ProjectedResNetEncoder, SEResNeXtEncoder
from monai_wsss.networks.nets.resnet_classifier import ResNetClassifier


def shapes(network):
    """Shape of each weight; the classifier's last layer left out."""
    return {key: value.shape for key, value in network.state_dict().items() if not key.startswith("fc.")}


@pytest.mark.parametrize("name", ["resnet18_projected", "resnet34_projected", "resnet50", "se_resnext50"])
@pytest.mark.parametrize("size", [(64, 96), (32, 64, 32)])
def test_registered_levels_halve_the_size(name, size):
    entry = FLEXUNET_BACKBONE.register_dict[name]
    with torch.device("meta"):
        arguments = {**entry["parameter"], "spatial_dims": len(size), "in_channels": 2, "pretrained": False}
        levels = entry["type"](**arguments)(torch.zeros(2, 2, *size))
    assert len(levels) == entry["feature_number"] == 5
    assert [level.shape[1] for level in levels] == list(entry["feature_channel"])
    assert [level.shape[2:] for level in levels] == [tuple(n // 2**i for n in size) for i in range(1, 6)]


@pytest.mark.parametrize(("name", "depth"), [("resnet18_projected", 18), ("resnet34_projected", 34), ("resnet50", 50)])
def test_resnets_have_torchvisions_keys(name, depth):
    with torch.device("meta"):
        network = FlexibleUNet(1, 2, name, spatial_dims=2)
        assert shapes(network.encoder) == shapes(ResNetClassifier(depth=depth))


def test_projected_resnet_equals_the_classifiers_trunk():
    torch.manual_seed(0)
    encoder = ProjectedResNetEncoder("resnet18_projected").eval()
    trunk = ResNetClassifier(depth=18).eval()
    missing, unexpected = trunk.load_state_dict(encoder.state_dict(), strict=False)
    assert (sorted(missing), unexpected) == (["fc.bias", "fc.weight"], [])
    image = torch.randn(2, 1, 64, 32)
    with torch.no_grad():
        # The first level differs on purpose: FlexibleUNet wants it before the pooling.
        for level, expected in zip(encoder(image)[1:], trunk.levels(image)[1:], strict=True):
            torch.testing.assert_close(level, expected)


def test_se_resnext_equals_monais_network():
    torch.manual_seed(0)
    whole = SEResNeXt50(spatial_dims=2, in_channels=1).eval()
    encoder = SEResNeXtEncoder().eval()
    weights = {key: value for key, value in whole.state_dict().items() if not key.startswith("last_linear")}
    assert encoder.load_state_dict(weights)
    image = torch.randn(1, 1, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(image)[-1], whole.features(image))


def test_parameters_are_the_published_number():
    # 27,559,896 of the ImageNet network, less its last layer of 2048 x 1000 weights and 1000 biases.
    with torch.device("meta"):
        encoder = SEResNeXtEncoder(in_channels=3)
    assert sum(p.numel() for p in encoder.parameters()) == 27_559_896 - 2_049_000


@pytest.mark.parametrize("make", [SEResNeXtEncoder, lambda **k: ProjectedResNetEncoder("resnet18_projected", **k)])
def test_nothing_is_fetched(make):
    with pytest.raises(ValueError, match="pretrained must be False"):
        make(pretrained=True)


def test_refuses_another_name():
    with pytest.raises(ValueError, match="model_name must be one of"):
        ProjectedResNetEncoder("resnet18")


@pytest.mark.parametrize("depth", [18, 50])
def test_atrous_trunk_is_the_classifier_without_its_last_layer(depth):
    with torch.device("meta"):
        trunk = AtrousResNet(depth=depth)
        assert shapes(trunk) == shapes(ResNetClassifier(depth=depth))
    assert not hasattr(trunk, "fc")


@pytest.mark.parametrize(("output_stride", "strides"), [(16, (4, 4, 8, 16, 16)), (8, (4, 4, 8, 8, 8))])
def test_atrous_levels(output_stride, strides):
    with torch.device("meta"):
        trunk = AtrousResNet(depth=18, output_stride=output_stride)
        levels = trunk(torch.zeros(2, 1, 65, 40))
    assert [level.shape[1] for level in levels] == list(trunk.level_channels)
    assert [level.shape[2:] for level in levels] == [(-(-65 // s), -(-40 // s)) for s in strides]
