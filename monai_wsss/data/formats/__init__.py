from monai_wsss.data.formats.coco import read_coco
from monai_wsss.data.formats.head_ct import read_head_ct
from monai_wsss.data.formats.native_format import NativeData, NativeFormat
from monai_wsss.data.formats.siim_acr import read_siim_acr
from monai_wsss.data.formats.tb_cxr import read_tb_cxr
from monai_wsss.data.formats.voc import read_voc

__all__ = ["FORMATS", "NativeData", "NativeFormat"]

FORMATS: dict[str, NativeFormat] = {
    "siim-acr": read_siim_acr,
    "voc": read_voc,
    "coco": read_coco,
    "tb-cxr": read_tb_cxr,
    "head-ct": read_head_ct,
}
"""Public data sets by the name that `prepare --format` gives them."""
