"""Write one phantom study the way its vendor would."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import uid

from monai_wsss.data.phantoms.dicom_clutter import write_report
from monai_wsss.data.phantoms.dicom_dataset import make_uid
from monai_wsss.data.phantoms.dicom_files import Instance, Storage, write_series
from monai_wsss.data.phantoms.dicom_plan import PlannedStudy
from monai_wsss.data.phantoms.dicom_series import PlannedSeries, burn_in, plan_series
from monai_wsss.data.phantoms.dicom_vendors import vendor_of
from monai_wsss.data.phantoms.phantom import Phantom

_SMALLEST_COMPRESSED = 32  # pixels; JPEG 2000 halves an image five times
_DESCRIPTIONS = {"MR": "MRI head", "CT": "CT head", "DX": "Chest X-ray"}


@dataclass
class StudyWriter:
    """Writes the series of one study below `export`/DICOM.

    Args:
        export: folder.
        study: what to write.
        phantom: its images.
        modality: MR, CT or DX.
        uid: StudyInstanceUID.
    """

    export: Path
    study: PlannedStudy
    phantom: Phantom
    modality: str
    uid: str

    def __post_init__(self) -> None:
        """Look up the vendor."""
        self.vendor = vendor_of(self.phantom.scanner.manufacturer)
        self.main_uid = ""  # SeriesInstanceUID of the main series, once written
        self._files = 0

    def write(self, report: str) -> list[Instance]:
        """Write all series, and in every fifth study `report` as a file; return the main series' slices in order."""
        main: list[Instance] = []
        for number, series in enumerate(plan_series(self.modality, self.phantom, self.study.patient), start=1):
            if series.main and self.study.fault == "aborted":
                continue
            series_uid = make_uid(self.uid, series.name)
            written = self._series(series, series_uid, number)
            if series.main:
                main, self.main_uid = written, series_uid
        if main and self.study.fault == "broken":
            file = main[len(main) // 2].file
            content = file.read_bytes()
            file.write_bytes(content[: len(content) * 2 // 3])
        if self.study.number % 5 == 0:
            write_report(self._folder(make_uid(self.uid, "report")) / "SR00001", self._tags(), report)
        return main

    def _series(self, series: PlannedSeries, series_uid: str, number: int) -> list[Instance]:
        name = self.vendor.names[series.name]
        tags = self._tags() | {
            "Modality": self.modality,
            "SeriesInstanceUID": series_uid,
            "SeriesNumber": number,
            "SeriesDescription": name,
            "ProtocolName": name,
            "ImageType": ["ORIGINAL", "PRIMARY"],
            **series.tags,
        }
        burned = self._burned_in(series)
        if burned:
            tags["BurnedInAnnotation"] = burned
        written: list[Instance] = []
        for array, affine in series.parts:
            values = np.asarray(array, dtype=float)
            if burned == "YES":
                values = burn_in(values, f"{self.study.person.name} {self.study.day}")
            storage = self._storage(values.shape)
            if storage.padding is not None and "LOCALIZER" not in tags["ImageType"]:
                values = np.where(_circle(values.shape), values, np.nan)
            folder, first = self._folder(series_uid), len(written) + 1
            file = first + (self._files if "{series}" not in self.vendor.layout else 0)
            written += write_series(folder, values, affine, tags, storage, first, file)
        self._files += len({instance.file for instance in written})
        return written

    def _storage(self, shape: tuple[int, ...]) -> Storage:
        storage = self.vendor.storage[self.modality]
        small = min(shape[:2]) < _SMALLEST_COMPRESSED and uid.UID(storage.transfer_syntax).is_compressed
        return replace(storage, transfer_syntax=uid.ExplicitVRLittleEndian) if small else storage

    def _burned_in(self, series: PlannedSeries) -> str:
        """BurnedInAnnotation: where a vendor's X-rays show a name, every other patient's do."""
        if self.vendor.burned_in == "YES":
            return "YES" if self.modality == "DX" and series.main and self.study.patient % 2 == 0 else "NO"
        return self.vendor.burned_in

    def _folder(self, series: str) -> Path:
        study = self.study
        path = self.vendor.layout.format(
            person=study.person.folder,
            date=f"{study.day:%Y%m%d}",
            number=study.patient,
            study=_short(self.uid),
            series=_short(series),
        )
        return self.export / "DICOM" / path

    def _tags(self) -> dict[str, Any]:
        study, person, scanner = self.study, self.study.person, self.phantom.scanner
        return {
            "PatientName": person.name,
            "PatientID": person.id,
            "PatientBirthDate": f"{person.born:%Y%m%d}",
            "PatientSex": person.sex,
            "PatientAge": f"{person.age(study.day):03d}Y",
            "StudyInstanceUID": self.uid,
            "FrameOfReferenceUID": make_uid(self.uid, "frame"),
            "StudyDate": f"{study.day:%Y%m%d}",
            "SeriesDate": f"{study.day:%Y%m%d}",
            "StudyTime": f"{8 + study.number % 10:02d}{study.number % 60:02d}00",
            "StudyID": str(study.number + 1),
            "AccessionNumber": study.accession,
            "StudyDescription": _DESCRIPTIONS[self.modality],
            "ReferringPhysicianName": "Beispiel^Doris",
            "InstitutionName": scanner.site,
            "Manufacturer": scanner.manufacturer,
            "ManufacturerModelName": scanner.model,
        }


def _short(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08X}"


def _circle(shape: tuple[int, ...]) -> np.ndarray:
    """Return the field of view of a CT: (W, H, 1), True inside."""
    x, y = (np.arange(n) - (n - 1) / 2 for n in shape[:2])
    return (np.hypot(x[:, None], y[None]) <= max(shape[:2]) / 2)[..., None]
