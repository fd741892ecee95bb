import io
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from monai_wsss.networks.nets.unet import UNet

SMALL = (4, 6, 8)


def small(dims: int = 2, **arguments: object) -> UNet:
    torch.manual_seed(0)
    return UNet(dims, channels=SMALL, **arguments).eval()


def test_parameters_by_hand() -> None:
    # conv a -> b with bias and norm: 9ab + 3b; transposed 2x2 a -> b: 4ab + b
    channels = (3, 64, 128, 256, 512, 1024)
    down = sum(9 * a * b + 3 * b + 9 * b * b + 3 * b for a, b in pairwise(channels))
    up = sum(4 * 2 * b * b + b + 9 * 2 * b * b + 3 * b + 9 * b * b + 3 * b for b in (512, 256, 128, 64))
    assert down + up + 64 + 1 == 31_043_521
    with torch.device("meta"):
        net = UNet(in_channels=3, out_channels=1)
    assert sum(p.numel() for p in net.parameters()) == 31_043_521


def test_equals_its_formula() -> None:
    net, image = small(out_channels=3), torch.randn(2, 1, 11, 14)
    weights = net.state_dict()

    def convs(x: torch.Tensor, name: str) -> torch.Tensor:
        for i in range(2):
            part = f"{name}.conv_{i}"
            x = F.conv2d(x, weights[f"{part}.conv.weight"], weights[f"{part}.conv.bias"], padding=1)
            norm = [weights[f"{part}.adn.N.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
            x = F.batch_norm(x, *norm).relu()
        return x

    def up(x: torch.Tensor, skip: torch.Tensor, name: str) -> torch.Tensor:
        x = F.conv_transpose2d(x, weights[f"{name}.up.weight"], weights[f"{name}.up.bias"], stride=2)
        return convs(torch.cat([skip, x[:, :, : skip.shape[2], : skip.shape[3]]], dim=1), f"{name}.convs")

    with torch.no_grad():
        fine = convs(image, "encoder.levels.0")
        middle = convs(F.max_pool2d(fine, 2, ceil_mode=True), "encoder.levels.1")
        coarse = convs(F.max_pool2d(middle, 2, ceil_mode=True), "encoder.levels.2")
        x = up(up(coarse, middle, "decoder.ups.0"), fine, "decoder.ups.1")
        torch.testing.assert_close(net(image), F.conv2d(x, weights["head.weight"], weights["head.bias"]))


@pytest.mark.parametrize("dims", [2, 3])
def test_script_gives_the_same_for_other_sizes(dims: int) -> None:
    net = small(dims)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(net), buffer)
    buffer.seek(0)
    loaded = torch.jit.load(buffer)
    with torch.no_grad():
        for size in ((8, 8, 8), (11, 9, 6)):
            images = torch.randn(2, 1, *size[:dims])
            torch.testing.assert_close(loaded(images), net(images))
            torch.testing.assert_close(net(images), torch.cat([net(image[None]) for image in images]))
