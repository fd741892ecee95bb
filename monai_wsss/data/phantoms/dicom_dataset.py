"""Write one DICOM file whose bytes depend on its content alone; runs on pydicom 2.4 and 3."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from monai_wsss.data.atomic import atomic_path

try:
    from pydicom.pixels import get_encoder
except ImportError:  # pydicom 2.4
    from pydicom.encoders import get_encoder  # type: ignore[no-redef]

_UNCOMPRESSED = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian)


def make_uid(*parts: object) -> str:
    """Return a valid UID that depends on the parts alone."""
    return str(uid.generate_uid(entropy_srcs=["/".join(map(str, parts))]))


def decimal(value: float) -> str:
    """Return a decimal string of at most 16 characters, as DICOM wants it."""
    return f"{round(float(value), 9) + 0.0:.10g}"


def can_encode(transfer_syntax: str) -> bool:
    """Whether the installed pydicom and its plugins can write this transfer syntax."""
    if transfer_syntax in _UNCOMPRESSED:
        return True
    try:
        return bool(get_encoder(uid.UID(transfer_syntax)).is_available)
    except NotImplementedError:
        return False


@contextmanager
def _quiet_openjpeg() -> Iterator[None]:
    """Its encoder logs each tile."""
    logger = logging.getLogger("openjpeg")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def write_dataset(path: Path, data: Dataset, transfer_syntax: str = uid.ExplicitVRLittleEndian) -> None:
    """Write `data` with preamble and file meta information, compressed if the transfer syntax is.

    Args:
        path: replaced whole.
        data: with SOPClassUID, SOPInstanceUID and, if there are pixels, uncompressed PixelData.
        transfer_syntax: one that `can_encode` accepts.
    """
    compress = transfer_syntax not in _UNCOMPRESSED
    instance = data.SOPInstanceUID
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # pydicom puts the right one
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, instance
    meta.TransferSyntaxUID = uid.UID(uid.ExplicitVRLittleEndian if compress else transfer_syntax)
    meta.ImplementationClassUID = uid.UID(make_uid("monai_wsss phantoms"))
    meta.ImplementationVersionName = "PHANTOM"
    implicit = meta.TransferSyntaxUID.is_implicit_VR
    file = FileDataset(path, data, preamble=b"\0" * 128, file_meta=meta, is_implicit_VR=implicit)
    if compress:
        with _quiet_openjpeg():
            file.compress(uid.UID(transfer_syntax))
        meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = instance  # pydicom 3 draws a new one
    with atomic_path(path) as part:
        file.save_as(part)
