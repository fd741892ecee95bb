import io

import pytest
import torch

from monai_wsss.networks import ClassifierHead, ResNetClassifier

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def torchvision_keys(blocks: list[int], convs: int, projected: tuple[int, ...]) -> list[str]:
    """torchvision's names by rule: stem, blocks of conv and bn pairs, 1x1 shortcut where the shape changes, fc."""
    keys = ["conv1.weight", *(f"bn1.{name}" for name in BATCH_NORM)]
    for layer, count in enumerate(blocks, start=1):
        for block in range(count):
            prefix = f"layer{layer}.{block}"
            for i in range(1, convs + 1):
                keys += [f"{prefix}.conv{i}.weight", *(f"{prefix}.bn{i}.{name}" for name in BATCH_NORM)]
            if block == 0 and layer in projected:
                keys += [f"{prefix}.downsample.0.weight", *(f"{prefix}.downsample.1.{name}" for name in BATCH_NORM)]
    return [*keys, "fc.weight", "fc.bias"]


@pytest.fixture(scope="module")
def net() -> ResNetClassifier:
    torch.manual_seed(0)
    return ResNetClassifier(in_channels=1, num_classes=2, depth=18).eval()


# The figures that torchvision publishes for 1000 classes and RGB.
@pytest.mark.parametrize(("depth", "count"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)])
def test_parameter_count_is_torchvisions(depth: int, count: int) -> None:
    with torch.device("meta"):
        net = ResNetClassifier(in_channels=3, num_classes=1000, depth=depth)
    assert sum(p.numel() for p in net.parameters()) == count


def test_parameter_count_3d() -> None:
    # ResNet18's 3x3 kernels grow to 3x3x3, the 7x7 stem to 7x7x7 with one channel:
    # 3x3 weights: 64*64*4 + 64*128 + 128*128*3 + 128*256 + 256*256*3 + 256*512 + 512*512*3 = 1_220_608, times 27
    # stem 64*343 = 21_952; shortcuts 64*128 + 128*256 + 256*512 = 172_032; batch norm 9_600; fc 512 + 1
    assert 1_220_608 * 27 + 21_952 + 172_032 + 9_600 + 513 == 33_160_513
    with torch.device("meta"):
        net = ResNetClassifier(spatial_dims=3, in_channels=1, num_classes=1, depth=18)
    assert sum(p.numel() for p in net.parameters()) == 33_160_513


@pytest.mark.parametrize(
    ("depth", "blocks", "convs", "projected"),
    [(18, [2, 2, 2, 2], 2, (2, 3, 4)), (50, [3, 4, 6, 3], 3, (1, 2, 3, 4))],
)
@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_keys_are_torchvisions(
    depth: int, blocks: list[int], convs: int, projected: tuple[int, ...], output_stride: int
) -> None:
    with torch.device("meta"):
        net = ResNetClassifier(depth=depth, output_stride=output_stride)
    expected = torchvision_keys(blocks, convs, projected)
    assert len(expected) == {18: 122, 50: 320}[depth]
    assert sorted(net.state_dict()) == sorted(expected)


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("size", [(64, 64), (97, 40), (32, 33), (40, 33, 64)])
def test_feature_size_is_input_over_output_stride(depth: int, output_stride: int, size: tuple[int, ...]) -> None:
    with torch.device("meta"):
        net = ResNetClassifier(spatial_dims=len(size), in_channels=2, depth=depth, output_stride=output_stride).eval()
        features = net.features(torch.zeros(1, 2, *size))
    assert features.shape == (1, {18: 512, 50: 2048}[depth], *(-(-n // output_stride) for n in size))
    assert net.class_weight.shape == (1, features.shape[1])


@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize(("depth", "size"), [(18, (96, 65)), (50, (65, 64)), (18, (33, 40, 32))])
def test_dilated_features_hold_the_strided_ones(depth: int, size: tuple[int, ...], output_stride: int) -> None:
    # Dilation samples the finer grid as the strided network samples its own, so the coarse map is a subset.
    torch.manual_seed(0)
    dims = len(size)
    strided = ResNetClassifier(spatial_dims=dims, depth=depth, output_stride=32).eval()
    dilated = ResNetClassifier(spatial_dims=dims, depth=depth, output_stride=output_stride).eval()
    dilated.load_state_dict(strided.state_dict())
    image = torch.randn(1, 1, *size)
    step = 32 // output_stride
    with torch.no_grad():
        expected = strided.features(image)
        actual = dilated.features(image)[(..., *[slice(None, None, step)] * dims)]
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize(("argument", "value"), [("depth", 20), ("output_stride", 4)])
def test_refuses_other_values(argument: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be one of .*, got {value}"):
        ResNetClassifier(**{argument: value})


def test_mean_of_class_map_plus_bias_is_the_logit(net: ResNetClassifier) -> None:
    with torch.inference_mode():
        images = torch.randn(2, 1, 70, 64)
        maps = torch.einsum("bfhw,kf->bkhw", net.features(images), net.class_weight)
        torch.testing.assert_close(net(images), maps.mean(dim=(2, 3)) + net.fc.bias)


def test_batch_equals_single(net: ResNetClassifier) -> None:
    images = torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(net(images), torch.cat([net(image[None]) for image in images]))


def test_script_and_autocast(net: ResNetClassifier) -> None:
    images = torch.randn(1, 1, 64, 64)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(net), buffer)
    buffer.seek(0)
    with torch.no_grad():
        expected = net(images)
        torch.testing.assert_close(torch.jit.load(buffer)(images), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(images)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("depth", [18, 50])
def test_levels_are_the_stages(depth: int) -> None:
    net = ResNetClassifier(depth=depth, output_stride=8, width=0.25).eval()
    stages: list[torch.Tensor] = []
    for name in ("maxpool", "layer1", "layer2", "layer3", "layer4"):
        net.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: stages.append(output.clone()))
    with torch.no_grad():
        levels = net.levels(torch.randn(1, 1, 64, 48))
    assert [level.shape[1] for level in levels] == list(net.level_channels)
    assert [64 // level.shape[2] for level in levels] == [4, 4, 8, 8, 8]
    for level, stage in zip(levels, stages, strict=True):  # as they were: no later layer writes into them
        assert torch.equal(level, stage)


def test_head_convolutions_and_drop_block_can_be_scripted() -> None:
    net = ResNetClassifier(depth=18, head=ClassifierHead(2, 8, drop_prob=0.5, drop_size=2), width=0.125)
    scripted = torch.jit.script(net)
    images = torch.randn(2, 1, 64, 64)
    outputs = []
    for each in (net, scripted):
        torch.manual_seed(3)
        outputs.append(each(images))
    torch.testing.assert_close(outputs[0], outputs[1])
    assert not torch.equal(scripted(images), outputs[1])  # other blocks
    torch.testing.assert_close(scripted.eval()(images), net.eval()(images))


def test_every_weight_gets_a_gradient() -> None:
    net = ResNetClassifier(depth=18, output_stride=8)
    net(torch.randn(2, 1, 32, 32)).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
