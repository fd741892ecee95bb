"""Which volumes a row of the labels table can mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from monai_wsss.data.labels.file_index import FileIndex
from monai_wsss.data.labels.labels_table import Row
from monai_wsss.data.labels.slice_key import own_slices
from monai_wsss.data.labels.table_columns import KEYS, patient_folder
from monai_wsss.data.labels.volume_names import NameIndex, header_names, path_names, plain
from monai_wsss.data.volume import Volume

_ONE_PER_VOLUME = ("SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID")


class RowFinder:
    """The volumes by every name that the rows of a table may call them.

    Args:
        rows: of the table.
        volumes: what they may mean; the methods speak of them by their numbers.
    """

    def __init__(self, rows: Sequence[Row], volumes: Sequence[Volume]) -> None:
        self._volumes = volumes
        self._memo: dict[frozenset[int], tuple[Volume, ...]] = {}
        self._left: dict[tuple[str, frozenset[int]], frozenset[int]] = {}
        asked = {key: {row.keys[key] for row in rows if key in row.keys} for key in KEYS}
        self._files = FileIndex(asked["file"] | asked["ID"], volumes)
        self._tagged = {
            k: {at for at, volume in enumerate(volumes) if header_names(volume, k)} for k in _ONE_PER_VOLUME
        }
        self._found: dict[str, dict[str, frozenset[int]]] = {}
        self._zeros: Counter[str] = Counter()
        same: dict[frozenset[int], frozenset[int]] = {}  # equal sets are one object: large ones are slow to compare
        for key in KEYS:
            hits = self._lookup(key, asked[key]) if asked[key] else {}
            self._found[key] = {value: same.setdefault(found, found) for value, found in hits.items()}
        self._claimed = {key: set().union(*self._found[key].values()) for key in _ONE_PER_VOLUME}

    def fits(self, key: str) -> bool:
        """Whether the column means any volume."""
        return any(self._found[key].values())

    def find(self, row: Row, key: str) -> frozenset[int] | None:
        """Return the volumes that `row` can mean, by `key` first; None if its keys contradict each other."""
        found = self._found[key][row.keys[key]]
        others = {other: self._found[other][value] for other, value in row.keys.items() if other != key}
        denied = False
        for other, hits in others.items():
            if found & hits:
                found &= hits
            elif hits and found and other in _ONE_PER_VOLUME:
                found -= self._claimed[other] | self._tagged[other]
                denied = not found
            elif hits and found:
                found, denied = frozenset(), True
        for other, hits in others.items():
            if not hits and found and other in _ONE_PER_VOLUME:
                found = self._unclaimed(other, found)
        if found and row.patient and "PatientID" not in row.keys:  # from the path, of which the end alone may fit
            found = frozenset(at for at in found if self._folder(at) in ("", plain(row.patient)))
        return None if denied else found

    def slice_of_file(self, row: Row, at: int) -> int | None:
        """Return the slice that the row's file is, -1 if it is several, None if it is the whole volume."""
        number = self._files.find(row.keys["file"]).get(at) if "file" in row.keys else None
        if number is None or number < 0:
            return number
        own = own_slices(self._volumes[at])
        return own[number] if len(own) == len(self._volumes[at].files) else -1

    def means_one_image(self, row: Row, key: str) -> bool:
        """Whether the row is of an image, so that it cannot mean all series of a study."""
        if row.slice_number is not None or row.slice_key == "SOPInstanceUID":
            return True
        return key == "SOPInstanceUID" or (key == "file" and not self._files.is_folder(row.keys["file"]))

    def volumes_of(self, found: Iterable[int]) -> tuple[Volume, ...]:
        """Return the volumes by their numbers; equal sets share one tuple."""
        which = frozenset(found)
        if which not in self._memo:
            self._memo[which] = tuple(self._volumes[at] for at in sorted(which))
        return self._memo[which]

    def notes(self) -> list[str]:
        """Return what was assumed."""
        return [
            f"Leading zeros that the table lacks are put back in {number} value{'s' * (number > 1)} of {key}"
            for key, number in self._zeros.items()
            if number
        ]

    def _lookup(self, key: str, asked: set[str]) -> dict[str, frozenset[int]]:
        """Return value -> volumes."""
        if key == "file":
            return {value: frozenset(self._files.find(value)) for value in asked}
        keys = [other for other in KEYS if other not in ("file", "ID")] if key == "ID" else [key]
        names = NameIndex(asked)
        for at, volume in enumerate(self._volumes):
            for other in keys:
                names.add("header", header_names(volume, other), at)
                names.add("path", path_names(volume, other), at)
        found = {}
        for value in asked:
            found[value], zeros = names.find(value)
            self._zeros[key] += zeros
            if key == "ID" and not found[value]:
                found[value] = frozenset(self._files.find(value))
        return found

    def _unclaimed(self, key: str, found: frozenset[int]) -> frozenset[int]:
        """Leave out the volumes that the table calls otherwise in this column."""
        if (key, found) not in self._left:
            self._left[key, found] = found - self._claimed[key]
        return self._left[key, found]

    def _folder(self, at: int) -> str:
        return plain(patient_folder(self._volumes[at].relative.parts))
