"""Test slices as rows of image, class map, pseudo mask, prediction and true mask."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.geometry import mask_to_grid
from benchmarks.run_parts import preprocessing_of
from monai_wsss.data import PreparedDataset, cache_folder
from monai_wsss.workflow.pictures import save_panel

_PSEUDO_MASKS = {"CRF mask": "pseudo_masks/crf", "walked mask": "pseudo_masks/walk"}  # title -> folder, by bundle


def case_pictures(data: Path, method: Path, path: Path, count: int = 5) -> None:
    """Write the slice with the largest true area of each of the first `count` test patients that have a lesion.

    The choice is by the order of the list and by the truth, not by how well a slice came out.
    """
    dataset = PreparedDataset.read(data)
    preprocess = preprocessing_of(method)
    cache = cache_folder(data, preprocess.parameters)
    title, folder = next((name, method / place) for name, place in _PSEUDO_MASKS.items() if (method / place).is_dir())
    images, maps, masks, predictions, truths = [], [], [], [], []
    for case in dataset.cases("test"):
        truth = mask_to_grid(case, preprocess)
        index = int(truth.sum((1, 2)).argmax())
        if not truth[index].any() or len(images) == count:
            continue
        predicted = replace(case, truth=method / "predictions" / f"{case.case}.nii.gz")
        images.append(np.load(cache / f"{case.case}.npy")[index, 0])
        maps.append(np.load(method / "seeds" / f"{case.case}.npy")[index].max(0).astype(np.float32))
        masks.append(np.load(folder / f"{case.case}.npy")[index])
        predictions.append(mask_to_grid(predicted, preprocess)[index])
        truths.append(truth[index])
    overlays = {"class map": maps, title: masks, "segmenter": predictions, "true mask": truths}
    save_panel(path, dict.fromkeys(("image", *overlays), images), overlays)
