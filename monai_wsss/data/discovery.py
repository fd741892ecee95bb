"""Find the volumes under a folder: NIfTI files, pictures, and DICOM series under whatever names their files have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_wsss.data.archives import is_archive
from monai_wsss.data.clear_names import SUFFIXES, file_names, place_of, series_names, stem_of, unique_names
from monai_wsss.data.dicom.headers import NO_DICOM, read_headers
from monai_wsss.data.dicom.object_kinds import DICOMDIR
from monai_wsss.data.dicom.series import Series, group_series
from monai_wsss.data.nifti import read_nifti_header
from monai_wsss.data.picture import PICTURE_SUFFIXES, read_picture_header
from monai_wsss.data.skipped import Skipped, reason_of
from monai_wsss.data.tree import walk_files
from monai_wsss.data.volume import Volume, VolumeHeader
from monai_wsss.errors import InputError

__all__ = ["SUFFIXES", "Found", "find_volumes", "is_harmless", "search", "stem_of"]

_Entry = tuple["Volume | None", "tuple[str, ...]"]  # None: no volume, but its names are taken

COPY = "a copy of another file of its series"
ARCHIVE = "an archive; unpack it first"
_NO_IMAGE = (", no image", ", no volume", ", no slice", " without an image")
_PROGRAMS = frozenset({".exe", ".dll", ".jar", ".inf", ".js", ".css", ".so", ".dylib"})


@dataclass
class Found:
    """What lies under a folder.

    Attributes:
        volumes: the usable ones, in the order of their paths.
        unusable: DICOM series that make no volume and should.
        skipped: what else looks like an image, and why it is none that can be used.
        ignored: number of files that are no images, by kind.
    """

    volumes: list[Volume] = field(default_factory=list)
    unusable: list[Series] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def find_volumes(
    root: str | Path,
    exclude: Sequence[str | Path] = (),
    resample: bool = False,
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> tuple[list[Volume], list[Skipped]]:
    """Find all volumes under `root`, in the order of their paths, and check their headers.

    A case takes its file's stem as name; where several files share a stem, the folders join it (`folder__stem`). A
    DICOM series of several files takes its folder's path if it is alone there, else its SeriesInstanceUID and part.

    Args:
        root: folder, or one file.
        exclude: folders below `root` to leave out (true masks, the output). Hidden files and folders are left out.
        resample: take DICOM series with gaps, uneven spacing or tilt, to be resampled when they are read.
        progress: called now and then with the number of headers read.
        workers: see `read_headers`.

    Returns:
        The usable volumes; and the files, or folders of a series, that are none, with reasons: see `is_harmless`.

    Raises:
        InputError: if `root` is missing or holds nothing that could be read.
    """
    found = search(root, exclude, resample, progress, workers)
    unusable = [Skipped(str(place_of(series.files)), reason_unusable(series)) for series in found.unusable]
    return found.volumes, sorted([*found.skipped, *unusable])


def reason_unusable(series: Series) -> str:
    """Return why a series makes no volume, with its part if it has several."""
    return f"{series.tags.part}: {series.problem}" if series.tags.part else series.problem


def is_harmless(skipped: Skipped) -> bool:
    """Whether leaving this out is no loss: DICOM objects other than images, screenshots, copies."""
    return skipped.reason == COPY or skipped.reason.endswith(_NO_IMAGE)


def search(
    root: str | Path,
    exclude: Sequence[str | Path] = (),
    resample: bool = False,
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> Found:
    """Return everything that lies under `root`; arguments and errors as of `find_volumes`."""
    root = Path(root)
    if not root.exists():
        raise InputError(f"{root}: no such file or folder")
    base = root.parent if root.is_file() else root
    left_out = [folder for folder in (Path(f).resolve() for f in exclude) if base.resolve() in folder.parents]
    files = [root] if root.is_file() else sorted(walk_files(root, left_out))
    niftis = [file for file in files if file.name.lower().endswith(SUFFIXES)]
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    known = {*niftis, *pictures}
    others = [file for file in files if file not in known]

    found, entries = Found(), list[_Entry]()
    entries += _dicom_entries(others, base, resample, progress, workers, found)
    if entries or found.unusable:
        viewers = {file.parent for file in others if file.suffix.lower() in _PROGRAMS}
        icons = {file for file in pictures if not viewers.isdisjoint(file.parents)}
        found.ignored["picture of a viewer"] += len(icons)
        pictures = [file for file in pictures if file not in icons]
    entries += [_file_entry(file, base, "nifti", read_nifti_header, found) for file in niftis]
    entries += [_file_entry(file, base, "picture", read_picture_header, found) for file in pictures]
    if not (entries or found.skipped or found.unusable):
        raise InputError(f"{root}: no NIfTI file (.nii, .nii.gz) in it, no DICOM file and no picture")
    named = zip(entries, unique_names([names for _, names in entries]), strict=True)
    volumes = [replace(volume, case=name) for (volume, _), name in named if volume is not None]
    found.volumes = sorted(volumes, key=lambda volume: (volume.files[0], volume.frames or ()))
    found.skipped.sort()
    found.ignored = +found.ignored
    return found


def _file_entry(file: Path, base: Path, kind: str, read: Callable[[Path], VolumeHeader], found: Found) -> _Entry:
    relative, volume = file.relative_to(base), None
    try:
        volume = Volume((file.absolute(),), relative, "", read(file), kind, bytes=file.stat().st_size)
    except InputError as error:
        found.skipped.append(Skipped(str(file), reason_of(error, file)))
    return volume, file_names(relative)


def _dicom_entries(
    files: list[Path],
    base: Path,
    resample: bool,
    progress: Callable[[int], None] | None,
    workers: int | None,
    found: Found,
) -> list[_Entry]:
    headers = []
    for header in read_headers(files, workers, progress):
        if not isinstance(header, Skipped):
            headers.append(header)
        elif header.reason == DICOMDIR:
            found.ignored["DICOMDIR"] += 1
        elif header.reason != NO_DICOM:
            found.skipped.append(header)
        elif is_archive(Path(header.file)):
            found.skipped.append(Skipped(header.file, ARCHIVE))
        else:
            found.ignored["other file"] += 1
    every = group_series(headers, resample)
    for series in every:
        found.skipped += [Skipped(str(path), COPY) for path in series.copies]
        if series.problem:
            item = Skipped(str(place_of(series.files)), reason_unusable(series))
            if is_harmless(item):
                found.skipped.append(item)
            else:
                found.unusable.append(series)
    usable = [series for series in every if not series.problem]
    return [(_volume(series, base), names) for series, names in zip(usable, series_names(usable, base), strict=True)]


def _volume(series: Series, base: Path) -> Volume:
    assert series.header is not None  # it is usable
    return Volume(
        files=tuple(path.absolute() for path in series.files),
        relative=place_of(series.files).relative_to(base),
        case="",
        header=series.header,
        kind="dicom",
        tags=series.tags,
        frames=series.frames,
        bytes=series.bytes,
    )
