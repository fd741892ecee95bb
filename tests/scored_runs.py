"""Prepared folders and run folders of a few pixels, whose grid is the source's own."""

import numpy as np
from label_map_files import AFFINE, write

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.transforms import GridPreprocessing

GRID = GridPreprocessing(pixel_spacing=None, size=(8, 8))


def write_case(folder, name, truth, affine=AFFINE):
    """A case with its image and true mask `(D, H, W)`."""
    image = np.random.default_rng(0).uniform(1, 9, np.moveaxis(truth, 0, -1).shape)
    write(folder / "images", f"{name}.nii.gz", image.astype(np.float32), affine)
    write(folder / "truth", f"{name}.nii.gz", np.moveaxis(np.asarray(truth, np.uint8), 0, -1), affine)
    return Case(
        image=folder / "images" / f"{name}.nii.gz",
        case=name,
        patient=name,
        classes=(1,),
        truth=folder / "truth" / f"{name}.nii.gz",
    )


def dataset_of(labels=("a",), **splits):
    return PreparedDataset(tuple(labels), GRID.parameters, **{split: tuple(cases) for split, cases in splits.items()})


def write_npy(file, array, dtype):
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, np.asarray(array, dtype))


def slices(*rows, size=8):
    """Square slices with label 1 in a box each, (top, bottom, left, right) or None."""
    volume = np.zeros((len(rows), size, size), np.uint8)
    for plane, box in zip(volume, rows, strict=True):
        if box is not None:
            plane[box[0] : box[1], box[2] : box[3]] = 1
    return volume
