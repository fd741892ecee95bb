"""How a labels table numbers slices, and which slice of a volume a row means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from monai_wsss.data.labels.table_text import listed, plain_name, shown
from monai_wsss.data.volume import Volume
from monai_wsss.errors import InputError

if TYPE_CHECKING:
    from monai_wsss.data.labels.labels_table import Row

SLICE_KEYS = ("0-based", "1-based", "InstanceNumber", "SOPInstanceUID")
_NAMES = {
    "0-based": "slice sliceindex sliceidx slice0 slice0based zindex",
    "1-based": "slice1 slice1based",
    "InstanceNumber": "instancenumber instance instanceno instancenr imagenumber imageno bildnummer bildnr",
    "": "slicenumber sliceno slicenr schicht schichtnummer schichtnr coupe",  # counted from 0 or from 1?
}
_CONVENTION = {name: key for key, names in _NAMES.items() for name in names.split()}


def find_slice_column(
    path: Path, columns: Sequence[str], given: str | None = None, sop_column: str | None = None
) -> tuple[str | None, str, set[str]]:
    """Return the column that names slices (None if none does), its convention, and all columns that could.

    Args:
        path: of the table, for messages.
        columns: its columns.
        given: the user's convention, one of SLICE_KEYS; by default that of the column's name.
        sop_column: the column of SOPInstanceUIDs, if there is one.

    Raises:
        InputError: an unknown convention, no column for it, or a column that may count from 0 or from 1.
    """
    if given is not None and given.casefold() not in [key.casefold() for key in SLICE_KEYS]:
        raise InputError(f"slice key {given!r}: choose one of {', '.join(SLICE_KEYS)}")
    given = next((key for key in SLICE_KEYS if given and key.casefold() == given.casefold()), None)
    found = {column: _CONVENTION[plain_name(column)] for column in columns if plain_name(column) in _CONVENTION}
    if given == "SOPInstanceUID" or (given is None and not found and sop_column):
        if sop_column is None:
            raise InputError(f"{path}: no column SOPInstanceUID for the slice key (found {listed(columns)})")
        return sop_column, "SOPInstanceUID", {*found, sop_column}
    if not found:
        if given:
            raise InputError(f"{path}: no column names slices for the slice key {given} (found {listed(columns)})")
        return None, "", set()
    order = [given or "InstanceNumber", *(["1-based", "0-based", ""] if given != "InstanceNumber" else [])]
    column = next((name for key in order for name in found if found[name] == key), next(iter(found)))
    convention = given or found[column]
    if not convention:
        raise InputError(
            f"{path}: column {column!r} may hold the viewer's image numbers or a count by position; say which: "
            "--slice-key InstanceNumber (usual for DICOM), 0-based or 1-based"
        )
    return column, convention, set(found)


def slice_number(text: str) -> int | None:
    """Return the whole number from 0 that `text` holds ("3", "3.0", "3,0"), else None."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return int(value) if value.is_integer() and value >= 0 else None


def own_slices(volume: Volume) -> list[int]:
    """Return which slices of the volume its files hold; those that resampling inserted have neither UID nor number."""
    named = zip(volume.tags.instances, volume.tags.instance_numbers, strict=False) if volume.tags else ()
    own = [index for index, (uid, number) in enumerate(named) if uid or number is not None]
    return own or list(range(volume.header.shape[2]))


def resolve_slice(row: Row, volume: Volume) -> int | None:
    """Return the slice that `row` means, from 0 in slice order, or None if it means the whole volume.

    Raises:
        InputError: if the volume has no such slice, nothing that tells, or the row names two.
    """
    by_number, by_uid = _by_number(row, volume), _by_uid(row, volume)
    if by_number is not None and by_uid is not None and by_number != by_uid:
        raise InputError(f"{_said('slice', row)} ({row.slice_key}) is not the slice of its SOPInstanceUID")
    return by_uid if by_number is None else by_number


def check_counting(path: Path, rows: Iterable[Row], pairs: Iterable[tuple[Row, Volume]]) -> None:
    """Refuse a table that seems to count from 1 where it is read as counting from 0, and the reverse.

    Raises:
        InputError: if no row says slice 0 and one says the number of slices; if one says 0 where 1 is the first.
    """
    numbered = [row for row in rows if row.slice_number is not None]
    zero = next((row for row in numbered if row.slice_number == 0), None)
    if zero is not None:
        if zero.slice_key == "1-based":
            raise InputError(f"{path}: {zero} says slice 0 where slices count from 1; give --slice-key 0-based")
        return
    for row, volume in pairs:
        if row.slice_key == "0-based" and row.slice_number == len(own_slices(volume)):
            viewer = "InstanceNumber if these are the viewer's numbers, else " if volume.tags is not None else ""
            raise InputError(
                f"{path}: it seems to count slices from 1 ({row} says as many as its volume has, and no row says 0); "
                f"give --slice-key {viewer}1-based, or 0-based once that row is corrected"
            )


def runs_with_position(volume: Volume) -> bool:
    """Whether InstanceNumbers, if there are any, rise with the slices' position."""
    numbers = [n for n in volume.tags.instance_numbers if n is not None] if volume.tags is not None else []
    return all(after > before for before, after in pairwise(numbers))


def _said(what: str, row: Row) -> str:
    """Name a slice by its number if a message may repeat that."""
    number = shown(str(row.slice_number))
    return f"{what} {number}" if number else f"its {what}"


def _by_number(row: Row, volume: Volume) -> int | None:
    tags = volume.tags
    if row.slice_number is None or row.slice_key == "SOPInstanceUID":
        return None
    if row.slice_key == "InstanceNumber":
        if tags is None and volume.header.shape[2] == 1:
            return 0
        if tags is None or not any(number is not None for number in tags.instance_numbers):
            raise InputError("slices are given by InstanceNumber, which its files do not have; number them otherwise")
        where = [index for index, number in enumerate(tags.instance_numbers) if number == row.slice_number]
        if len(where) != 1:
            raise InputError(f"{len(where) or 'no'} slices of the series have {_said('InstanceNumber', row)}")
        return where[0]
    index, own = row.slice_number - (row.slice_key == "1-based"), own_slices(volume)
    if len(own) < len(volume.frames or volume.files):
        raise InputError("resampling joined slices, and their numbers no longer tell; name them by SOPInstanceUID")
    if not 0 <= index < len(own):
        raise InputError(f"{_said('slice', row)} ({row.slice_key}) is not in the volume of {len(own)} slices")
    return own[index]


def _by_uid(row: Row, volume: Volume) -> int | None:
    uid = row.keys.get("SOPInstanceUID", "")
    instances = volume.tags.instances if volume.tags else ()
    if not uid or volume.header.shape[2] == 1:
        return None
    if uid in instances:
        return instances.index(uid) if instances.count(uid) == 1 else None  # frames of one object share its UID
    if row.slice_key != "SOPInstanceUID" or (not instances and volume.path.name.startswith(uid)):
        return None  # slices are numbered, or the file itself is called so
    raise InputError("the volume has no slice of its SOPInstanceUID")
