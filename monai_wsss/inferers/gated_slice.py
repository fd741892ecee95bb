"""Slice-by-slice segmentation, gated by a slice classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import SliceInferer
from monai.utils import convert_to_tensor
from torch import Tensor, nn

from monai_wsss.inferers.multi_scale_segmenter import MultiScaleSegmenter

# Far below any logit, yet finite in float16, so that softmax and sigmoid stay free of NaN.
_NEVER = -1e4


class GatedSliceInferer(SliceInferer):
    """Segment a volume slice by slice and leave out the classes that the classifier does not see in a slice.

    Where ``sigmoid(classifier(slice))_k < threshold_k`` the logit of class k becomes ``background - 1e4`` (softmax
    head, K + 1 channels) or ``-1e4`` (sigmoid head, K channels). Slices are those of the last axis.

    Args:
        classifier: maps slices ``(B, C, H, W)`` to logits ``(B, K)``; set to evaluation mode and moved to the
            images' device. ``None``: no gating, the same as MONAI's ``SliceInferer``.
        threshold: least probability of a class that is present, one for all classes or one each.
        sw_batch_size: slices per forward pass of either network.
        scales: factors on a slice's size; the segmenter's logits are the mean over them. The classifier sees each slice
            once, as it is.
        flips: also take the logits of the mirrored slice, mirrored back, at every scale.
        flip_axis: axis of the slice that is mirrored, 0 or 1.
        mirror_classes: what a mirror image does to the classes, see :class:`MultiScaleSegmenter`; ``flips`` needs it.

    Raises:
        ValueError: if ``scales`` or ``mirror_classes`` is out of range, or ``flips`` lacks the latter.

    Attributes:
        probabilities: class probabilities ``(B, D, K)`` of the volume last segmented; None without a classifier.
    """

    def __init__(
        self,
        classifier: nn.Module | None = None,
        threshold: float | Sequence[float] = 0.5,
        sw_batch_size: int = 8,
        scales: Sequence[float] = (1.0,),
        flips: bool = False,
        flip_axis: int = 0,
        mirror_classes: Sequence[int] | None = None,  # MONAI's parser leaves out an argument that comes out as None
    ) -> None:
        super().__init__(spatial_dim=2, roi_size=(-1, -1), sw_batch_size=sw_batch_size)
        self.classifier = classifier
        self.threshold = threshold
        self.probabilities: Tensor | None = None
        self._views: dict[str, Any] = {
            "scales": scales,
            "flips": flips,
            "flip_axis": flip_axis,
            "mirror_classes": mirror_classes,
        }
        MultiScaleSegmenter(nn.Identity(), **self._views)  # refuses bad settings now, not at the first volume
        self._one_view = tuple(scales) == (1.0,) and not flips

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Gated logits ``(B, out, H, W, D)`` of volumes ``(B, C, H, W, D)``.

        Raises:
            TypeError: if the network gives anything but one tensor.
            ValueError: if the network's channels fit neither head.
        """
        if not self._one_view:
            network = MultiScaleSegmenter(network, **self._views)
        logits = super().__call__(inputs, network, *args, **kwargs)
        if not isinstance(logits, Tensor):
            raise TypeError(f"the network must give one tensor of logits, got {type(logits).__name__}.")
        if self.classifier is None:
            return logits
        self.probabilities = self.classify(inputs)
        return self.gate(logits, self.probabilities)

    @torch.no_grad()
    def classify(self, inputs: Tensor) -> Tensor:
        """Probability of each class in each slice.

        Args:
            inputs: volumes ``(B, C, H, W, D)``.

        Returns:
            Probabilities ``(B, D, K)``, float32.

        Raises:
            ValueError: if there is no classifier.
        """
        if self.classifier is None:
            raise ValueError("classify needs a classifier; none was given.")
        classifier = self.classifier.to(inputs.device).eval()
        slices = convert_to_tensor(inputs).movedim(-1, 1)  # (B, D, C, H, W)
        logits = [
            torch.cat([classifier(batch).float() for batch in volume.split(self.sw_batch_size)]) for volume in slices
        ]
        return torch.stack(logits).sigmoid()

    def gate(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Logits without the classes that are absent.

        Args:
            logits: ``(B, K + 1 or K, H, W, D)``, channel 0 being background in the first case.
            probabilities: ``(B, D, K)``.

        Raises:
            ValueError: if the channels are neither K + 1 nor K, or the thresholds neither 1 nor K.
        """
        classes, channels = probabilities.shape[-1], logits.shape[1]
        if channels not in (classes, classes + 1):
            raise ValueError(
                f"the network gives {channels} channels; {classes} classes need {classes} (sigmoid) "
                f"or {classes + 1} (softmax)."
            )
        threshold = torch.as_tensor(self.threshold, device=probabilities.device)
        if threshold.numel() not in (1, classes):
            raise ValueError(f"threshold must be one value or one for each of {classes} classes, got {self.threshold}.")
        absent = probabilities < threshold
        absent = absent.movedim(1, -1)[:, :, None, None, :].to(logits.device)  # (B, K, 1, 1, D)
        if channels == classes:
            return logits.masked_fill(absent, _NEVER)
        background = logits[:, :1]
        return torch.cat([background, torch.where(absent, background + _NEVER, logits[:, 1:])], dim=1)
