"""Test slices as rows of image, class map, pseudo mask, prediction and true mask."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.run_parts import choice_of, preprocessing_of
from monai_wsss.data import PreparedDataset, cache_folder
from monai_wsss.workflow import mask_folders
from monai_wsss.workflow.pictures import save_panel
from monai_wsss.workflow.truth_on_grid import truth_on_grid

_TITLES = {"refined": "thresholded map", "crf": "CRF mask", "walk": "walked mask"}  # by folder of the pseudo masks


def case_pictures(data: Path, method: Path, path: Path, count: int = 5) -> None:
    """Write the slice with the largest true area of each of the first `count` test patients that have a lesion.

    The choice is by the order of the list and by the truth, not by how well a slice came out.
    """
    dataset = PreparedDataset.read(data)
    preprocess = preprocessing_of(method)
    cache = cache_folder(data, preprocess.parameters)
    folder = method / mask_folders(choice_of(method, "refine"))[-1]
    title, num_labels = _TITLES[folder.name], len(dataset.labels)
    images, maps, masks, predictions, truths = [], [], [], [], []
    for case in dataset.cases("test"):
        truth = truth_on_grid(case, preprocess, num_labels)
        index = int((truth > 0).sum((1, 2)).argmax())
        if not truth[index].any() or len(images) == count:
            continue
        predicted = replace(case, truth=method / "predictions" / f"{case.case}.nii.gz")
        images.append(np.load(cache / f"{case.case}.npy")[index, 0])
        maps.append(np.load(method / "seeds" / f"{case.case}.npy")[index].max(0).astype(np.float32))
        masks.append(np.load(folder / f"{case.case}.npy")[index])
        predictions.append(truth_on_grid(predicted, preprocess, num_labels)[index])
        truths.append(truth[index])
    overlays = {"class map": maps, title: masks, "segmenter": predictions, "true mask": truths}
    save_panel(path, dict.fromkeys(("image", *overlays), images), overlays)
