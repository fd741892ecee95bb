"""From class maps to labels: threshold, body mask and dense CRF, as several stages need them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from monai_wsss.ops import body_mask, label_crf, threshold_labels
from monai_wsss.transforms.window_hu import LOWEST
from monai_wsss.workflow.cached_stage import CachedStage

_RIM = 0.1  # of the 4 that a window spans; resampling spreads the head's edge over a pixel


@dataclass(frozen=True)
class CRFLabels:
    """Settings of `ops.label_crf`, by which a stage refines labels.

    Args:
        confidence: probability of a pixel's given label in the unary term.
        sxy_gaussian: width of the smoothness kernel, pixels.
        weight_gaussian: its weight.
        sxy_bilateral: spatial width of the appearance kernel, pixels.
        srgb: intensity width of the appearance kernel, on 0..255 from a volume's darkest to its brightest value.
        weight_bilateral: its weight.
        iterations: mean-field iterations.
        min_share: number of a class's pixels over that of its given ones, at least; 0 leaves the CRF alone.
    """

    confidence: float
    sxy_gaussian: float
    weight_gaussian: float
    sxy_bilateral: float
    srgb: float
    weight_bilateral: float
    iterations: int
    min_share: float = 0.0

    @property
    def mean_field(self) -> dict[str, Any]:
        """Kernels and iterations, as `dense_crf` takes them."""
        return {name: value for name, value in asdict(self).items() if name not in ("confidence", "min_share")}

    def labels(self, labels: Tensor, volume: Tensor) -> Tensor:
        """CRF labels of the slices that hold a lesion, uint8 `(D, 1, H, W)`; the others are background.

        Args:
            labels: 0 background, k + 1 class k, uint8 `(D, 1, H, W)`.
            volume: preprocessed images `(D, C, H, W)`.
        """
        return label_crf(labels, unit_range(volume), **asdict(self))


class CRFStage(CachedStage):
    """Stage that thresholds maps and refines the labels by a dense CRF.

    Args:
        crf_confidence: probability that the CRF's unary term gives to a pixel's label.
        crf_sxy_gaussian: width of the smoothness kernel, mm.
        crf_weight_gaussian: its weight.
        crf_sxy_bilateral: spatial width of the appearance kernel, mm.
        crf_srgb: intensity width of the appearance kernel, on 0..255 from a volume's darkest to its brightest value.
        crf_weight_bilateral: its weight.
        crf_iterations: mean-field iterations.
        crf_min_share: number of a class's pixels in a slice over that of its given ones, at least; 0 leaves the CRF
            alone. See `ops.label_crf`.
        inside_body: drop lesion pixels in the air around the body, where the preprocessing looks for one.

    Widths are in pixels where the preprocessing knows no pixel size (`pixel_spacing: null`).
    """

    def __init__(
        self,
        crf_confidence: float,
        crf_sxy_gaussian: float,
        crf_weight_gaussian: float,
        crf_sxy_bilateral: float,
        crf_srgb: float,
        crf_weight_bilateral: float,
        crf_iterations: int,
        crf_min_share: float = 0.0,
        inside_body: bool = True,
        **place: Any,
    ) -> None:
        super().__init__(**place)
        if not 0 < crf_confidence < 1:
            raise ValueError(f"crf_confidence must be between 0 and 1, got {crf_confidence}")
        if not 0 <= crf_min_share <= 1:
            raise ValueError(f"crf_min_share must be from 0 to 1, got {crf_min_share}")
        self.inside_body = inside_body and self.preprocessing.inside_body
        spacing = self.preprocessing.parameters["pixel_spacing"] or 1.0  # mm a pixel
        self.crf = CRFLabels(
            confidence=crf_confidence,
            sxy_gaussian=crf_sxy_gaussian / spacing,
            weight_gaussian=crf_weight_gaussian,
            sxy_bilateral=crf_sxy_bilateral / spacing,
            srgb=crf_srgb,
            weight_bilateral=crf_weight_bilateral,
            iterations=crf_iterations,
            min_share=crf_min_share,
        )

    def thresholded(self, maps: Tensor, threshold: float | Sequence[float], volume: Tensor) -> Tensor:
        """Labels of maps `(D, K, H, W)` inside the body of `volume (D, C, H, W)`, uint8 `(D, 1, H, W)`."""
        labels = threshold_labels(maps, threshold)
        return labels * self.body(volume).to(labels.dtype) if bool(labels.any()) else labels

    def body(self, volume: Tensor) -> Tensor:
        """Where the body is, bool `(D, 1, H, W)`, of a volume `(D, C, H, W)`; everywhere if no body is looked for."""
        windowed = self.preprocessing.windows is not None
        return body_of(volume, windowed) if self.inside_body else torch.ones_like(volume[:, :1], dtype=torch.bool)


def unit_range(volume: Tensor) -> Tensor:
    """The volume on [0, 1] from its darkest to its brightest value, as `crf_srgb` is meant."""
    return (volume - volume.min()) / (volume.max() - volume.min()).clamp(min=1e-6)


def body_of(volume: Tensor, windowed: bool = False) -> Tensor:
    """Mask of the body, bool `(D, 1, H, W)`, of a volume `(D, C, H, W)`; in windows of CT that of the head.

    There Otsu's threshold would part bone from brain, and a skull that is open in a slice would lose the brain. But
    all outside the head is at the windows' lowest value.
    """
    head = volume.amax(dim=1, keepdim=True) > LOWEST + _RIM
    grey = head.float() if windowed else volume.mean(dim=1, keepdim=True)
    inside = body_mask(grey.movedim(0, -1)[None])  # (1, 1, H, W, D)
    return inside[0].movedim(-1, 0).bool()
