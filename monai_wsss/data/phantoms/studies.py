"""Phantom studies as a hospital hands them over: a PACS export and a secretary's spreadsheet."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_wsss.data.atomic import atomic_path
from monai_wsss.data.phantoms.dicom_clutter import write_clutter
from monai_wsss.data.phantoms.dicom_dataset import make_uid
from monai_wsss.data.phantoms.dicom_plan import PlannedStudy, plan_studies
from monai_wsss.data.phantoms.dicom_series import tilt
from monai_wsss.data.phantoms.dicom_sheets import write_workbook
from monai_wsss.data.phantoms.dicom_study import StudyWriter
from monai_wsss.data.phantoms.dicom_vendors import vendor_of
from monai_wsss.data.phantoms.kinds import PHANTOMS
from monai_wsss.data.phantoms.phantom import Lesions, Phantom

# A rule that picks the series which the labels speak of, whatever the vendor calls it.
SERIES_RULES = {"MR": "SeriesDescription~flair", "CT": "SeriesDescription~brain", "DX": "SeriesDescription~PA"}

_KEYS = ("PatientID", "SeriesInstanceUID", "SOPInstanceUID", "InstanceNumber")


def write_studies(
    out: Path,
    kind: str = "brain_mri",
    patients: int = 40,
    size: int | None = None,
    slices: int | None = None,
    seed: int = 0,
    lesions: Lesions = "usual",
) -> Path:
    """Write phantoms as DICOM studies with clutter, two tables of labels and true masks; equal arguments, equal bytes.

    Every patient has one good study; patients 4, 14, 24, ... have a second one. Patient 0 also has an aborted study
    without the main series (FLAIR, thin brain CT, frontal X-ray), patient 1 one whose main series has a file cut short.

    Args:
        out: folder for export/ (what the PACS gave), labels.xlsx (one row a study: yes, no, possible or blank, and
            accession numbers without their leading zeros), slice_labels.csv (one row a slice of the main series, with
            the patient's split; InstanceNumber is the frame's number in a multi-frame object) and
            masks/<SeriesInstanceUID>.nii.gz.
        kind: a name in `PHANTOMS`.
        patients: at least 3; about 70 / 10 / 20 % train / val / test, one in four without a lesion.
        size: pixels in a row and a column, at least 32; patients 1, 4, 7, ... have a sixth more. None: the kind's own.
        slices: of the main series, at least 1. None: the kind's own.
        seed: non-negative.
        lesions: "usual", "tiny" or "scattered".

    Returns:
        `out`.

    Raises:
        ValueError: an argument is out of range.
    """
    if kind not in PHANTOMS:
        raise ValueError(f"write_studies knows the kinds {', '.join(PHANTOMS)}, not {kind!r}")
    chosen = PHANTOMS[kind]
    size, slices = size or chosen.size, slices or chosen.slices
    if patients < 3 or size < 32 or slices < 1:
        raise ValueError("write_studies needs patients >= 3, size >= 32 and slices >= 1")
    studies: list[list[object]] = []
    images: list[list[object]] = []
    for study in plan_studies(patients, seed):
        image_rng, rng = np.random.default_rng([seed, study.patient, study.visit]).spawn(2)
        matrix = round(size * 7 / 6) if study.patient % 3 == 1 else size
        phantom = chosen.draw(image_rng, study.split, study.diseased, matrix, slices, lesions)
        if chosen.modality == "MR" and vendor_of(phantom.scanner.manufacturer).oblique:
            phantom = replace(phantom, affine=tilt(phantom.affine, rng.uniform(4, 14)))
        row = _report(study, phantom, chosen.label, rng)
        studies.append(row)
        root = (kind, seed, patients, size, slices, lesions)
        writer = StudyWriter(out / "export", study, phantom, chosen.modality, make_uid(*root, study.number))
        for k, image in enumerate(writer.write(str(row[-1]))):
            keys = (study.person.id, writer.main_uid, image.uid, image.frame or image.number)
            images.append([*keys, phantom.scanner.site, study.split, int(phantom.mask[..., k].any())])
        if not study.fault:
            affine = phantom.affine.copy()
            if chosen.modality == "DX":
                affine[:3, 3] = 0  # a film has no place in the patient, readers start at the origin
            _write_mask(out / "masks" / f"{writer.main_uid}.nii.gz", phantom.mask, affine)
    write_clutter(out / "export")
    header = ("Name", "Accession number", "Date", "sex", "age", "site", chosen.label, "Report")
    write_workbook(out / "labels.xlsx", header, studies)
    with atomic_path(out / "slice_labels.csv") as part, part.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows([(*_KEYS, "site", "split", chosen.label), *images])
    return out


def _report(study: PlannedStudy, phantom: Phantom, label: str, rng: np.random.Generator) -> list[object]:
    """Return a row of the spreadsheet: some labels are doubtful or left out, none is wrong."""
    present, chance = bool(phantom.mask.any()), rng.uniform()
    value, text = ("yes", f"{label.capitalize()} seen.") if present else ("no", f"No {label}.")
    if study.fault == "aborted":
        value, text = "", "Examination aborted."
    elif chance < 0.1:
        value, text = "possible", f"{label.capitalize()} cannot be excluded."
    elif chance < 0.15:
        value, text = "", "Report to follow."
    person = study.person
    name = person.name.replace("^", ", ")
    age = person.age(study.day)
    return [name, int(study.accession), study.day, person.sex, age, phantom.scanner.site, value, text]


def _write_mask(path: Path, mask: np.ndarray, affine: np.ndarray) -> None:
    nifti = nib.Nifti1Image(mask, affine)
    nifti.header.set_xyzt_units("mm")
    with atomic_path(path) as part:
        nib.save(nifti, part)
