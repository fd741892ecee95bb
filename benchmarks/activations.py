"""How the strongest activations fall off after a pooling, and after the deconvolution of the same size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.rows.localisers import LOCALISERS, localiser_of
from benchmarks.rows.run_parts import config_of, preprocessing_of
from benchmarks.scores.measured import how_measured
from monai_wsss.data import PreparedDataset, slice_items
from monai_wsss.data.presence import is_present
from monai_wsss.errors import InputError
from monai_wsss.transforms import LoadSliced
from monai_wsss.workflow.cached_stage import open_cache
from monai_wsss.workflow.manifest import Manifest
from monai_wsss.workflow.start import select_device

POOL, DECONV = "pool 3", "deconv 2"
_POINTS = 50  # of a curve
DEFINITION = (
    "activations of all channels and positions after the third pooling and after the second deconvolution, which have "
    "the same size; of each image the `top` largest in descending order, divided by its largest, mean over images; "
    "an image without a positive activation is left out of a curve; `last` is the curve's last value, 1 - last the "
    "difference between the largest and the smallest of them"
)


def activation_curves(data: Path, runs: Mapping[str, Path], top: int = 10_000, device: str = "auto") -> dict[str, Any]:
    """The curves of finished runs on the positive test images; a run's label stands behind its curves' names.

    Args:
        data: prepared folder.
        runs: run folders by label, "" for the first; each has two deconvolutions at least.
        top: activations of an image; fewer if it has fewer.
        device: device id.

    Returns:
        `{definition, top, images, runs: {label: settings}, ranks, curves: {name: {values, last, activations}}}`.

    Raises:
        InputError: a run without its final localiser or without a second deconvolution, or no positive test image.

    Source: Kim and Hwang, 2016, Fig. 2, whose text names neither the images nor how many.
    """
    place, curves, images = select_device(device), {}, 0
    for label, run in runs.items():
        network = _network(run).to(place)
        items = _positive_images(data, run)
        images = len(items)
        for name, curve in _curves(network, items, top, place).items():
            curves[f"{name} ({label})" if label else name] = curve
    size = min(top, *(curve["activations"] for curve in curves.values()))
    ranks = [round(rank) for rank in np.linspace(0, size, _POINTS, endpoint=False)]
    for curve in curves.values():
        mean = curve.pop("mean")
        curve |= {"last": float(mean[size - 1]), "values": [float(mean[rank]) for rank in ranks]}
    return {
        "kind": "activations",
        "definition": DEFINITION,
        "top": size,
        "images": images,
        "runs": {label: how_measured(run, ["train"]) for label, run in runs.items()},
        "ranks": ranks,
        "curves": curves,
    }


def _network(run: Path) -> nn.Module:
    final = LOCALISERS["train"]
    if Manifest(run).stage("train").get("status") != "done" or not (run / final.folder / "model.pt").is_file():
        raise InputError(f"{run}: its stage train has not ended; finish the run first")
    if config_of(run, "train.yaml").get("deconv_stages", 0) < 2:
        raise InputError(f"{run}: has no second deconvolution; run a bundle with deconv_stages 2 or 3")
    return localiser_of(run, final)


def _positive_images(data: Path, run: Path) -> list[dict[str, Any]]:
    dataset, preprocess = PreparedDataset.read(data), preprocessing_of(run)
    cases = dataset.cases("test")
    items = slice_items(cases, open_cache(data, cases, preprocess), len(dataset.labels))
    positive = [item for item in items if is_present(item["classes"]).any()]
    if not positive:
        raise InputError(f"{data / 'dataset.json'}: no positive image in the test split; change the split")
    return positive


@torch.no_grad()
def _curves(network: Any, items: list[dict[str, Any]], top: int, place: torch.device) -> dict[str, dict[str, Any]]:
    """Of both layers the mean curve, the images in it, and how many activations an image has."""
    made: dict[str, list[Tensor]] = {POOL: [], DECONV: []}
    hooks = [
        network.encoder.pool.register_forward_hook(lambda module, given, out: made[POOL].append(out[0])),
        network.deconvs[1].register_forward_hook(lambda module, given, out: made[DECONV].append(out)),
    ]
    curves: dict[str, list[Tensor]] = {POOL: [], DECONV: []}
    numbers = {}
    load: Any = LoadSliced(keys=["image"])
    for item in items:
        network.maps(load(item)["image"][None].to(place))
        for name, features in ((POOL, made[POOL][2]), (DECONV, made[DECONV][0])):
            numbers[name] = features.numel()
            strongest = features.float().flatten().topk(min(top, features.numel())).values
            if strongest[0] > 0:
                curves[name].append((strongest / strongest[0]).cpu())
            made[name].clear()
    for hook in hooks:
        hook.remove()
    nothing = torch.zeros(1, min(top, *numbers.values()))
    return {
        name: {
            "mean": torch.stack(found or list(nothing)).mean(0),
            "images": len(found),
            "activations": numbers[name],
        }
        for name, found in curves.items()
    }
