"""Blocks that networks are built of."""

from monai_wsss.networks.blocks.drop_block import DropBlock
from monai_wsss.networks.blocks.unet_decoder import UNetDecoder
from monai_wsss.networks.blocks.unet_encoder import UNetEncoder
from monai_wsss.networks.blocks.up_block import UpBlock

__all__ = ["DropBlock", "UNetDecoder", "UNetEncoder", "UpBlock"]
