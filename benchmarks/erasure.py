"""How much of the classifiers' evidence a class map holds, without any mask: erase its strongest part, look again.

Of two maps the better one takes the finding away in a smaller area. That is judged from images and labels alone, so
that settings of the maps may be chosen by it under protocol W0.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from benchmarks.rows.run_parts import classifier_of, preprocessing_of
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.data.presence import is_present
from monai_wsss.errors import InputError
from monai_wsss.metrics import bootstrap_mean, paired_difference
from monai_wsss.ops import body_mask
from monai_wsss.workflow.cached_stage import open_cache
from monai_wsss.workflow.start import select_device

AREAS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
_EDGE = 1.0  # pixels; a hard edge would be seen by itself


def erasure_table(
    data: Path,
    runs: Mapping[str, Path],
    split: str = "validation",
    areas: Sequence[float] = AREAS,
    every: int = 1,
    device: str = "auto",
) -> dict[str, Any]:
    """Mean probability of the finding after the strongest `areas` of each run's class maps are erased.

    ``score = mean over areas a, classifiers c and slices x of c(x with the top a of the map erased)``; lower is better.
    Erased pixels take the median of the slice's body. Every run's maps are judged by the classifiers of all runs.

    Args:
        data: prepared folder, one class.
        runs: run folders by name, with classifier/ and seeds/; the first is what the others are compared with.
        split: `validation` or `training`; the slices that labels call positive.
        areas: shares of the body's pixels, in (0, 1).
        every: each so many slices, to save time.
        device: device id.

    Returns:
        `{kind, split, slices, areas, before, base, rows: {name: {curve, score, difference}}}`, intervals over patients.

    Raises:
        InputError: several classes, runs on different grids, or no positive slice.

    Source: the deletion metric of Petsiuk et al., RISE, 2018, judged by a panel of classifiers.
    """
    dataset, place = PreparedDataset.read(data), select_device(device)
    if len(dataset.labels) > 1:
        raise InputError(f"{data}: {len(dataset.labels)} classes; erasure compares the maps of one")
    caches = {open_cache(data, dataset.cases(), preprocessing_of(run)) for run in runs.values()}
    if len(caches) > 1:
        raise InputError("erasure: the runs have grids of different sizes; give runs of one pixel_spacing and size")
    cache = caches.pop()
    panel = [classifier_of(run, "seed.yaml").to(place) for run in runs.values()]
    found: dict[str, list[np.ndarray]] = {name: [] for name in runs}
    patients: list[str] = []
    for case in dataset.cases(split):
        volume = np.load(cache / f"{case.case}.npy")
        chosen = _positive_slices(case, len(volume))[::every]
        body = _body(volume[:, 0])
        chosen = [index for index in chosen if body[index].any()]
        patients += [case.patient] * len(chosen)
        for name, run in runs.items():
            maps = np.load(run / "seeds" / f"{case.case}.npy")[:, 0].astype(np.float32)
            for index in chosen:
                erased = erase(volume[index], np.where(body[index], maps[index], -1.0), body[index], (0.0, *areas))
                found[name].append(_probabilities(panel, torch.from_numpy(erased).float().to(place)))
    if not patients:
        raise InputError(f"{data}: no slice of {split} is labelled positive")
    curves = {name: np.stack(rows) for name, rows in found.items()}  # (slices, areas), of the whole panel
    scores = {name: torch.from_numpy(curve[:, 1:].mean(1)) for name, curve in curves.items()}
    base = next(iter(runs))
    rows = {
        name: {
            "curve": [round(float(value), 4) for value in curves[name][:, 1:].mean(0)],
            "score": bootstrap_mean(scores[name], patients),
            "difference": paired_difference(scores[base], scores[name], patients),
        }
        for name in runs
    }
    return {
        "kind": "erasure",
        "split": split,
        "slices": len(patients),
        "patients": len(set(patients)),
        "areas": list(areas),
        "before": float(curves[base][:, 0].mean()),
        "classifiers": len(panel),
        "base": base,
        "rows": rows,
    }


def erase(image: np.ndarray, strength: np.ndarray, body: np.ndarray, areas: Sequence[float]) -> np.ndarray:
    """The image (C, H, W) once an area, with the strongest pixels of the body replaced by its median: (A, C, H, W).

    Args:
        image: any scale.
        strength: (H, W); ties fall in the order of the pixels.
        body: bool (H, W), not empty.
        areas: shares of the body's pixels, in [0, 1].
    """
    order = np.argsort(-strength, axis=None, kind="stable")
    median = np.median(image[:, body], axis=1)[:, None, None]
    erased = []
    for area in areas:
        mask = np.zeros(strength.size, np.float32)
        mask[order[: round(area * int(body.sum()))]] = 1
        soft = ndimage.gaussian_filter(mask.reshape(strength.shape), _EDGE)  # grows no map, so that areas compare
        erased.append(image * (1 - soft) + median * soft)
    return np.stack(erased)


def _positive_slices(case: Case, depth: int) -> list[int]:
    rows = case.slice_classes if case.slice_classes is not None else [case.classes] * depth
    return [int(index) for index in np.flatnonzero(is_present(rows)[:, 0])]


def _body(volume: np.ndarray) -> np.ndarray:
    image = torch.from_numpy(volume).float().movedim(0, -1)[None, None]
    return body_mask(image)[0, 0].movedim(-1, 0).numpy()


@torch.no_grad()
def _probabilities(panel: Sequence[nn.Module], images: Tensor) -> np.ndarray:
    return torch.stack([torch.sigmoid(network(images)[:, 0]) for network in panel]).mean(0).cpu().numpy()
