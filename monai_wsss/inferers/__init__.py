"""Ways to apply a network to an image."""

from monai_wsss.inferers.gated_slice import GatedSliceInferer
from monai_wsss.inferers.multi_scale_cam import MultiScaleCAMInferer

__all__ = ["GatedSliceInferer", "MultiScaleCAMInferer"]
