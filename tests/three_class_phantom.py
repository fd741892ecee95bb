"""Tiny volumes with three kinds of lesion, for whole runs on several classes; they prove plumbing, never accuracy."""

import csv

import nibabel as nib
import numpy as np

CLASSES = ("bright", "dark", "striped")
ABSENT_IN_TEST = "striped"
SIZE, SPACING = 64, 2.0  # pixels, mm
AXIAL = np.diag([-SPACING, -SPACING, 6.0, 1.0])
GRID = {"pixel_spacing": SPACING, "size": [SIZE, SIZE]}
"""Ids of a bundle's configs that fit the prepared folder."""

# Labels of the slices that show something, in turn. A patient's first and last slice show nothing.
_SHOWN = ((1,), (2,), (3,), (1, 3), (1, 2), (2, 3), (1, 2, 3))
_PLACES = ((21, 22), (21, 42), (42, 22), (42, 42))  # centres, so that no two lesions meet
_RADIUS = 6  # pixels


def write_three_class(folder, cases=8, seed=0):
    """Write images/, masks/ and labels.csv into `folder` and return it.

    Patients of 4 to 6 slices: of 8, four train, one validates, three test. The last shows nothing and has one row in
    the table, without a slice; the others have a row a slice. No test patient shows `ABSENT_IN_TEST`.
    """
    if cases < 8:
        raise ValueError(f"cases must be 8 or more, for every class in training and in validation, got {cases}")
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rng, rows, shown = np.random.default_rng(seed), [], 0
    tests, validates = 3 * cases // 8, cases // 8
    for number in range(cases):
        split = "test" if number >= cases - tests else "val" if number >= cases - tests - validates else "train"
        name, mask = f"PHANTOM{number:02d}", np.zeros((SIZE, SIZE, 4 + number % 3), np.uint8)
        healthy = number == cases - 1
        for index in () if healthy else range(1, mask.shape[2] - 1):
            labels, shown = _SHOWN[shown % len(_SHOWN)], shown + 1
            if split == "test":
                labels = [label for label in labels if CLASSES[label - 1] != ABSENT_IN_TEST] or [1]
            _place(rng, mask[..., index], labels)
        nib.save(nib.Nifti1Image(_volume(rng, mask), AXIAL), folder / "images" / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(mask, AXIAL), folder / "masks" / f"{name}.nii.gz")
        slices = [""] if healthy else range(mask.shape[2])
        rows += [[name, split, at, *(int((_slice(mask, at) == k).any()) for k in (1, 2, 3))] for at in slices]
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["PatientID", "split", "slice", *CLASSES], *rows])
    return folder


def prepared_three_class(folder, cases=8, seed=0, masks=True):
    """Write the volumes into `folder`/study, prepare them into `folder`/data, and return that."""
    from monai_wsss.transforms import GridPreprocessing
    from monai_wsss.workflow.prepare import prepare

    study = write_three_class(folder / "study", cases, seed)
    truth, grid = study / "masks" if masks else None, GridPreprocessing(**GRID)
    prepare(study / "images", study / "labels.csv", folder / "data", masks=truth, keep_names=True, preprocessing=grid)
    return folder / "data"


def _slice(mask, at):
    return mask if at == "" else mask[..., at]


def _place(rng, mask, labels):
    """Mark a disc, a disc and a square in places of their own."""
    x, y = np.indices(mask.shape)
    for place, label in zip(rng.permutation(len(_PLACES)), labels, strict=False):
        (cx, cy), radius = _PLACES[place] + rng.integers(-1, 2, 2), _RADIUS + rng.integers(-1, 1)
        far = np.maximum(abs(x - cx), abs(y - cy)) if label == 3 else np.hypot(x - cx, y - cy)
        mask[far <= radius] = label


def _volume(rng, mask):
    """A head around 100: bright discs around 180, dark ones around 30, striped squares between 160 and 40."""
    x, y, _ = np.indices(mask.shape)
    volume = np.where(np.hypot((x - 31.5) / 29, (y - 31.5) / 27) <= 1, 100.0, 0.0)
    stripes = np.where(x // 2 % 2 == 0, 160.0, 40.0)
    for label, value in ((1, 180.0), (2, 30.0), (3, stripes)):
        volume = np.where(mask == label, value, volume)
    return (volume + rng.normal(0, 4, mask.shape) * (volume > 0)).astype(np.float32)
