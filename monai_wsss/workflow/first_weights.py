"""Weights from which the training of the final segmenter starts."""

from pathlib import Path

from torch import nn

from monai_wsss.engines import load_weights
from monai_wsss.networks import with_backbone


def first_weights(
    network: nn.Module, output_dir: str, supervision: str = "static", backbone_weights: str | None = None
) -> nn.Module:
    """The network, changed in place, with the weights it starts from.

    Args:
        network: segmenter.
        output_dir: run folder.
        supervision: with `dsrg` all weights are those of `dsrg/model.pt`, where that file is there. MONAI's checks
            build the network before anything is trained, and the stage refuses a missing one when it runs.
        backbone_weights: else the encoder's weights come from this file; None starts from random ones.
    """
    path = Path(output_dir) / "dsrg" / "model.pt"
    if supervision == "dsrg" and path.exists():
        return load_weights(network, path)
    return with_backbone(network, backbone_weights if supervision == "static" else None)
