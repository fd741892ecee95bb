"""From class maps to labels: threshold, body mask and dense CRF, as several stages need them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from monai_wsss.ops import body_mask, dense_crf, label_unary, threshold_labels
from monai_wsss.transforms.window_hu import LOWEST
from monai_wsss.workflow.cached_stage import CachedStage

_MOST_BONUS, _HALVINGS = 6.0, 6  # log-odds: of one in four hundred, to a tenth
_RIM = 0.1  # of the 4 that a window spans; resampling spreads the head's edge over a pixel


@dataclass(frozen=True)
class CRFLabels:
    """Refines labels by a dense CRF whose unary term trusts each given label by `confidence`.

    A CRF that asks for like neighbours wipes small or thin masks out, though the image-level label says that there is
    a lesion. With `min_share` s > 0, where a class of a slice has less than s times the number of its given pixels,
    its unary term gets a bonus b > 0 (log-odds) within `sxy_bilateral` of them. b is found by bisection of 0 to 6: the
    least, to 0.1, with which all classes of the slice have enough. If none is, the slice's given labels stay.

    Args:
        confidence: probability of a pixel's given label in the unary term.
        sxy_gaussian: width of the smoothness kernel, pixels.
        weight_gaussian: its weight.
        sxy_bilateral: spatial width of the appearance kernel, pixels.
        srgb: intensity width of the appearance kernel, on 0..255 from a volume's darkest to its brightest value.
        weight_bilateral: its weight.
        iterations: mean-field iterations.
        min_share: s, number of a class's pixels over that of its given ones, 0 to 1; 0 leaves the CRF alone.
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

        Only the labels present in a slice enter its CRF.

        Args:
            labels: 0 background, k + 1 class k, uint8 `(D, 1, H, W)`.
            volume: preprocessed images `(D, C, H, W)`.
        """
        image = unit_range(volume)
        masks = torch.zeros_like(labels)
        for index in labels.flatten(1).any(dim=1).nonzero().flatten().tolist():
            present = torch.unique(torch.cat([torch.zeros(1, dtype=labels.dtype), labels[index].flatten()]))
            compact = torch.searchsorted(present, labels[index])
            masks[index] = present[self._refined(compact, image[index : index + 1])]
        return masks

    def _refined(self, given: Tensor, image: Tensor) -> Tensor:
        """CRF labels of a slice `(1, H, W)` with labels 0..L-1, each of them somewhere."""
        wanted = self.min_share * torch.bincount(given.flatten())[1:]

        def found(bonus: Tensor | None = None) -> tuple[Tensor, Tensor]:
            labels = self._posterior(given, image, bonus).argmax(dim=1)
            return labels, torch.bincount(labels.flatten(), minlength=len(wanted) + 1)[1:] >= wanted

        labels, enough = found()
        if bool(enough.all()):
            return labels
        near = torch.zeros(len(wanted) + 1, *given.shape[1:])
        for label in (~enough).nonzero().flatten() + 1:  # a class that has enough must not grow
            near[label] = _within(given[0] == label, self.sxy_bilateral)
        best, low, high = given, 0.0, _MOST_BONUS
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            labels, enough = found(middle * near)
            if bool(enough.all()):
                best, high = labels, middle
            else:
                low = middle
        return best

    def _posterior(self, given: Tensor, image: Tensor, bonus: Tensor | None) -> Tensor:
        unary = label_unary(given.to(torch.uint8)[None], int(given.max()) + 1, self.confidence)
        if bonus is not None:
            unary = (unary.log() + bonus).softmax(dim=1)
        return dense_crf(unary, image, **self.mean_field)


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
            alone. See `CRFLabels`.
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


def _within(mask: Tensor, distance: float) -> Tensor:
    """Pixels of a slice `(H, W)` at most `distance` from a mask."""
    return torch.from_numpy(distance_transform_edt(~mask.numpy()) <= distance)


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
