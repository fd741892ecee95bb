"""Probabilities and maps of films by the networks of a fold."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.rows.geometry import map_to_source
from benchmarks.rows.run_parts import classifier_of, part_of, preprocessing_of
from monai_wsss.data import Case
from monai_wsss.networks import ImageScores
from monai_wsss.ops import normalize_class_maps
from monai_wsss.workflow.cached_stage import open_cache
from monai_wsss.workflow.start import select_device

_BATCH = 16


@torch.no_grad()
def probabilities(
    run: Path, data: Path, cases: Sequence[Case], device: str = "auto", localiser: Any = None
) -> dict[str, float]:
    """The run's classifier, or a localiser, on films as it was trained: case -> probability of the first class."""
    place = select_device(device)
    network: nn.Module = classifier_of(run, "classify.yaml") if localiser is None else ImageScores(localiser)
    network = network.to(place).eval()
    preprocess = preprocessing_of(run)
    cache = open_cache(data, cases, preprocess)
    found: dict[str, float] = {}
    for start in range(0, len(cases), _BATCH):
        batch = cases[start : start + _BATCH]
        films = torch.from_numpy(np.concatenate([np.load(cache / f"{case.case}.npy") for case in batch]))
        chances = network(films.to(place)).float().sigmoid()[:, 0].tolist()
        found |= dict(zip((case.case for case in batch), chances, strict=True))
    return found


def film_maps(
    run: Path,
    network: nn.Module,
    cases: Sequence[Case],
    settings: Mapping[str, str] | None = None,
    device: str = "auto",
) -> dict[str, Tensor]:
    """Class maps of the first class in [0, 1], `(columns, rows)` of the film itself; no label gates them.

    Args:
        run: whose preprocessing and inferer (`seed.yaml`) count.
        network: a classifier, see `classifier_of`.
        cases: films.
        settings: ids of `seed.yaml` set over the run's, such as `cam_method` and `cam_target`.
        device: device id.
    """
    place = select_device(device)
    network = network.to(place)
    inferer = part_of(run, "seed.yaml", "inferer", **(settings or {}))
    return _in_films(run, cases, place, lambda film: normalize_class_maps(inferer(film, network).float()))


@torch.no_grad()
def localiser_maps(run: Path, network: nn.Module, cases: Sequence[Case], device: str = "auto") -> dict[str, Tensor]:
    """Maps of a localiser's first class minus its threshold, `(columns, rows)` of the film itself; nothing gates them.

    Args:
        run: whose preprocessing counts.
        network: a localiser, see `localiser_of`.
        cases: films.
        device: device id.
    """
    place = select_device(device)
    localiser: Any = network.to(place).eval()

    def maps(film: Tensor) -> Tensor:
        above = localiser.lesion_maps(film).float() - localiser.threshold[:, None, None]
        return F.interpolate(above, film.shape[2:], mode="bilinear", align_corners=False)

    return _in_films(run, cases, place, maps)


def _in_films(
    run: Path, cases: Sequence[Case], place: torch.device, maps: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """First of the `maps` (1, K, H, W) of each film (1, C, H, W) on the grid, brought to the film's own pixels."""
    preprocess, found = preprocessing_of(run), {}
    for case in cases:
        image = preprocess({"image": str(case.image)})["image"]  # (C, H, W, 1)
        film = image.as_tensor()[..., 0][None].to(place)
        found[case.case] = map_to_source(maps(film)[:, 0].cpu(), image, preprocess)[..., 0]
    return found
