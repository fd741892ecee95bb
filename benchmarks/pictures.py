"""Test slices as rows of image, class map, pseudo mask, prediction and true mask."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy import STEPS_FILE
from benchmarks.localisers import is_localiser
from benchmarks.run_parts import choice_of, preprocessing_of
from monai_wsss.data import Case, PreparedDataset, cache_folder
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import mask_folders
from monai_wsss.workflow.pictures import save_panel
from monai_wsss.workflow.truth_on_grid import truth_on_grid

_TITLES = {"refined": "thresholded map", "crf": "CRF mask", "walk": "walked mask"}  # by folder of the pseudo masks


def case_pictures(data: Path, work: Path, path: Path, count: int = 5) -> None:
    """Write the slice with the largest true area of each of the first `count` test patients that have a lesion.

    The choice is by the order of the list and by the truth, not by how well a slice came out.
    """
    dataset, method = PreparedDataset.read(data), work / "method"
    preprocess = preprocessing_of(method)
    cache = cache_folder(data, preprocess.parameters)
    num_labels = len(dataset.labels)
    rows = _steps(work) if is_localiser(method / "bundle") else _pseudo_masks(method)
    images: list[np.ndarray] = []
    overlays: dict[str, list[np.ndarray]] = {title: [] for title in (*rows, "true mask")}
    for case in dataset.cases("test"):
        truth = truth_on_grid(case, preprocess, num_labels)
        index = int((truth > 0).sum((1, 2)).argmax())
        if not truth[index].any() or len(images) == count:
            continue
        images.append(np.load(cache / f"{case.case}.npy")[index, 0])
        for title, folder in rows.items():
            overlays[title].append(_slice(folder, case, index, preprocess, num_labels))
        overlays["true mask"].append(truth[index])
    save_panel(path, dict.fromkeys(("image", *overlays), images), overlays)


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
    values = np.load(array)[index]
    return values.max(0).astype(np.float32) if values.ndim == 3 else values
