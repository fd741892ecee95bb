"""Encoders of segmenters; importing this package registers them with MONAI's FlexibleUNet."""

from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE

from monai_wsss.networks.encoders.atrous_resnet import AtrousResNet
from monai_wsss.networks.encoders.projected_resnet import ProjectedResNetEncoder
from monai_wsss.networks.encoders.se_resnext import SEResNeXtEncoder

FLEXUNET_BACKBONE.register_class(ProjectedResNetEncoder)
FLEXUNET_BACKBONE.register_class(SEResNeXtEncoder)

__all__ = ["AtrousResNet", "ProjectedResNetEncoder", "SEResNeXtEncoder"]
