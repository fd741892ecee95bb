"""Phantoms: generated studies that prove plumbing, never accuracy."""

from monai_wsss.data.phantoms.kinds import PHANTOMS
from monai_wsss.data.phantoms.phantom import Phantom, PhantomKind, ScannerSettings
from monai_wsss.data.phantoms.write import write_phantoms

__all__ = ["PHANTOMS", "Phantom", "PhantomKind", "ScannerSettings", "write_phantoms"]
