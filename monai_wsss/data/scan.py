"""Look through a folder of hospital files: what is there, and what of it can be used."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from monai_wsss.data.atomic import write_json
from monai_wsss.data.clear_names import place_of
from monai_wsss.data.dicom.clean_text import clean_description
from monai_wsss.data.dicom.series import Series
from monai_wsss.data.discovery import Found, is_harmless, search
from monai_wsss.data.pseudonyms import Pseudonyms
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.volume import SeriesTags, Volume, VolumeHeader

_VERSION = 1


@dataclass(frozen=True)
class ScannedSeries:
    """One volume, or slices that make none; nothing in it tells who the patient is.

    Attributes:
        patient, study, series, file: pseudonyms; empty where there is no such thing.
        kind: nifti, picture or dicom.
        series_description, protocol, study_description: cleaned.
        part: which part of a series that was split.
        slices: number; for an unusable series the number of its images.
        shape: columns, rows, slices; None if unusable.
        spacing: mm; None if unknown.
        megabytes: size of the files.
        problem: why it cannot be used; empty if it can.
    """

    patient: str
    study: str
    series: str
    file: str
    kind: str
    modality: str
    series_description: str
    protocol: str
    study_description: str
    part: str
    plane: str
    slices: int
    shape: tuple[int, ...] | None
    spacing: tuple[float, ...] | None
    transfer_syntax: str
    image_type: str
    body_part: str
    manufacturer: str
    model: str
    burned_in: str
    files: int
    megabytes: float
    problem: str = ""

    @property
    def description(self) -> str:
        """What the series is called."""
        return self.series_description or self.protocol


@dataclass
class ScanReport:
    """What a folder holds; see `lines` and `to_json`.

    Attributes:
        series: volumes and unusable series, in the order of their paths.
        skipped: other files that look like images and cannot be used; `file` is a pseudonym.
        ignored: number of files that are no images, by kind.
        clear: whether patients and files go by their names in place of pseudonyms.
    """

    series: list[ScannedSeries] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    clear: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything that looks like an image can be used."""
        return not any(series.problem for series in self.series) and all(is_harmless(item) for item in self.skipped)

    def lines(self) -> list[str]:
        """Return the report as text."""
        from monai_wsss.data.scan_lines import scan_lines

        return scan_lines(self)

    def to_json(self) -> dict[str, Any]:
        """Return the whole report."""
        return {
            "version": _VERSION,
            "series": [asdict(series) for series in self.series],
            "skipped": [item._asdict() for item in self.skipped],
            "ignored": dict(self.ignored),
        }


def scan(
    folder: str | Path,
    json_file: str | Path | None = None,
    names: Pseudonyms | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ScanReport:
    """List what lies under a folder, from headers alone.

    Args:
        folder: any tree of DICOM files, NIfTI volumes and pictures, or one file.
        json_file: the whole report is written here.
        names: pseudonyms of patients, studies, series and files; None draws a key that nobody keeps, so that hashes
            tell only what belongs together.
        workers: threads that read headers; None chooses.
        progress: called now and then with the number of headers read.

    Raises:
        InputError: no such folder, or nothing in it that could be read.
    """
    folder = Path(folder)
    names = names or Pseudonyms(secrets.token_bytes(32))
    found = search(folder, workers=workers, progress=progress)
    base = (folder.parent if folder.is_file() else folder).absolute()
    report = ScanReport(
        [series for _, series in sorted(_scanned(found, base, names), key=lambda entry: entry[0])],
        [Skipped(_name(Path(item.file), base, names), item.reason) for item in found.skipped],
        found.ignored,
        names.keeps_names,
    )
    if json_file is not None:
        write_json(json_file, report.to_json())
    return report


def _scanned(found: Found, base: Path, names: Pseudonyms) -> list[tuple[tuple[Any, ...], ScannedSeries]]:
    """Return each series after its place in the order."""
    entries: list[Volume | Series] = [*found.volumes, *found.unusable]
    return [((entry.files[0].absolute(), entry.frames or ()), _describe(entry, base, names)) for entry in entries]


def _describe(entry: Volume | Series, base: Path, names: Pseudonyms) -> ScannedSeries:
    tags = entry.tags or SeriesTags()
    header: VolumeHeader | None = entry.header
    kind = entry.kind if isinstance(entry, Volume) else "dicom"

    def pseudonym(uid: str) -> str:
        return names.file(uid) if uid else ""

    return ScannedSeries(
        patient=names.patient(tags.patient) if tags.patient else "",
        study=pseudonym(tags.study),
        series=pseudonym(tags.series),
        file=_name(place_of(entry.files), base, names),
        kind=kind,
        modality=clean_description(tags.modality),
        series_description=tags.series_description,
        protocol=tags.protocol,
        study_description=tags.study_description,
        part=clean_description(tags.part),
        plane=tags.plane,
        slices=header.shape[2] if header else len(entry.frames or entry.files),
        shape=header.shape if header else None,
        spacing=header.spacing if header and header.spacing_known else None,
        transfer_syntax=tags.transfer_syntax,
        image_type=clean_description(tags.image_type),
        body_part=tags.body_part,
        manufacturer=tags.manufacturer,
        model=tags.model,
        burned_in=tags.burned_in,
        files=len(entry.files),
        megabytes=round(entry.bytes / 1e6, 3),
        problem="" if isinstance(entry, Volume) else entry.problem,
    )


def _name(path: Path, base: Path, names: Pseudonyms) -> str:
    return names.below(path.absolute(), base)
