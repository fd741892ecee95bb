"""Which row of the labels table speaks of which volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.labels.labels_table import LabelsTable, Row
from monai_wsss.data.labels.row_finder import RowFinder
from monai_wsss.data.labels.slice_key import check_counting, resolve_slice, runs_with_position
from monai_wsss.data.labels.table_columns import KEYS, patient_folder
from monai_wsss.data.labels.volume_names import header_names, plain, without_zeros
from monai_wsss.data.volume import Volume
from monai_wsss.errors import InputError


@dataclass(frozen=True)
class Matches:
    """What belongs together, and what is left over on either side.

    Attributes:
        key: the column that matched, or several.
        rows: case -> its rows, their `slice` resolved.
        patients: case -> patient: the table's, else the header's, else a patient's folder, else the case.
        rows_without_file: rows that mean no volume.
        contradicting_rows: rows whose keys mean different volumes.
        ambiguous_rows: rows that mean several volumes, or several slices.
        candidates: line of an ambiguous row -> these volumes.
        outside: rows whose slice does not exist, one text each.
        volumes_without_row: volumes that no row means alone.
        other_patients: number of volumes whose header names another patient than the table.
        notes: what was assumed, one line each.
    """

    key: str
    rows: dict[str, list[Row]] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    rows_without_file: list[Row] = field(default_factory=list)
    contradicting_rows: list[Row] = field(default_factory=list)
    ambiguous_rows: list[Row] = field(default_factory=list)
    candidates: dict[int, tuple[Volume, ...]] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    volumes_without_row: list[Volume] = field(default_factory=list)
    other_patients: int = 0
    notes: list[str] = field(default_factory=list)


def match_rows(table: LabelsTable, volumes: Sequence[Volume], copy_to_all: bool = False) -> Matches:
    """Match each row to the one volume that all of its keys mean.

    Of the keys that fit any volume, a row's most specific one finds the volumes and the others narrow them down. `file`
    is a path, a file name, a stem or a folder; identifiers are those of the DICOM header, or else a stem or a folder of
    the path. Digits count without leading zeros where that leaves no doubt. A row never matches a volume that
    another of its keys denies, and a row that means several volumes matches none.

    Args:
        table: the labels table.
        volumes: of the search.
        copy_to_all: a row that means several volumes, as a study's row does, speaks of each of them. Rows of one file
            or slice still do not.

    Raises:
        InputError: if no row matches any volume; if no slice that the table names exists; see `check_counting`.
    """
    finder = RowFinder(table.rows, volumes)
    usable = [key for key in KEYS if finder.fits(key)]
    if not usable:
        raise InputError(f"{table.path}: no row matches a file{_compare(table, volumes)}")
    matches = Matches("")
    used: Counter[str] = Counter()
    pairs: list[tuple[Row, int]] = []
    for row in table.rows:
        key = next((key for key in usable if key in row.keys), None)
        found = finder.find(row, key) if key else frozenset()
        if found is None:
            matches.contradicting_rows.append(row)
        elif not found or key is None:
            matches.rows_without_file.append(row)
        elif len(found) == 1 or (copy_to_all and not finder.means_one_image(row, key)):
            pairs += [(row, at) for at in sorted(found)]
            used[key] += 1
        else:
            matches.ambiguous_rows.append(row)
            matches.candidates[row.line] = finder.volumes_of(found)
    check_counting(table.path, table.rows, ((row, volumes[at]) for row, at in pairs))
    _resolve(table, finder, pairs, matches)
    _name_patients(volumes, table.rows, matches)
    matches.volumes_without_row.extend(volume for volume in volumes if volume.case not in matches.rows)
    matches.notes.extend(finder.notes())
    names = [key for key, _ in used.most_common()] or usable[:1]
    return replace(matches, key=" and ".join(names), other_patients=_other_patients(volumes, matches))


def _resolve(table: LabelsTable, finder: RowFinder, pairs: Sequence[tuple[Row, int]], matches: Matches) -> None:
    """Give each row the slice it means and put it to its case."""
    slices = 0
    for row, at in pairs:
        volume = finder.volumes_of((at,))[0]
        by_file = finder.slice_of_file(row, at)
        try:
            index = resolve_slice(row, volume)
            if by_file not in (None, -1) and index not in (None, by_file):
                raise InputError("its file is another slice than it says")
        except InputError as error:
            matches.outside.append(f"{row}: {error}")
            continue
        index = by_file if index is None else index
        if index == -1:
            matches.ambiguous_rows.append(row)
            matches.candidates[row.line] = (volume,)
            continue
        slices += index is not None
        matches.rows.setdefault(volume.case, []).append(replace(row, slice=index))
    if matches.outside and not matches.rows:
        raise InputError(f"{table.path}: no row names a slice that its volume has ({matches.outside[0]})")
    counted = {at for row, at in pairs if row.slice_key.endswith("-based") and row.slice_number is not None}
    against = sum(not runs_with_position(volume) for volume in finder.volumes_of(counted))
    if against:
        matches.notes.append(
            f"In {against} of {len(counted)} volumes the InstanceNumbers do not rise with the position by which slices "
            "are counted; if the table holds the viewer's numbers, give --slice-key InstanceNumber"
        )
    if slices and table.slice_key == "0-based" and all(row.slice_number != 0 for row in table.rows):
        matches.notes.append("No row says slice 0; if the table counts from 1, give --slice-key 1-based")
    if slices > 1 and not table.slice_key.endswith("-based") and all(len(rows) == 1 for rows in matches.rows.values()):
        matches.notes.append(
            "Each volume has one row, which names one of its images: its labels are that slice's alone"
        )


def _name_patients(volumes: Sequence[Volume], rows: Sequence[Row], matches: Matches) -> None:
    """One spelling a patient: the header's, else the table's first."""
    spelling: dict[str, str] = {"": ""}
    for name in (*(volume.tags.patient for volume in volumes if volume.tags), *(row.patient for row in rows)):
        spelling.setdefault(_key(name), name)
    for volume in volumes:
        found = matches.rows.get(volume.case, [])
        found[:] = [row if spelling[_key(row.patient)] == row.patient else _spelled(row, spelling) for row in found]
        if found:
            header = spelling[_key(volume.tags.patient)] if volume.tags else ""
            parts = (*volume.relative.parts[:-1], stem_of(volume.relative.name))
            own = next((row.patient for row in found if row.patient), "")
            matches.patients[volume.case] = own or header or patient_folder(parts) or volume.case


def _spelled(row: Row, spelling: dict[str, str]) -> Row:
    return replace(row, patient=spelling[_key(row.patient)])


def _key(patient: str) -> str:
    return without_zeros(plain(patient))


def _other_patients(volumes: Sequence[Volume], matches: Matches) -> int:
    number = 0
    for volume in volumes:
        header = _key(volume.tags.patient) if volume.tags else ""
        named = {_key(row.patient) for row in matches.rows.get(volume.case, ())} - {""}
        number += bool(header and named - {header})
    return number


def _compare(table: LabelsTable, volumes: Sequence[Volume]) -> str:
    """Say what the names on both sides look like, and not what they are: letters as a, digits as 9."""
    row = next(iter(table.rows), None)
    if row is None or not volumes:
        return ""
    key, value = next(iter(row.keys.items()))
    header = header_names(volumes[0], key) if key not in ("file", "ID") else ()
    other = f"in the headers like {_shape(header[0])}" if header else f"and files like {_shape(volumes[0].path.name)}"
    return f" ({key} looks like {_shape(value)} in the table, {other})"


def _shape(text: str) -> str:
    return "".join("9" if c.isdigit() else "a" if c.isalpha() else c for c in text[-40:])
