"""Masks and maps on the network's grid back in the source's geometry."""

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Invertd
from torch import Tensor

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
