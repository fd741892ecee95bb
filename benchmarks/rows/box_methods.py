"""What a bundle's table of boxes compares: the rows of a classifier's class maps, or of a localiser's stages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.rows.film_maps import film_maps, localiser_maps, probabilities
from benchmarks.rows.localisers import LOCALISERS, Localiser, localiser_of, random_localiser, trained_localisers
from benchmarks.rows.run_parts import classifier_of, config_of
from benchmarks.rows.steps import first_masks
from monai_wsss.data import Case

METHODS = {
    "cam": "CAM",
    "grad_cam": "Grad-CAM",
    "grad_cam_pp": "Grad-CAM++",
    "grad_cam_pp_code": "Grad-CAM++, published code",
    "layer_cam": "LayerCAM",
}
CLASSIFIER = "classifier"
_COMPARED = ("cam", "grad_cam", "grad_cam_pp", "layer_cam")
_LAST = "last"  # the features before pooling
_PLAIN = "class maps"  # of a bundle that knows one method

Maps = dict[str, Tensor]


@dataclass(frozen=True)
class BoxMethods:
    """The rows, each a function of a fold's run.

    Attributes:
        maps: row -> maps of films, (run, cases).
        own: the bundle's own row.
        random: maps of the own row's network that nobody trained, (run, data, cases, seed).
        chances: predictor of the label -> probability of each film, (run, data, cases); the own row's network is last.
        threshold: share of a map's maximum from which its box is made.
        definitions: words that differ from those of class maps.
    """

    maps: Mapping[str, Callable[[Path, Sequence[Case]], Maps]]
    own: str
    random: Callable[[Path, Path, Sequence[Case], int], Maps]
    chances: Mapping[str, Callable[[Path, Path, Sequence[Case]], dict[str, float]]]
    threshold: float
    definitions: Mapping[str, str]


def classifier_methods(run: Path, device: str = "auto") -> BoxMethods:
    """Of a bundle whose classifier has class maps: the bundle's own method and those that it is compared with."""
    settings, own = class_map_methods(config_of(run, "seed.yaml"))
    stage, threshold_id = first_masks(run)

    def maps(values: Mapping[str, str], run: Path, cases: Sequence[Case]) -> Maps:
        return film_maps(run, classifier_of(run, "seed.yaml"), cases, values, device)

    def random(run: Path, data: Path, cases: Sequence[Case], seed: int) -> Maps:
        return film_maps(run, classifier_of(run, "seed.yaml", seed), cases, settings[own], device)

    return BoxMethods(
        {row: partial(maps, values) for row, values in settings.items()},
        own,
        random,
        {CLASSIFIER: lambda run, data, cases: probabilities(run, data, cases, device)},
        # the share from which the bundle's own pseudo masks say lesion
        float(config_of(run, f"{stage}.yaml")[threshold_id]),
        {},
    )


def localiser_methods(done: Sequence[str], device: str = "auto") -> BoxMethods:
    """Of a bundle whose localisers make the masks: one row a stage of `done`, the final one being its own."""
    trained = trained_localisers(done)

    def maps(localiser: Localiser, run: Path, cases: Sequence[Case]) -> Maps:
        return localiser_maps(run, localiser_of(run, localiser), cases, device)

    def random(run: Path, data: Path, cases: Sequence[Case], seed: int) -> Maps:
        return localiser_maps(run, random_localiser(run, data, seed, device), cases, device)

    def chances(localiser: Localiser | None, run: Path, data: Path, cases: Sequence[Case]) -> dict[str, float]:
        network = None if localiser is None else localiser_of(run, localiser)
        return probabilities(run, data, cases, device, network)

    classifier = {CLASSIFIER: partial(chances, None)} if "classify" in done else {}
    return BoxMethods(
        {one.row: partial(maps, one) for one in trained},
        LOCALISERS["train"].row,
        random,
        classifier | {one.row: partial(chances, one) for one in trained},
        0.0,  # the maps are relative to it
        {
            "box_iou": "IoU of the box of the map's largest component above its stage's threshold with the box that it "
            "fits best, mean over boxed films; 0 where there is none",
            "methods": "localisers with 0 to 3 deconvolutions, each with the threshold that its stage set on negative "
            "validation films",
            "random": "the final network as it is built, without training; its threshold is set as the others'",
        },
    )


def class_map_methods(config: Mapping[str, Any]) -> tuple[dict[str, dict[str, str]], str]:
    """Rows of the methods that are compared, with the ids of `seed.yaml` that make them, and the bundle's own row.

    CAM knows the last features alone; the others are taken there too, and at the bundle's own layer if that is another.
    """
    own = config.get("cam_method")
    if own is None:
        return {_PLAIN: {}}, _PLAIN
    layer, rows, best = config["cam_target"], {}, ""
    for target in dict.fromkeys((_LAST, layer)):
        for method in dict.fromkeys((*_COMPARED, own)):
            if method == "cam" and target != _LAST:
                continue
            name = METHODS.get(method, method) + ("" if target == _LAST else f", {target}")
            rows[name] = {"cam_method": method, "cam_target": target}
            if (method, target) == (own, _LAST if method == "cam" else layer):
                best = name
    return rows, best
