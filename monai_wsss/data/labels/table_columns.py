"""What the columns of a labels table are called, in the spellings that hospitals and public data sets use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from monai_wsss.data.labels.slice_key import find_slice_column
from monai_wsss.data.labels.table_text import listed, plain_name
from monai_wsss.errors import InputError

# Most specific first. ID stands for columns that may hold any of the others; it counts if there is no other.
KEYS = (
    "SOPInstanceUID",
    "file",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "AccessionNumber",
    "PatientID",
    "ID",
)
SPLIT_NAMES = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
# role -> names as `plain_name` gives them; of several columns of one role the first named here counts
_NAMES = {
    "SOPInstanceUID": "sopinstanceuid sopuid instanceuid imageuid objectuid",
    "file": "file filename filepath path image imageindex imagefile imagefilename imagepath imagename imageid img "
    "dicom dicomfile dicompath dicomid nifti niftifile datei dateiname dateipfad pfad bild bilddatei fichier archivo",
    "SeriesInstanceUID": "seriesinstanceuid seriesuid serieuid seriesid series serie",
    "StudyInstanceUID": "studyinstanceuid studyuid studieuid studyid study studie",
    "AccessionNumber": "accessionnumber accessionno accessionnr accessionid accession accno accnr acc "
    "anforderungsnummer anforderungsnr auftragsnummer auftragsnr untersuchungsnummer untersuchungsnr",
    "PatientID": "patientid patientenid patid pid patientnumber patientno patientennummer patientennr patientnr patnr "
    "patient mrn subjectid subject subjid participantid participant proband probandid probandennummer",
    "ID": "id identifier case caseid casenumber fall fallid fallnummer scan scanid exam examid pseudonym kennung",
    "split": "split partition subset set aufteilung",
    "site": "site hospital centre center institution institutionname clinic klinik krankenhaus standort zentrum",
    "date": "studydate examdate examinationdate scandate acquisitiondate seriesdate date untersuchungsdatum "
    "aufnahmedatum datum",
}
_PATIENT_FOLDER = re.compile(
    r"(?:(?:(?:patient|pat|subject|subj|proband|case)[-_ ]?|p(?=\d{4}))(?P<number>\d+)|sub-(?P<label>[a-z0-9]+))"
    r"(?=[._]|$)",
    re.IGNORECASE,
)
_STUDY_FOLDER = re.compile(r"(?:(?:study|studie|ses|exam)[-_ ]?|s(?=\d{4}))(?P<number>\d+)$", re.IGNORECASE)


def _find_roles(columns: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Return role (KEYS, split, site, date) -> column, and all columns whose name is that of a role."""
    by_name = {plain_name(column): column for column in reversed(list(columns))}
    roles = {role: [by_name[name] for name in names.split() if name in by_name] for role, names in _NAMES.items()}
    return {role: found[0] for role, found in roles.items() if found}, {c for found in roles.values() for c in found}


def key_names() -> set[str]:
    """Return the names of key columns, as `plain_name` gives them."""
    return {name for key in KEYS for name in _NAMES[key].split()}


def patient_folder(parts: Iterable[str]) -> str:
    """Return the last of `parts` that names a patient (patient00001, p10000032, BIDS sub-01), without what follows."""
    found = [match[0] for part in parts if (match := _PATIENT_FOLDER.match(part))]
    return found[-1] if found else ""


def patient_number(part: str) -> str:
    """Return what a folder such as patient00001 or sub-01 says without its prefix, or ""."""
    match = _PATIENT_FOLDER.match(part)
    return (match["number"] or match["label"]) if match else ""


def study_number(part: str) -> str:
    """Return what a folder such as s50414267 or study1 says without its prefix, or ""."""
    match = _STUDY_FOLDER.match(part)
    return match["number"] if match else ""


class Columns(NamedTuple):
    """The columns that are no classes: `keys` is key -> column, `reserved` are all that no class is guessed from."""

    keys: dict[str, str]
    split: str | None
    site: str | None
    date: str | None
    group: str | None
    slice: str | None
    slice_key: str
    reserved: set[str]

    @classmethod
    def find(
        cls,
        path: Path,
        frame: pd.DataFrame,
        classes: Sequence[str] | None,
        split_column: str | None,
        slice_key: str | None,
        group_column: str | None,
    ) -> Columns:
        """Find the columns by their names, without those of `classes`; the arguments are `read_labels_table`'s."""
        named = {plain_name(name) for name in classes or ()}
        others = [column for column in frame.columns if plain_name(column) not in named]
        roles, reserved = _find_roles(others)
        keys = {key: roles[key] for key in KEYS if key in roles}
        if len(keys) > 1 and "ID" in keys:  # beside a real key, "case" may as well mean case and control
            reserved.discard(keys.pop("ID"))
        if not keys:
            raise InputError(
                f"{path}: no key column; name one file, SeriesInstanceUID, StudyInstanceUID, AccessionNumber or "
                f"PatientID (found {listed(frame.columns)})"
            )
        split = _find_split_column(path, frame, roles.get("split"), split_column)
        group = None if group_column is None else find_column(path, frame, group_column, "group by")
        slice_, convention, slices = find_slice_column(path, others, slice_key, keys.get("SOPInstanceUID"))
        reserved |= slices | {column for column in (split, group) if column}
        return cls(keys, split, roles.get("site"), roles.get("date"), group, slice_, convention, reserved)


def find_column(path: Path, frame: pd.DataFrame, name: str, purpose: str) -> str:
    """Return the column that is called `name`, at least without case and punctuation, or raise an InputError."""
    for same in (str, str.casefold, plain_name):
        found = [column for column in frame.columns if same(column) == same(name)]
        if found:
            return found[0]
    raise InputError(f"{path}: no column {name!r} to {purpose} (found {listed(frame.columns)})")


def _find_split_column(path: Path, frame: pd.DataFrame, own: str | None, name: str | None) -> str | None:
    column = own if name is None else find_column(path, frame, name, "split by")
    if column is None:
        return None
    strange = frame.index[~frame[column].str.casefold().isin({*SPLIT_NAMES, ""})].tolist()
    if name is None:
        return column if not strange and (frame[column] != "").any() else None
    if strange:
        raise InputError(f"{path}: column {column!r} holds something else (line {strange[0]}); use train, val and test")
    return column
