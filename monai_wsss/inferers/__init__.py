"""Ways to apply a network to an image."""

from monai_wsss.inferers.class_map_inferer import ClassMapInferer
from monai_wsss.inferers.gated_slice import GatedSliceInferer
from monai_wsss.inferers.multi_scale_cam import MultiScaleCAMInferer

__all__ = [
    "ClassMapInferer",
    "GatedSliceInferer",
    "MultiScaleCAMInferer",
]
