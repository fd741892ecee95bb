"""Tiny MR series as DICOM, for tests of `prepare`."""

import numpy as np

from monai_wsss.data.phantoms.dicom_files import write_series
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.prepare import prepare

GRID = GridPreprocessing(size=(32, 32))
AFFINE = np.diag([-1.0, -1.0, 5.0, 1.0])


def head(seed, depth=3):
    array = np.zeros((24, 20, depth))
    array[4:20, 4:16] = np.random.default_rng(seed).integers(100, 200, (16, 12, depth))
    return array


def patient_tags(i):
    return {
        "Modality": "MR",
        "PatientID": f"00{100 + i}",
        "PatientName": f"Doe^{i}",
        "AccessionNumber": f"000{700 + i}",
        "StudyInstanceUID": f"1.2.3.{i}",
        "StudyDate": f"202401{10 + i}",
        "Manufacturer": "Acme" if i % 2 else "Other",
    }


def few(tmp_path, patients=6, **tags_of):
    """A small export with one FLAIR a patient and a table; `tags_of` change the tags of patient i."""
    rows = ["SeriesInstanceUID,PatientID,site,split,lesion"]
    for i in range(patients):
        tags = patient_tags(i) | {"SeriesInstanceUID": f"1.2.{i}", "StudyInstanceUID": f"1.3.{i}", "PatientID": f"P{i}"}
        write_series(tmp_path / "in" / f"s{i}", head(i), AFFINE, tags | {k: f(i) for k, f in tags_of.items()})
        rows.append(f"1.2.{i},P{i},{'north' if i % 2 else 'south'},{('train', 'val', 'test')[i % 3]},{int(i > 2)}")
    (tmp_path / "labels.csv").write_text("\n".join([*rows, ""]))
    return lambda **options: prepare(
        tmp_path / "in", tmp_path / "labels.csv", tmp_path / "out", **{"preprocessing": GRID} | options
    )
