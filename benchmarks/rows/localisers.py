"""The networks of a bundle whose own maps are the masks: a localiser for each of its stages."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.rows.run_parts import part_of, preprocessing_of, stage_of
from benchmarks.rows.steps import Masks
from monai_wsss.data import Case, PreparedDataset, write_array
from monai_wsss.data.presence import is_present
from monai_wsss.engines import label_map, load_weights
from monai_wsss.workflow.bundle_config import known_defaults
from monai_wsss.workflow.cached_stage import open_cache
from monai_wsss.workflow.start import select_device


@dataclass(frozen=True)
class Localiser:
    """A stage's localiser: name of its row, folder of the run with its weights, and `trained_stage`, None: final."""

    row: str
    folder: str
    trained_stage: int | None


LOCALISERS: Mapping[str, Localiser] = {
    "baseline": Localiser("localiser, baseline", "baseline", 0),
    "deconv1": Localiser("deconv 1", "deconv1", 1),
    "deconv2": Localiser("deconv 2", "deconv2", 2),
    "train": Localiser("segmenter", "segmenter", None),
}
"""By the stage that trains it."""


def is_localiser(bundle: Path) -> bool:
    """Whether the bundle's localiser makes the masks, so that there are no seeds and no pseudo masks."""
    return "deconv_stages" in known_defaults(bundle / "configs")


def trained_localisers(done: Collection[str]) -> list[Localiser]:
    """Those that the stages `done` train, in order."""
    return [localiser for stage, localiser in LOCALISERS.items() if stage in done]


def localiser_of(run: Path, localiser: Localiser) -> nn.Module:
    """A localiser of the run, in evaluation mode."""
    return load_weights(_network(run, localiser), run / localiser.folder / "model.pt").eval()


def random_localiser(run: Path, data: Path, random_seed: int = 0, device: str = "auto") -> nn.Module:
    """The final localiser that nobody trained, with thresholds by the run's own rule."""
    torch.manual_seed(random_seed)
    fresh = _network(run, LOCALISERS["train"])
    stage = stage_of(run, data, "train.yaml", device)  # it has begun with weights of the run
    stage.network.load_state_dict(fresh.state_dict())
    stage.network.to(stage.device).eval()
    stage.network.threshold.copy_(torch.tensor(stage.thresholds()))
    return stage.network


def localiser_masks(run: Path, network: nn.Module, data: Path, device: str = "auto") -> Masks:
    """Masks of another localiser in the slices where the run's own sees something: only the maps differ."""
    return _masks(run, network, data, device, gated=True)


def write_prior_masks(run: Path, localiser: Localiser, data: Path, folder: Path, device: str = "auto") -> Path:
    """Masks of the training cases by a localiser, of the classes that a slice's labels name; returns `folder`."""
    masks = _masks(run, localiser_of(run, localiser), data, device, gated=False)
    for case in PreparedDataset.read(data).cases("training"):
        found = masks(case).numpy()
        rows = [case.classes] * len(found) if case.slice_classes is None else case.slice_classes
        for k, present in enumerate(is_present(rows).T):
            found[(found == k + 1) & ~present[:, None, None]] = 0
        write_array(folder / f"{case.case}.npy", found)
    return folder


def _network(run: Path, localiser: Localiser) -> nn.Module:
    return part_of(run, "inference.yaml", "network_def", trained_stage=localiser.trained_stage)


def _masks(run: Path, network: nn.Module, data: Path, device: str, gated: bool) -> Masks:
    place, preprocess = select_device(device), preprocessing_of(run)
    inferer = part_of(run, "inference.yaml", "inferer", output_dir=str(run), device=device)
    if not gated:
        inferer.classifier = None
    network = network.to(place).eval()

    @torch.no_grad()
    def masks(case: Case) -> Tensor:
        volume = torch.from_numpy(np.load(open_cache(data, [case], preprocess) / f"{case.case}.npy"))
        return label_map(inferer(volume.movedim(0, -1)[None].to(place), network))[0].movedim(-1, 0).cpu()

    return masks
