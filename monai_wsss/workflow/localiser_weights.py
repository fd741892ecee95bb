"""Weights from which the training of a localiser starts: layer by layer, or end to end."""

import logging
from pathlib import Path
from pickle import UnpicklingError  # what torch raises; nothing is unpickled here
from typing import Protocol

import torch
from torch import Tensor, nn

from monai_wsss.errors import InputError
from monai_wsss.networks import load_backbone

logger = logging.getLogger(__name__)

CLASSIFIER, FINAL = "classifier", "segmenter"
STAGES = ("baseline", "deconv1", "deconv2")  # of a localiser that is not the final one, by its deconvolutions
TRAININGS = ("layer_by_layer", "end_to_end")


class Localiser(Protocol):
    """What a localiser such as `TiedDeconvNet` offers beside `forward`."""

    encoder: nn.Module
    threshold: Tensor  # (K,), of `lesion_maps`

    def maps(self, x: Tensor) -> Tensor:
        """Raw class maps `(B, L, *S')`."""

    def lesion_maps(self, x: Tensor) -> Tensor:
        """Maps `(B, K, *S')` that the threshold is one of."""

    def image_logits(self, maps: Tensor) -> Tensor:
        """Image-level logits `(B, K)` of raw class maps."""

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Take what an earlier stage's weights hold."""

    def train_only(self, trains: str) -> None:
        """Freeze layers of the encoder, or none."""


def localiser_folders(
    trained_stage: int | None, deconv_stages: int, training: str = "layer_by_layer"
) -> tuple[str, str | None]:
    """Folder of the run that a stage writes, and the one it starts from (None: from no earlier stage).

    Args:
        trained_stage: deconvolutions of the localiser that is trained now; None is `deconv_stages`.
        deconv_stages: of the final localiser, 0 to 3, which is written to `segmenter`.
        training: `layer_by_layer`: classifier, baseline, deconv1, deconv2, segmenter; `end_to_end`: segmenter alone.

    Raises:
        ValueError: another value, or an intermediate stage of end-to-end training.
    """
    if training not in TRAININGS:
        raise ValueError(f"deconv_training must be one of {', '.join(TRAININGS)}, got {training}")
    if not 0 <= deconv_stages <= len(STAGES):
        raise ValueError(f"deconv_stages must lie in 0..{len(STAGES)}, got {deconv_stages}")
    trained = deconv_stages if trained_stage is None else trained_stage
    if not 0 <= trained <= deconv_stages:
        raise ValueError(f"trained_stage must lie in 0..{deconv_stages}, got {trained}")
    written = FINAL if trained == deconv_stages else STAGES[trained]
    if training == "end_to_end":
        if written != FINAL:
            raise ValueError(f"trained_stage must be deconv_stages where deconv_training is end_to_end, got {trained}")
        return written, None
    return written, STAGES[trained - 1] if trained else CLASSIFIER


def localiser_start(
    network: nn.Module,
    output_dir: str,
    trained_stage: int | None = None,
    deconv_stages: int = 3,
    training: str = "layer_by_layer",
    trains: str = "all",
    backbone_weights: str | None = None,
) -> nn.Module:
    """The localiser, changed in place, with the weights it starts from and the layers frozen that do not learn.

    Args:
        network: localiser with `trained_stage` deconvolutions, see `Localiser`.
        output_dir: run folder.
        trained_stage: see `localiser_folders`.
        deconv_stages: likewise.
        training: likewise. Layer by layer the weights are those of the earlier stage's `model.pt`, where that file is
            there: MONAI's checks build the network before anything is trained, and the stage refuses a missing one
            when it runs.
        trains: `all`, or `tied`: layers of the encoder that no deconvolution is tied to are frozen.
        backbone_weights: end to end: file that the encoder's weights come from; None starts from random ones.

    Raises:
        ValueError: a stage or training that is not there.
        InputError: a weights file that is broken, or of another network.
    """
    _, earlier = localiser_folders(trained_stage, deconv_stages, training)
    localiser: Localiser = network  # type: ignore[assignment]  # a Module's attributes are unknown to mypy
    if earlier is None:
        if backbone_weights:
            load_backbone(localiser.encoder, backbone_weights)
        elif trains == "tied":
            logger.warning("deconv_trains tied freezes convolutions that hold random weights: give backbone_weights")
    elif (path := Path(output_dir) / earlier / "model.pt").exists():
        try:
            localiser.start_from(torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, UnpicklingError, EOFError) as error:
            raise InputError(f"{path}: broken; train {earlier} again") from error
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
    localiser.train_only(trains)
    return network
