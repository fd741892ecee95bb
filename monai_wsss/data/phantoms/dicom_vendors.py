"""Three invented vendors, and the ways in which their files differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom import uid

from monai_wsss.data.phantoms.dicom_dataset import can_encode
from monai_wsss.data.phantoms.dicom_files import Storage

_OPTIONAL = ("SliceThickness", "SpacingBetweenSlices", "SliceLocation", "WindowCenter", "WindowWidth")


@dataclass(frozen=True)
class Vendor:
    """What a vendor's files have in common.

    Attributes:
        names: SeriesDescription by series.
        storage: by modality.
        oblique: whether slices are tilted along the skull base.
        layout: folders below DICOM of `{study}`, `{series}`, `{person}`, `{date}` and `{number}`.
        burned_in: BurnedInAnnotation; empty where the element is missing.
    """

    names: Mapping[str, str]
    storage: Mapping[str, Storage] = field(default_factory=dict)
    oblique: bool = False
    layout: str = "{study}/{series}"
    burned_in: str = "NO"


def _syntax(wanted: str) -> str:
    return wanted if can_encode(wanted) else str(uid.RLELossless)


_ALPHA = Vendor(
    names={
        "localizer": "localizer",
        "flair": "t2_flair_tra_dark-fl",
        "t1": "t1_se_tra",
        "t1 coronal": "t1_se_mpr_cor",
        "scout": "Topogram 0.6 T20f",
        "brain": "Brain thin 1.0 H31s",
        "bone": "Bone 1.0 H60s",
        "pa": "Thorax PA",
        "lateral": "Thorax lat",
    },
    storage={
        "MR": Storage(bits_stored=12, private="ALPHA HEADER"),
        "CT": Storage(bits_stored=12, intercept=-1024, private="ALPHA HEADER"),
        "DX": Storage(bits_stored=12),
    },
)

_BETA = Vendor(
    names={
        "localizer": "3-Plane Loc",
        "flair": "Ax T2 FLAIR",
        "t1": "Ax T1",
        "t1 coronal": "REFORMAT COR",
        "scout": "Scout",
        "brain": "BRAIN THIN",
        "bone": "BONE PLUS",
        "pa": "CHEST PA",
        "lateral": "CHEST LAT",
    },
    storage={
        "MR": Storage(uid.ImplicitVRLittleEndian, signed=True, reversed_numbers=True, missing=_OPTIONAL),
        "CT": Storage(uid.ImplicitVRLittleEndian, signed=True, reversed_numbers=True, padding=-2000, missing=_OPTIONAL),
        "DX": Storage(uid.ImplicitVRLittleEndian, bits_stored=12, inverted=True, missing=_OPTIONAL),
    },
    oblique=True,
    layout="{person}/{date}",  # all series of a study in one folder, and a name in the path
    burned_in="YES",
)

_GAMMA = Vendor(
    names={
        "localizer": "Survey",
        "flair": "FLAIR_longTR",
        "t1": "T1W_SE",
        "t1 coronal": "sT1W_MPR_cor",
        "scout": "Surview",
        "brain": "HEAD 1.0/Brain",
        "bone": "HEAD 1.0/Bone",
        "pa": "W Chest PA",
        "lateral": "W Chest LAT",
    },
    storage={
        "MR": Storage(_syntax(uid.JPEG2000Lossless), bits_stored=12, slope=1.25, multi_frame=True),
        "CT": Storage(uid.RLELossless, bits_stored=13, intercept=-1000, signed=True, private="GAMMA CT 01"),
        "DX": Storage(_syntax(uid.JPEGLSLossless), bits_stored=14, slope=0.5),
    },
    layout="PAT{number:05d}/ST{date}/SE{series}",
    burned_in="",
)

_VENDORS = {"Alpha Imaging": _ALPHA, "Beta Systems": _BETA, "Gamma Health": _GAMMA}


def vendor_of(manufacturer: str) -> Vendor:
    """Return the vendor by its name."""
    return _VENDORS[manufacturer]
