import pytest
import torch
from monai.networks.nets import DenseNet121
from torch import nn

from monai_wsss.networks.nets.densenet_classifier import DenseNetClassifier

BLOCKS = (6, 12, 24, 16)


def small(output_stride: int = 8, **arguments: object) -> DenseNetClassifier:
    torch.manual_seed(0)
    return DenseNetClassifier(output_stride=output_stride, width=0.125, **arguments).eval()


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_number_of_parameters_is_the_published_one(output_stride: int) -> None:
    with torch.device("meta"):
        net = DenseNetClassifier(in_channels=3, num_classes=1000, output_stride=output_stride)
    assert sum(p.numel() for p in net.parameters()) == 7_978_856


@pytest.mark.parametrize("size", [(64, 96), (32, 32, 64)])
def test_output_stride_32_is_monais_network(size: tuple[int, ...]) -> None:
    dims = len(size)
    net = small(32, spatial_dims=dims, num_classes=3)
    monais = DenseNet121(dims, 1, 3, init_features=8, growth_rate=4).eval()
    state = {key.replace("trunk.", "features."): value for key, value in net.state_dict().items()}
    for kind in ("weight", "bias"):
        state[f"class_layers.out.{kind}"] = state.pop(f"fc.{kind}")
    monais.load_state_dict(state)
    images = torch.randn(2, 1, *size)
    with torch.no_grad():
        torch.testing.assert_close(net(images), monais(images))


@pytest.mark.parametrize(("output_stride", "sampled"), [(16, [3]), (8, [2, 3])])
def test_dilated_features_hold_the_strided_ones(output_stride: int, sampled: list[int]) -> None:
    # A transition that does not pool leaves all cells; with its pooling a mere sampling the strided network computes
    # on its own grid what the dilated one computes there.
    fine, coarse = small(output_stride), small(32)
    coarse.load_state_dict(fine.state_dict())
    for number in sampled:
        coarse.trunk.get_submodule(f"transition{number}").pool = nn.MaxPool2d(1, stride=2)
    image = torch.randn(1, 1, 96, 64)
    step = 32 // output_stride
    with torch.no_grad():
        torch.testing.assert_close(fine.features(image)[..., ::step, ::step], coarse.features(image))


def test_a_transition_averages_what_there_is() -> None:
    # 3 columns round up to 2: the last pair is the last column alone, which zeros beside it would halve
    pool = small(32).trunk.get_submodule("transition1.pool")
    assert pool(torch.tensor([[[[1.0, 3.0, 5.0]]]])).tolist() == [[[[2.0, 5.0]]]]


def test_levels_are_stem_and_dense_blocks() -> None:
    net, image = small(16), torch.randn(1, 1, 64, 64)
    trunk = net.trunk
    with torch.no_grad():
        levels = net.levels(image)
        x = trunk.get_submodule("norm0")(trunk.get_submodule("conv0")(image)).relu()
        torch.testing.assert_close(levels[0], x)
        x = trunk.get_submodule("pool0")(x)
        for block, layers in enumerate(BLOCKS, start=1):
            x = trunk.get_submodule(f"denseblock{block}")(x)
            if block < 4:
                torch.testing.assert_close(levels[block], x)
                x = trunk.get_submodule(f"transition{block}")(x)
            assert len(trunk.get_submodule(f"denseblock{block}")) == layers
        torch.testing.assert_close(levels[4], trunk.get_submodule("norm5")(x).relu())
