"""What else lies in an export: an index, a viewer, thumbnails, reports, an empty file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from monai_wsss.data.atomic import atomic_path
from monai_wsss.data.phantoms.dicom_dataset import make_uid, write_dataset


def write_clutter(export: Path) -> None:
    """Write files that hold no image to `export`, as a portable medium has them."""
    index = Dataset()
    index.SOPClassUID, index.SOPInstanceUID = uid.MediaStorageDirectoryStorage, make_uid("index")
    index.FileSetID = "EXPORT"
    index.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    index.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    index.FileSetConsistencyFlag = 0
    index.DirectoryRecordSequence = Sequence()
    write_dataset(export / "DICOMDIR", index)
    for name, content in (
        ("VIEWER/viewer.exe", b"MZ" + bytes(254)),
        ("VIEWER/readme.txt", b"Start viewer.exe to see the images.\r\n"),
        ("autorun.inf", b"[autorun]\r\nopen=VIEWER\\viewer.exe\r\n"),
        ("DICOM/Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)),
        ("DICOM/IM00000", b""),
    ):
        with atomic_path(export / name) as part:
            part.write_bytes(content)


def write_report(path: Path, tags: Mapping[str, Any], text: str) -> None:
    """Write a structured report of a study: a DICOM file without pixels.

    Args:
        path: of the file.
        tags: of the patient and the study.
        text: of the report.
    """
    name, item, report = Dataset(), Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "121071", "DCM", "Finding"
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    item.ConceptNameCodeSequence = Sequence([name])
    report.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in tags.items():
        setattr(report, keyword, value)
    report.Modality, report.SeriesDescription, report.InstanceNumber = "SR", "Report", 1
    report.SOPClassUID = uid.BasicTextSRStorage
    report.SeriesInstanceUID = make_uid(report.StudyInstanceUID, "report")
    report.SOPInstanceUID = make_uid(report.SeriesInstanceUID, 1)
    report.ValueType, report.CompletionFlag, report.VerificationFlag = "CONTAINER", "COMPLETE", "UNVERIFIED"
    report.ContentSequence = Sequence([item])
    write_dataset(path, report)
