"""Class maps in both modes, through a distributed wrapper too."""

import pytest
import torch
from torch import nn

from monai_wsss.inferers.class_map_inferer import ClassMapInferer


class Doubling(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def maps(self, x):
        return self.factor * x

    def forward(self, x):
        return self.maps(x) if self.training else self.maps(x) - 100


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (2, 1, 2, 3, 2)])
def test_raw_maps_whatever_the_mode(training, shape):
    image = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    assert torch.equal(ClassMapInferer()(image, Doubling().train(training)), 2 * image)


def test_a_distributed_network_is_unwrapped():
    network = nn.parallel.DistributedDataParallel.__new__(nn.parallel.DistributedDataParallel)
    nn.Module.__init__(network)  # without a process group, which takes seconds
    network.module = Doubling()
    assert ClassMapInferer()(torch.ones(1, 1, 2, 2), network.eval()).unique().item() == 2
