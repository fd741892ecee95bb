"""Masks to the network's grid and back, and maps back."""

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd, ResampleToMatch
from torch import Tensor

from monai_wsss.data import Case
from monai_wsss.transforms import GridPreprocessing


def mask_to_source(mask: Tensor, image: MetaTensor, preprocess: GridPreprocessing) -> np.ndarray:
    """A label map (D, H, W) on the grid of `image` as an array of the source's shape, by the way predictions take."""
    return _to_source(mask, image, preprocess, nearest=True).round().numpy()


def map_to_source(values: Tensor, image: MetaTensor, preprocess: GridPreprocessing) -> Tensor:
    """A map (D, H, W) on the grid of `image` as `(columns, rows, slices)` of the source, by linear interpolation."""
    return _to_source(values, image, preprocess, nearest=False)


def _to_source(values: Tensor, image: MetaTensor, preprocess: GridPreprocessing, nearest: bool) -> Tensor:
    invert = Invertd("values", preprocess, orig_keys="image", nearest_interp=nearest)
    on_grid = MetaTensor(values.movedim(0, -1)[None].float(), meta=image.meta)
    return invert({"image": image, "values": on_grid})["values"][0].as_tensor()


def mask_to_grid(case: Case, preprocess: GridPreprocessing) -> np.ndarray:
    """A case's true mask on the network's grid, uint8 (D, H, W), by the nearest neighbour; every value above 0 is 1."""
    image = preprocess({"image": str(case.image)})["image"]
    source = nib.load(case.truth)
    array = np.asarray(source.dataobj, dtype=np.float32).reshape(*source.shape[:2], -1)
    mask = MetaTensor(torch.from_numpy(array > 0).float()[None], affine=torch.from_numpy(source.affine))
    on_grid = ResampleToMatch(mode="nearest", padding_mode="zeros")(mask, image)
    return np.ascontiguousarray(np.moveaxis(on_grid[0].numpy().round().astype(np.uint8), -1, 0))
