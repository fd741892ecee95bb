"""Test slices as rows of image, class map, pseudo mask, prediction and true mask."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.rows.cells import STEPS_FILE
from benchmarks.rows.localisers import is_localiser
from benchmarks.rows.run_parts import choice_of, preprocessing_of
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import mask_folders
from monai_wsss.workflow.pictures import save_panel
from monai_wsss.workflow.truth_on_grid import truth_on_grid

IMAGE, TRUTH = "image", "true mask"
_TITLES = {"refined": "thresholded map", "crf": "CRF mask", "walk": "walked mask"}  # by folder of the pseudo masks


@dataclass(frozen=True)
class ShownSlice:
    """A test slice on the grid.

    Attributes:
        image: `(C, W, H)`.
        truth: true labels, `(W, H)`.
        masks: label map or class map by title, `(W, H)`.
    """

    image: np.ndarray
    truth: np.ndarray
    masks: Mapping[str, np.ndarray]


def case_pictures(data: Path, work: Path, path: Path, count: int = 5) -> None:
    """Write a PNG of the steps of one method, a step a row and a slice a column, see `shown_slices`."""
    method = work / "method"
    folders = _steps(work) if is_localiser(method / "bundle") else _pseudo_masks(method)
    shown = shown_slices(data, folders, preprocessing_of(method), count)
    overlays = {title: [one.masks[title] for one in shown] for title in folders} | {TRUTH: [one.truth for one in shown]}
    save_panel(path, {title: [one.image for one in shown] for title in (IMAGE, *overlays)}, overlays)


def shown_slices(
    data: Path, folders: Mapping[str, Path], preprocess: GridPreprocessing, count: int
) -> list[ShownSlice]:
    """The slice with the largest true area of each of the first `count` test patients that have a lesion.

    The choice is by the order of the list and by the truth, not by how well a slice came out. Images whose pixels may
    show a name (`burned_in`) are left out.

    Args:
        data: prepared folder, with true masks.
        folders: by title, label maps `CASE.nii.gz` in the source's geometry, or arrays `CASE.npy` of label maps
            `(D, W, H)` or class maps `(D, K, W, H)` on the grid.
        preprocess: gives the grid.
        count: most slices.

    Raises:
        InputError: a mask that is missing or cannot be used, or arrays of another grid.
    """
    dataset = PreparedDataset.read(data)
    number, found = len(dataset.labels), list[ShownSlice]()
    for case in dataset.cases("test"):
        if len(found) == count:
            break
        if case.burned_in:
            continue
        truth = truth_on_grid(case, preprocess, number)
        index = int((truth > 0).sum((1, 2)).argmax())
        if truth[index].any():
            image = np.asarray(preprocess({"image": str(case.image)})["image"])[..., index]
            masks = {title: _slice(folder, case, index, preprocess, number) for title, folder in folders.items()}
            found.append(ShownSlice(image, truth[index], masks))
    return found


def _pseudo_masks(method: Path) -> dict[str, Path]:
    """Rows from the class map to the segmenter, with their folders."""
    masks = method / mask_folders(choice_of(method, "refine"))[-1]
    return {"class map": method / "seeds", _TITLES[masks.name]: masks, "segmenter": method / "predictions"}


def _steps(work: Path) -> dict[str, Path]:
    """Rows of the localisers, stage by stage."""
    steps = json.loads((work / STEPS_FILE).read_text(encoding="utf-8"))
    return {row: work / folder for row, folder in steps.items()}


def _slice(folder: Path, case: Case, index: int, preprocess: GridPreprocessing, num_labels: int) -> np.ndarray:
    """A slice on the grid: of a class map, a label map, or a mask in the source's geometry."""
    array = folder / f"{case.case}.npy"
    if not array.is_file():
        predicted = replace(case, truth=folder / f"{case.case}.nii.gz")
        return truth_on_grid(predicted, preprocess, num_labels)[index]
    values = np.load(array, mmap_mode="r")[index]
    size = tuple(preprocess.parameters["size"])
    if values.shape[-2:] != size:
        raise InputError(f"{folder}: its arrays are {values.shape[-2:]}, the grid is {size}; show runs of one grid")
    return values.max(0).astype(np.float32) if values.ndim == 3 else np.asarray(values)
