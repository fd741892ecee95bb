"""How long `scan` takes, and how much memory, on many generated DICOM headers."""

import resource
import time
from pathlib import Path
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset

from monai_wsss.data.phantoms.dicom_dataset import write_dataset
from monai_wsss.data.scan import scan

_SLICES = 40  # of a series
_PRIVATE_BYTES = 4096  # as vendors add them


def scan_timing(folder: Path, files: int = 10_000, workers: int | None = None) -> dict[str, Any]:
    """Write `files` tiny MR slices to `folder` where they are not there yet, scan them, and return what it cost.

    Memory is the largest resident set of this process, in MB, on Linux.
    """
    for number in range(files):
        series, k = divmod(number, _SLICES)
        path = folder / f"P{series:05d}" / f"IM{k:04d}"
        if not path.exists():
            write_dataset(path, _slice(series, k))
    before, start, cpu = _peak_megabytes(), time.perf_counter(), time.process_time()
    report = scan(folder, workers=workers)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "files": files,
        "volumes": sum(not series.problem for series in report.series),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "megabytes_before": before,
        "megabytes": _peak_megabytes(),
    }


def _peak_megabytes() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _slice(series: int, k: int) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.Modality = uid.MRImageStorage, "MR"
    data.SOPInstanceUID, data.SeriesInstanceUID, data.StudyInstanceUID = (
        f"1.2.{series}.{k}",
        f"1.3.{series}",
        f"1.4.{series}",
    )
    data.PatientName, data.PatientID, data.AccessionNumber = f"Phantom^{series}", f"P{series}", f"A{series}"
    data.StudyDate, data.SeriesDescription, data.ProtocolName = "20200101", "t2 flair ax", "head"
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    data.EchoTime, data.RepetitionTime, data.SliceThickness, data.InstanceNumber = 90, 9000, 4, k + 1
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 4 * k], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.Rows, data.Columns, data.SamplesPerPixel = [1, 1], 8, 8, 1
    data.PhotometricInterpretation, data.BitsAllocated, data.BitsStored, data.HighBit = "MONOCHROME2", 16, 12, 11
    data.PixelRepresentation = 0
    data.private_block(0x0029, "PHANTOM", create=True).add_new(0x10, "OB", bytes(_PRIVATE_BYTES))
    data.PixelData = bytes(128)
    data["PixelData"].VR = "OW"
    return data
