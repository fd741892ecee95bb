import pytest
import torch

from monai_wsss.engines import to_device
from monai_wsss.networks import segmenter

SMALL = {"in_channels": 1, "out_channels": 2, "channels": (4, 8, 8, 8), "up_kernel": 2, "pool_kernel": 2}


@pytest.mark.parametrize("name", ["mixed_unet", "unet"])
def test_the_layout_changes_no_number(name):
    torch.manual_seed(0)
    network = segmenter(name, 2, **SMALL).eval()
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        before = network(images)
        moved = to_device(network, torch.device("cpu"))
        kernels = [weight for weight in moved.parameters() if weight.dim() == 4]
        assert kernels and all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
        torch.testing.assert_close(moved(images), before, rtol=1e-4, atol=1e-5)


def test_kernels_of_3d_networks_stay_as_they_are():
    network = to_device(segmenter("unet", 3, **SMALL), torch.device("cpu"))
    assert all(weight.is_contiguous() for weight in network.parameters())


def test_weights_go_from_one_layout_to_the_other():
    torch.manual_seed(0)
    source, target = to_device(segmenter("unet", 2, **SMALL), torch.device("cpu")), segmenter("unet", 2, **SMALL)
    target.load_state_dict(source.state_dict())
    images = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(target.eval()(images), source.eval()(images), rtol=1e-4, atol=1e-5)
