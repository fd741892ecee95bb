"""The steps of a method whose masks a table of accuracy shows, by bundle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.run_parts import classifier_of, stage_of
from monai_wsss.data import Case

Masks = Callable[[Case], Tensor]
"""Label map of a case on the network's grid, uint8 (D, H, W)."""

THRESHOLDED, CRF, IRNET = "class maps, thresholded", "class maps + CRF", "+ IRNet"
_IGNORE = 255


@dataclass(frozen=True)
class Layout:
    """What a bundle's run holds.

    Attributes:
        steps: row -> the last stage that must have run.
        learnt: folders of the run that the stage `train` reads; the ceiling's true masks stand there.
        prior: folder of the training cases' masks from image-level labels.
        prior_stage: the stage that writes it.
    """

    steps: dict[str, str]
    learnt: tuple[str, ...]
    prior: str
    prior_stage: str = "refine"


_REFINED = Layout(
    {THRESHOLDED: "refine", CRF: "refine"}, ("pseudo_masks/refined", "pseudo_masks/crf"), "pseudo_masks/crf"
)
_WALKED = Layout({THRESHOLDED: "seed", CRF: "seed", IRNET: "walk"}, ("pseudo_masks/walk",), "confident_masks")


def layout_of(stages: Sequence[str]) -> Layout:
    """The layout of a bundle whose pipeline has these stages: with a random walk, or with two refined masks."""
    return _WALKED if "walk" in stages else _REFINED


def step_masks(layout: Layout, run: Path, data: Path, rows: Sequence[str], device: str = "auto") -> dict[str, Masks]:
    """What makes the masks of each row of `layout.steps`.

    Where a bundle keeps the masks of training cases alone, those of test cases are made here by its own stage, from the
    class maps that the classifier's probability gates; pixels that it would ignore count as background.
    """
    if layout is _REFINED:
        folders = {THRESHOLDED: "pseudo_masks/refined", CRF: "pseudo_masks/crf"}
        return {row: _reader(run / folders[row]) for row in rows}
    refine = stage_of(run, data, "refine.yaml", device)

    def thresholded(case: Case) -> Tensor:
        maps = torch.from_numpy(np.load(run / "seeds" / f"{case.case}.npy")).float()
        return refine.thresholded(maps, refine.foreground_threshold, refine.volume(case))[:, 0]

    def confident(case: Case) -> Tensor:
        masks = refine.case_masks(case)[0][:, 0]
        return masks * (masks != _IGNORE)

    known = {THRESHOLDED: thresholded, CRF: confident, IRNET: _reader(run / "pseudo_masks" / "walk")}
    return {row: known[row] for row in rows}


def other_classifier_masks(
    run: Path, data: Path, trained: Path | None, random_seed: int = 0, device: str = "auto"
) -> Masks:
    """Thresholded class maps of another classifier in the slices where the run's own has some.

    The gate is the method's, so that only the maps differ.

    Args:
        run: the method's run.
        data: prepared folder.
        trained: run whose classifier makes the maps; None takes a network that nobody trained.
        random_seed: of its weights.
        device: device id.
    """
    seed, refine = (stage_of(run, data, f"{name}.yaml", device) for name in ("seed", "refine"))
    network = classifier_of(trained or run, "seed.yaml", None if trained else random_seed)
    seed.network = network.to(seed.device)
    threshold = refine.foreground_threshold if hasattr(refine, "foreground_threshold") else refine.threshold

    def masks(case: Case) -> Tensor:
        present = torch.from_numpy(np.load(run / "seeds" / f"{case.case}.npy")).flatten(2).any(-1)
        return refine.thresholded(seed.maps(case, present), threshold, refine.volume(case))[:, 0]

    return masks


def _reader(folder: Path) -> Masks:
    return lambda case: torch.from_numpy(np.load(folder / f"{case.case}.npy"))
