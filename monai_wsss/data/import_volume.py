"""Volumes and true masks, each read once and written as NIfTI that tells of nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_wsss.data.atomic import write_json
from monai_wsss.data.clear_names import SUFFIXES, place_of
from monai_wsss.data.generic_reason import generic_reason
from monai_wsss.data.luminance import luminance
from monai_wsss.data.picture import PICTURE_SUFFIXES, read_picture
from monai_wsss.data.pseudonyms import Pseudonyms
from monai_wsss.data.read_volume import LoadedVolume, read_volume
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.volume import Volume
from monai_wsss.data.writers import write_image, write_mask
from monai_wsss.errors import InputError

_VERSION = 2  # raise it when the same source gives other values or notes: what was imported before is then read again

Note = Callable[[Volume, np.ndarray, np.ndarray], Mapping[str, Any]]
"""What is to be remembered of a volume: called with it, its array `(columns, rows, slices)` and its affine. Of colours
it gets the luminance."""

Progress = Callable[[int, int], None]
"""Called after each volume with (done, all)."""


@dataclass(frozen=True)
class ImportedImage:
    """A volume of the prepared folder.

    Attributes:
        case: its pseudonym.
        path: the NIfTI file.
        notes: what `note` returned.
    """

    case: str
    path: Path
    notes: dict[str, Any] = field(default_factory=dict)


def import_volumes(
    volumes: Sequence[Volume],
    names: Sequence[str],
    folder: str | Path,
    pseudonyms: Pseudonyms,
    note: Note | None = None,
    voi: bool = False,
    resample: bool = False,
    progress: Progress | None = None,
    colour: bool = False,
) -> tuple[list[ImportedImage], list[Skipped]]:
    """Write `folder`/NAME.nii.gz, and NAME.json with the notes, for every volume; one at a time is in memory.

    A volume is read once: NAME.json says by a keyed digest of names, sizes and times of change whether the source is
    still what it was, so that a call that was interrupted, or made again, reads only what is new. With names kept, a
    NIfTI file stays where it is and only its notes are written.

    Args:
        volumes: as found.
        names: pseudonym of each volume's case.
        folder: where to write.
        pseudonyms: make the digest.
        note: see `Note`.
        voi, resample: see `read_volume`.
        progress: see `Progress`.
        colour: pictures keep their colours, see `write_image`; else they become luminance.

    Returns:
        The volumes of the folder, and those left out with reasons.
    """
    folder, imported, skipped = Path(folder), [], []
    for done, (volume, name) in enumerate(zip(volumes, names, strict=True), start=1):
        own = volume.files[0] if pseudonyms.keeps_names and volume.kind == "nifti" else None
        image, record = own or folder / f"{name}.nii.gz", folder / f"{name}.json"
        how = (voi, resample, _VERSION, *(("colour",) if colour else ()))
        stamp = pseudonyms.digest(repr((_source(volume.files), volume.frames, _name_of(note), *how)))
        notes = _notes(record, stamp) if image.is_file() else None
        if notes is None:
            try:
                loaded = read_volume(volume, voi=voi, resample=resample, colour=colour)
                grey = luminance(loaded.array) if colour else loaded.array
                notes = dict(note(volume, grey, loaded.affine)) if note is not None else {}
            except InputError as error:
                skipped.append(Skipped(str(place_of(volume.files)), generic_reason(error, volume.files)))
            else:
                record.unlink(missing_ok=True)  # a stale record must never vouch for a new image
                if own is None:
                    write_image(image, loaded.array, loaded.affine, loaded.spacing_known)
                write_json(record, {"source": stamp, "notes": notes, "wrote": own is None})
        if notes is not None:
            imported.append(ImportedImage(name, image, notes))
        if progress is not None:
            progress(done, len(volumes))
    return imported, skipped


def import_masks(
    masks: Mapping[str, Volume | Path],
    images: Mapping[str, Path],
    folder: str | Path,
    pseudonyms: Pseudonyms,
    progress: Progress | None = None,
) -> tuple[dict[str, Path], list[Skipped]]:
    """Write `folder`/CASE.nii.gz for every true mask, in the geometry of the case's image.

    Whole numbers 0 to 255 become uint8 (255 may mark pixels that do not count, see `read_label_map`), other values stay
    for `evaluate` to refuse. Of a picture with a palette the
    indices are the values. With names kept, a NIfTI file stays where it is.

    Args:
        masks: case -> true mask, of the image's shape.
        images: case -> imported image.
        folder: where to write.
        pseudonyms: make the digest that says whether a mask changed.
        progress: see `Progress`.

    Returns:
        Case -> mask file, and the masks left out with reasons.
    """
    folder, truth, skipped = Path(folder), {}, []
    for done, (case, mask) in enumerate(masks.items(), start=1):
        files = _files(mask)
        if pseudonyms.keeps_names and files[0].name.lower().endswith(SUFFIXES):
            truth[case] = files[0]
        else:
            try:
                truth[case] = _import_mask(mask, images[case], folder / f"{case}.nii.gz", pseudonyms)
            except InputError as error:
                skipped.append(Skipped(str(place_of(files)), generic_reason(error, files)))
        if progress is not None:
            progress(done, len(masks))
    return truth, skipped


def remove_imports(folder: str | Path, keep: Collection[str]) -> None:
    """Remove what earlier calls wrote for cases that are not among `keep`; a file without a record is not ours."""
    for record in sorted(Path(folder).glob("*.json")):
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            wrote = bool(content["source"]) and content["wrote"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if record.stem not in keep:
            if wrote:
                record.with_name(f"{record.stem}.nii.gz").unlink(missing_ok=True)
            record.unlink()


def _import_mask(mask: Volume | Path, image: Path, path: Path, pseudonyms: Pseudonyms) -> Path:
    record = path.with_name(path.name.replace(".nii.gz", ".json"))
    stamp = pseudonyms.digest(repr((_source([*_files(mask), image]), _VERSION)))
    if path.is_file() and _notes(record, stamp) is not None:
        return path
    file = _files(mask)[0]
    if file.name.lower().endswith(PICTURE_SUFFIXES):
        loaded = LoadedVolume(*read_picture(file, indices=True), False, (file,))
    else:
        loaded = read_volume(mask)
    record.unlink(missing_ok=True)
    if ((loaded.array == np.rint(loaded.array)) & (loaded.array >= 0) & (loaded.array <= 255)).all():
        write_mask(path, loaded.array, image)
    else:
        write_image(path, loaded.array, loaded.affine, loaded.spacing_known)
    write_json(record, {"source": stamp, "notes": {}, "wrote": True})
    return path


def _files(source: Volume | Path) -> Sequence[Path]:
    return source.files if isinstance(source, Volume) else (source,)


def _source(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each file."""
    status = [(str(file), file.stat()) for file in files if file.exists()]
    return [(name, found.st_size, found.st_mtime_ns) for name, found in status]


def _name_of(note: Note | None) -> str:
    return "" if note is None else f"{note.__module__}.{getattr(note, '__qualname__', '')}"


def _notes(record: Path, stamp: str) -> dict[str, Any] | None:
    """The notes of a record that this source wrote; None if there is none."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return dict(content["notes"]) if content["source"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
