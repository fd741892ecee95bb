"""All kinds of phantoms by name."""

from __future__ import annotations

from monai_wsss.data.phantoms import brain_ct, brain_mri, pneumothorax, tuberculosis
from monai_wsss.data.phantoms.phantom import Draw, Lesions, Phantom, PhantomKind, ScannerSettings, Split

__all__ = ["PHANTOMS", "Draw", "Lesions", "Phantom", "PhantomKind", "ScannerSettings", "Split"]

PHANTOMS: dict[str, PhantomKind] = {
    kind.name: kind
    for kind in (
        PhantomKind("brain_mri", "lesion", "MR", brain_mri.draw, size=96, slices=10),
        PhantomKind("brain_ct", "haemorrhage", "CT", brain_ct.draw, size=96, slices=10),
        PhantomKind("cxr_pneumothorax", "pneumothorax", "DX", pneumothorax.draw, size=256, slices=1),
        PhantomKind("cxr_tuberculosis", "tuberculosis", "DX", tuberculosis.draw, size=256, slices=1),
    )
}
