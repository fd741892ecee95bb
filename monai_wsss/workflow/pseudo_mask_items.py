"""Training items of the segmenter: slices with their pseudo masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_wsss.data import PreparedDataset, slice_items
from monai_wsss.data.presence import is_absent, is_present
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.cached_stage import open_cache

_IGNORE = 255


def pseudo_mask_items(
    dataset_dir: str,
    output_dir: str,
    split: str,
    preprocessing: GridPreprocessing,
    negatives_per_positive: float | None = None,
    seed: int = 0,
    folders: Sequence[str] = ("pseudo_masks/refined", "pseudo_masks/crf"),
) -> list[dict[str, Any]]:
    """Slices of a split: `image` as `(file, index)` and `label`, its pseudo masks, as a list of them; see `LoadSliced`.

    Kept are slices labelled absent for every class, and those with a class present (from 0.5) none of whose masks is
    empty: one without a lesion pixel would teach that a positive slice is background. Ignored pixels (255) are no
    lesion. What lies between is left out, and so is a slice without a seed in a positive study that is labelled as a
    whole: it may hold a lesion, or none.

    Args:
        dataset_dir: prepared folder.
        output_dir: run folder.
        split: `training` or `validation`.
        preprocessing: whose cache is read.
        negatives_per_positive: at most this many negative slices for each positive one, drawn with `seed`; None = all.
        seed: seed of the draw.
        folders: of the run, with one pseudo mask a case each; at least one, see `mask_folders`.

    Raises:
        InputError: pseudo masks are missing, or no positive slice has one.
    """
    dataset = PreparedDataset.read(Path(dataset_dir))
    cases = dataset.cases(split)
    cache = open_cache(Path(dataset_dir), dataset.cases(), preprocessing)
    extra = {name: Path(output_dir) / name for name in folders}
    for name, folder in extra.items():
        for case in cases:
            if not (folder / f"{case.case}.npy").exists():
                raise InputError(f"{output_dir}: no mask of {case.case} in {name}; run the stage that writes it first")
    positive, negative = [], []
    for item in slice_items(cases, cache, len(dataset.labels), extra):
        item["label"] = [item.pop(name) for name in extra]
        if is_absent(item["classes"]).all():
            negative.append(item)
        elif is_present(item["classes"]).any() and all(has_lesion(*mask) for mask in item["label"]):
            positive.append(item)
    if not positive:
        raise InputError(
            f"{output_dir}: no positive slice of {split} has a mask in {', '.join(folders)}; look at the preview, "
            "lower the stage's threshold"
        )
    if negatives_per_positive is not None and len(negative) > negatives_per_positive * len(positive):
        keep = round(negatives_per_positive * len(positive))
        drawn = np.random.default_rng(seed).choice(len(negative), size=keep, replace=False)
        negative = [negative[i] for i in sorted(drawn)]
    return positive + negative


def has_lesion(path: str, index: int) -> bool:
    """True where slice `index` of the masks in `path` has a pixel of any class; 255 is none."""
    mask = np.load(path, mmap_mode="r")[index]
    return bool(((mask > 0) & (mask < _IGNORE)).any())
