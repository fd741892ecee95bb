"""Networks of boundaries by name."""

from torch import nn

from monai_wsss.networks.nets.benet import BENet, BoundaryNetwork
from monai_wsss.networks.nets.irnet import IRNet

_NETWORKS: dict[str, type[BoundaryNetwork]] = {"irnet": IRNet, "bes": BENet}


def boundary_network(name: str, backbone: nn.Module, boundary_channels: int = 32) -> BoundaryNetwork:
    """IRNet or BENet on a classifier.

    Args:
        name: `irnet` or `bes`; with `none` and `crf`, which need no boundary, BENet, so that a config can be built.
        backbone: see the network.
        boundary_channels: channels of each level in the boundary branch, a multiple of 4.

    Raises:
        ValueError: another name.
    """
    if name not in (*_NETWORKS, "none", "crf"):
        raise ValueError(f"refine must be one of none, crf, irnet, bes, got {name}.")
    return _NETWORKS.get(name, BENet)(backbone, boundary_channels)
