"""The steps of a method whose masks a table of accuracy shows, by what the run did."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.rows.run_parts import choice_of, classifier_of, config_of, stage_of
from monai_wsss.data import Case
from monai_wsss.workflow import mask_folders

Masks = Callable[[Case], Tensor]
"""Label map of a case on the network's grid, uint8 (D, H, W)."""

THRESHOLDED, CRF = "class maps, thresholded", "class maps + CRF"
WALKED = {"irnet": "+ IRNet", "bes": "+ boundary exploration"}  # value of `refine` -> row of the walked maps
_IGNORE = 255


def first_masks(run: Path) -> tuple[str, str]:
    """The stage that makes masks of the class maps alone, and the id of its threshold."""
    walks = choice_of(run, "refine") in WALKED
    return ("confident", "foreground_threshold") if walks else ("refine", "threshold")


def prior_masks(run: Path, done: Collection[str]) -> Path | None:
    """Folder of the training cases' masks from image-level labels; None where `done` lacks their stage."""
    refine = choice_of(run, "refine")
    if first_masks(run)[0] not in done:
        return None
    return run / ("confident_masks" if refine in WALKED else mask_folders(refine)[-1])


def step_masks(run: Path, data: Path, done: Collection[str], device: str = "auto") -> dict[str, Masks]:
    """What makes the masks of each row, in the method's order, of a run whose stages `done` have run.

    Where a run keeps the masks of training cases alone, those of test cases are made here by its own stage, from the
    class maps that the classifier's probability gates. Pixels that a stage would ignore count as background.
    """
    refine = choice_of(run, "refine")
    if refine not in WALKED:
        kinds = {THRESHOLDED: "refined", CRF: "crf"} if refine == "crf" else {THRESHOLDED: "refined"}
        return {row: _reader(run / "pseudo_masks" / kind) for row, kind in kinds.items() if "refine" in done}
    rows = _confident_masks(run, data, device) if "seed" in done else {}
    return rows | (_walked_masks(run, data, WALKED[refine], device) if "walk" in done else {})


def _confident_masks(run: Path, data: Path, device: str) -> dict[str, Masks]:
    """Maps above the foreground's threshold, and the confident masks that two thresholds and a CRF each make."""
    stage = stage_of(run, data, "confident.yaml", device)

    def thresholded(case: Case) -> Tensor:
        maps = _load(run / "seeds", case).float()
        return stage.thresholded(maps, stage.foreground_threshold, stage.volume(case))[:, 0]

    return {THRESHOLDED: thresholded, CRF: lambda case: _without_ignored(stage.case_masks(case)[0][:, 0])}


def _walked_masks(run: Path, data: Path, row: str, device: str) -> dict[str, Masks]:
    """The run's walked masks; where their last step was a CRF, those before it too."""
    written = _reader(run / "pseudo_masks" / "walk")
    stage = stage_of(run, data, "walk.yaml", device)
    if not stage.final_crf:
        return {row: written}
    stage.final_crf = False
    maps = run / "pseudo_masks" / "maps"
    return {row: lambda case: stage.masks(_load(maps, case), stage.volume(case))[:, 0], f"{row} + CRF": written}


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
    name, threshold_id = first_masks(run)
    seed, stage = (stage_of(run, data, f"{config}.yaml", device) for config in ("seed", name))
    network = classifier_of(trained or run, "seed.yaml", None if trained else random_seed)
    seed.network = network.to(seed.device)
    threshold = config_of(run, f"{name}.yaml")[threshold_id]

    def masks(case: Case) -> Tensor:
        present = _load(run / "seeds", case).flatten(2).any(-1)
        return stage.thresholded(seed.maps(case, present), threshold, stage.volume(case))[:, 0]

    return masks


def _load(folder: Path, case: Case) -> Tensor:
    return torch.from_numpy(np.load(folder / f"{case.case}.npy"))


def _reader(folder: Path) -> Masks:
    return lambda case: _without_ignored(_load(folder, case))


def _without_ignored(labels: Tensor) -> Tensor:
    return labels * (labels != _IGNORE)
