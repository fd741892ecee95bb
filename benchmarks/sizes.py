"""Dice of slices and recall of lesions against the size of the lesion."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks.scores.pooled_runs import Folders, as_list, pool, run_settings, same_cases
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.data.voxel_size import voxel_size_is_known
from monai_wsss.errors import InputError
from monai_wsss.metrics import LESION_RULE, bootstrap_mean, paired_difference
from monai_wsss.metrics.case_counts import IGNORED
from monai_wsss.workflow.label_maps import check_geometry, find_label_maps, read_label_map

DEFINITIONS = {
    "slices": "Dice of a slice whose truth holds the label, against the label's area in that slice",
    "lesions": f"share of true lesions that are found, against the lesion's size: {LESION_RULE}",
    "bins": "of nearly equal numbers of items, by quantile of the size; named by their smallest and largest item",
    "labels": "with several labels every (slice, label) and every lesion of each label is an item",
    "difference": "first method minus the other, paired over patients",
    "interval": "95 % percentile bootstrap over patients, all items of a drawn patient together, 2000 resamples",
}


class Item(NamedTuple):
    """A slice or a lesion: its size in the unit, its patient, and the score of each method."""

    size: float
    patient: str
    scores: tuple[float, ...]


def size_curve(data: Path, folders: Mapping[str, Folders], bins: int = 4) -> dict[str, Any]:
    """Score every method in bins of lesion size.

    Sizes are mm2 of a slice and ml of a lesion; pixels and voxels where the source says nothing of spacing. Where every
    case is a single slice, lesions are measured by area too.

    Args:
        data: prepared folder with true masks of the predicted cases.
        folders: folder of predictions by method, in the source's geometry, or one a fold; the same cases in all.
        bins: of each curve, fewer where sizes tie.

    Returns:
        `{kind: "sizes", definitions, counts, runs, slices: {unit, bins: [{low, high, median, n, patients, methods:
        {name: {mean, ci95, ..., difference}}}]}, lesions: the same}`.

    Raises:
        InputError: methods of different cases, a case without a true mask, masks on another grid, or no true lesion.
        ValueError: no bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, got {bins}")
    dataset = PreparedDataset.read(data)
    files = {
        name: pool((find_label_maps(folder)[0] for folder in as_list(paths)), name) for name, paths in folders.items()
    }
    known = {case.case: case for case in dataset.cases()}
    names = same_cases(files)
    if lacking := [name for name in names if name not in known or known[name].truth is None]:
        raise InputError(f"{data}: case {lacking[0]} has no true mask there; prepare with --masks")
    cases = [known[name] for name in names]
    measured = all(voxel_size_is_known(nib.load(case.image).header) for case in cases)
    slices: list[Item] = []
    lesions: list[Item] = []
    flat = True
    for case in cases:
        truth, predicted, affine = _read(case, [of[case.case] for of in files.values()], len(dataset.labels))
        flat = flat and len(truth) == 1
        area, volume = _sizes(affine) if measured else (1.0, 1.0)
        lesion = (area if len(truth) == 1 else volume) if measured else 1.0
        for label in range(1, len(dataset.labels) + 1):
            masks = [mask == label for mask in predicted]
            slices += _slices(truth == label, masks, area, case.patient)
            lesions += _lesions(truth == label, masks, lesion, case.patient)
    if not slices:
        raise InputError(f"{data}: no true lesion in {len(cases)} cases; there is nothing to measure by size")
    units = ("mm2", "mm2" if flat else "ml") if measured else ("pixels", "pixels" if flat else "voxels")
    patients = len({case.patient for case in cases})
    return {
        "kind": "sizes",
        "definitions": DEFINITIONS,
        "counts": {"patients": patients, "cases": len(cases), "slices": len(slices), "lesions": len(lesions)},
        "runs": {name: run_settings(paths) for name, paths in folders.items()},
        "slices": {"unit": units[0], "bins": _bins(slices, list(folders), bins)},
        "lesions": {"unit": units[1], "bins": _bins(lesions, list(folders), bins)},
    }


def _read(case: Case, files: Sequence[Path], num_labels: int) -> tuple[Tensor, list[Tensor], np.ndarray]:
    """True labels (D, H, W), every method's, without what does not count, and the affine."""
    assert case.truth is not None
    truth, affine = read_label_map(case.truth, num_labels, truth=True)
    predicted = []
    for file in files:
        mask, own = read_label_map(file, num_labels)
        check_geometry(file, mask.shape, own, truth.shape, affine)
        predicted.append(mask * (truth != IGNORED))
    return truth, predicted, affine


def _sizes(affine: np.ndarray) -> tuple[float, float]:
    """Area of a pixel of a slice in mm2 and volume of a voxel in ml."""
    sides = affine[:3, :3]
    return float(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]))), float(abs(np.linalg.det(sides)) / 1000)


def _slices(truth: Tensor, masks: Sequence[Tensor], area: float, patient: str) -> Iterable[Item]:
    """Dice of every slice with truth."""
    true = truth.sum((1, 2))
    dice = [2 * (mask & truth).sum((1, 2)) / (mask.sum((1, 2)) + true) for mask in masks]
    for index in true.nonzero().flatten().tolist():
        yield Item(area * int(true[index]), patient, tuple(float(of[index]) for of in dice))


def _lesions(truth: Tensor, masks: Sequence[Tensor], unit: float, patient: str) -> Iterable[Item]:
    """1 for every true lesion that is found, else 0."""
    components, count = ndimage.label(truth.numpy(), ndimage.generate_binary_structure(3, 3))
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    found = [set(np.unique(components[mask.numpy()]).tolist()) for mask in masks]
    for number in range(1, count + 1):
        yield Item(unit * int(sizes[number]), patient, tuple(float(number in of) for of in found))


def _bins(items: Sequence[Item], names: Sequence[str], number: int) -> list[dict[str, Any]]:
    """Scores in bins of nearly equal numbers; their upper ends are sizes of items, so that no bin is empty."""
    sizes = np.array([item.size for item in items])
    ends = np.unique(np.quantile(sizes, np.arange(1, number + 1) / number, method="inverted_cdf"))
    place = np.searchsorted(ends, sizes)
    made = []
    for index in range(len(ends)):
        inside = [item for item, of in zip(items, place, strict=True) if of == index]
        own = [item.size for item in inside]
        patients = [item.patient for item in inside]
        scores = torch.tensor([item.scores for item in inside], dtype=torch.float64).T
        made.append(
            {
                "low": min(own),
                "high": max(own),
                "median": float(np.median(own)),
                "n": len(inside),
                "patients": len(set(patients)),
                "methods": {
                    name: bootstrap_mean(of, patients) | {"difference": paired_difference(scores[0], of, patients)}
                    for name, of in zip(names, scores, strict=True)
                },
            }
        )
    return made
