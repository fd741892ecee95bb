"""True masks on the network's grid, for scoring alone: no stage but `evaluate` may import this file."""

from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch

from monai_wsss.data import Case
from monai_wsss.data.generic_reason import generic_reason
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.label_maps import read_label_map


def truth_on_grid(case: Case, preprocess: GridPreprocessing, num_labels: int) -> np.ndarray:
    """A case's true labels on the network's grid, uint8 `(D, H, W)`, by the nearest neighbour.

    0 background, k + 1 class k; with several classes 255 (does not count) stays, with one class the lesion may have any
    single value in the file. Beyond the source's image there is background.

    Args:
        case: with `truth`; its image gives the grid.
        preprocess: the run's preprocessing.
        num_labels: K, background not included.

    Raises:
        InputError: no true mask, or a mask or an image that cannot be used; the case is named, and no file.
    """
    if case.truth is None:
        raise InputError(f"case {case.case}: has no true mask; prepare with --masks")
    try:
        labels, affine = read_label_map(case.truth, num_labels, truth=True)
    except InputError as error:
        raise InputError(f"case {case.case}: its true mask: {generic_reason(error, [case.truth])}") from error
    try:
        image = preprocess({"image": str(case.image)})["image"]
    except InputError as error:
        raise InputError(f"case {case.case}: its image: {generic_reason(error, [case.image])}") from error
    mask = MetaTensor(labels.movedim(0, -1)[None].float(), affine=torch.from_numpy(affine))
    on_grid = ResampleToMatch(mode="nearest", padding_mode="zeros")(mask, image)
    return np.ascontiguousarray(np.moveaxis(on_grid[0].numpy().round().astype(np.uint8), -1, 0))


def array_beside(file: Path, depth: int, dtype: type[np.generic]) -> np.ndarray:
    """An array `(D, h, w)` of the run that is compared with a truth of D slices.

    Args:
        file: `.npy`, named after its case.
        depth: D.
        dtype: of its numbers.

    Raises:
        InputError: no such array; the case and the folder are named, and no path.
    """
    name = f"case {file.stem}: its array in {file.parent.name}"
    try:
        array = np.load(file)
    except FileNotFoundError:
        raise InputError(f"{name} is not there; run the stage that writes it again") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{name} cannot be read; run the stage that writes it again") from error
    if array.ndim != 3 or len(array) != depth or array.dtype != dtype or not array.size:
        raise InputError(f"{name} is {array.dtype} {array.shape}, the truth has {depth} slices; run its stage again")
    return array
