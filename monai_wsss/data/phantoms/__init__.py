"""Phantoms: generated studies that prove plumbing, never accuracy."""

from monai_wsss.data.phantoms.brain_mri import write_phantoms

__all__ = ["write_phantoms"]
