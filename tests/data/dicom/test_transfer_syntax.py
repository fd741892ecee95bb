import pydicom
import pytest
from pydicom import uid

from monai_wsss.data.dicom.transfer_syntax import UNKNOWN, is_native, syntax_name, syntax_problem


@pytest.mark.parametrize(
    ("syntax", "name", "read", "native"),
    [
        (uid.ImplicitVRLittleEndian, "Implicit VR", True, True),
        (uid.ExplicitVRBigEndian, "Explicit VR Big Endian", True, True),
        (uid.DeflatedExplicitVRLittleEndian, "Deflated", True, False),
        (uid.JPEGBaseline8Bit, "JPEG Baseline", True, False),
        (uid.JPEGLosslessSV1, "JPEG Lossless SV1", True, False),
        (uid.JPEGLSLossless, "JPEG-LS Lossless", True, False),
        (uid.JPEG2000, "JPEG 2000", True, False),
        ("1.2.840.10008.1.2.4.201", "HTJ2K Lossless", True, False),
        (uid.RLELossless, "RLE", True, False),
        (uid.MPEG2MPML, "MPEG-2 video", False, False),
        ("1.2.840.10008.1.2.4.110", "JPEG XL", False, False),
        ("1.2.3", UNKNOWN, False, False),
        ("", UNKNOWN, False, False),
    ],
)
def test_names(syntax, name, read, native):
    assert syntax_name(syntax) == name
    assert (syntax_problem(name) == "") == read and is_native(name) == native


def test_every_syntax_of_the_standard_has_a_name():
    """Those for single pixels apart: SMPTE streams, RFC 2557, XML."""
    for syntax, entry in pydicom.uid.UID_dictionary.items():
        if entry[1] == "Transfer Syntax" and "Retired" not in entry[3] and "SMPTE" not in entry[0]:
            name = syntax_name(syntax)
            assert name != UNKNOWN or not any(word in entry[0] for word in ("JPEG", "MPEG", "HEVC", "RLE", "VR")), entry
