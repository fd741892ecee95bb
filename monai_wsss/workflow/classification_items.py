"""Items of image-level labels: what a classifier or a localiser trains on."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from monai_wsss.data import PreparedDataset, slice_items
from monai_wsss.data.presence import is_absent, is_known, is_present
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.cached_stage import open_cache

logger = logging.getLogger(__name__)


def classification_items(dataset_dir: str, split: str, preprocessing: GridPreprocessing) -> list[dict[str, Any]]:
    """Slices of a split with at least one known label: `image` as `(file, index)`, `classes` `(K,)`, `case`, `slice`.

    Args:
        dataset_dir: prepared folder.
        split: `training` or `validation`.
        preprocessing: whose cache is read, and built where it is missing.

    Raises:
        InputError: the split has none or no positive one, or a class lacks one of the two answers in training (in
            validation that is a warning).
    """
    dataset = PreparedDataset.read(Path(dataset_dir))
    cache = open_cache(Path(dataset_dir), dataset.cases(), preprocessing)
    found = slice_items(dataset.cases(split), cache, len(dataset.labels))
    found = [item for item in found if is_known(item["classes"]).any()]
    path = Path(dataset_dir) / "dataset.json"
    if not found:
        raise InputError(f"{path}: no labelled slice in {split}; change the split")
    classes = np.stack([item["classes"] for item in found])
    if not is_present(classes).any():
        raise InputError(f"{path}: no positive slice in {split}; change the split or label more cases")
    for label, answers in zip(dataset.labels, classes.T, strict=True):
        for given, word in ((is_present, "positive"), (is_absent, "negative")):
            if given(answers).any():
                continue
            if split == "training":
                advice = "leave the class out (prepare --classes)"
                raise InputError(f"{path}: no {word} slice of class {label} in training; {advice}")
            logger.warning(
                "%s: no %s slice of class %s in %s; what is chosen there is chosen without", path, word, label, split
            )
    return found
