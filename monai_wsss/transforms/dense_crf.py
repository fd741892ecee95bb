"""Dense CRF of a volume's probabilities, slice by slice."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from monai_wsss.ops.dense_crf import dense_crf


class DenseCRFd(MapTransform):
    """Refine probabilities `(L, H, W, D)`, background first, by a dense CRF in each slice of the last axis.

    Slices whose arg-max is background everywhere stay as they are. A class whose probability is 0 all over a slice,
    such as one that inference gated off, stays at 0 there. Stands after `ProbabilityFromLogitsd`, which gives
    `(1 - p, p)` for a sigmoid head, and before `Invertd`: on the network's grid, where `image_key` still is the
    preprocessed image.

    Args:
        keys: probabilities, see `ProbabilityFromLogitsd`.
        image_key: preprocessed image `(C, H, W, D)`.
        sxy_gaussian: width of the smoothness kernel, mm.
        weight_gaussian: its weight; 0 leaves it out.
        sxy_bilateral: spatial width of the appearance kernel, mm.
        srgb: intensity width of the appearance kernel, on 0..255 from a volume's darkest to its brightest value.
        weight_bilateral: its weight; 0 leaves it out.
        iterations: mean-field iterations; 0 leaves the probabilities as they are.
        pixel_spacing: mm a pixel of the network's grid; None: the widths are in pixels.
        allow_missing_keys: do not complain about absent keys.

    Raises:
        ValueError: for iterations < 0 or a spacing that is not > 0; on call, for shapes, widths and values that
            `monai_wsss.ops.dense_crf` refuses.

    Source: Kraehenbuehl and Koltun, NeurIPS 2011; as the last step of Chen et al., DeepLab, TPAMI 2018, section 3.3,
    and of Huang et al., DSRG, CVPR 2018.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        image_key: str = "image",
        sxy_gaussian: float = 3.0,
        weight_gaussian: float = 3.0,
        sxy_bilateral: float = 80.0,
        srgb: float = 13.0,
        weight_bilateral: float = 10.0,
        iterations: int = 10,
        pixel_spacing: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if iterations < 0:
            raise ValueError(f"iterations must be >= 0, got {iterations}.")
        if pixel_spacing is not None and not pixel_spacing > 0:
            raise ValueError(f"pixel_spacing must be positive (mm), or None, got {pixel_spacing}.")
        pixel = pixel_spacing or 1.0
        self.image_key = image_key
        self.iterations = iterations
        self.settings: dict[str, Any] = {
            "sxy_gaussian": sxy_gaussian / pixel,
            "weight_gaussian": weight_gaussian,
            "sxy_bilateral": sxy_bilateral / pixel,
            "srgb": srgb,
            "weight_bilateral": weight_bilateral,
            "iterations": iterations,
        }

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with float32 probabilities refined; MetaTensors keep their metadata."""
        items = dict(data)
        if self.iterations == 0:
            return items
        image = convert_to_tensor(items[self.image_key])
        for key in self.key_iterator(items):
            refined = self._refine(convert_to_tensor(items[key]), image)
            items[key] = convert_to_dst_type(refined, items[key], dtype=torch.float32)[0]
        return items

    def _refine(self, probability: Tensor, image: Tensor) -> Tensor:
        if probability.ndim != 4 or probability.shape[0] < 2 or image.shape[1:] != probability.shape[1:]:
            raise ValueError(
                f"DenseCRFd needs probabilities (L, H, W, D), L >= 2, and an image (C, H, W, D), "
                f"got {tuple(probability.shape)} and {tuple(image.shape)}."
            )
        image = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-6)
        refined = probability.to(torch.float32, copy=True)
        for index in probability.argmax(dim=0).flatten(0, 1).any(dim=0).nonzero().flatten().tolist():
            # the CRF's floor would give a class that is gated off a chance again
            present = probability[..., index].flatten(1).any(dim=1)
            present[0] = True
            unary = probability[None, present, :, :, index]
            refined[present, ..., index] = dense_crf(unary, image[None, ..., index], **self.settings)[0]
        return refined
