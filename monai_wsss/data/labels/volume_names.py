"""What volumes are called, in their headers and paths, and which of them a value of a table means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.labels.table_columns import patient_number, study_number
from monai_wsss.data.volume import Volume

_NUMBERS = {"PatientID": patient_number, "StudyInstanceUID": study_number}


class NameIndex:
    """The volumes by what they are called, kept for the names that will be asked for.

    Names are compared without case, and without leading zeros where only one name and one question share the digits.

    Args:
        asked: these names.
    """

    def __init__(self, asked: Iterable[str]) -> None:
        self._asked = {plain(value) for value in asked}
        self._short: dict[str, set[str]] = defaultdict(set)
        for value in self._asked:
            self._short[without_zeros(value)].add(value)
        self._exact: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._padded: dict[tuple[str, str], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))

    def add(self, source: str, names: Iterable[str], at: int) -> None:
        """Add what volume number `at` is called in its "header" or "path"."""
        for name in map(plain, names):
            if name in self._asked:
                self._exact[source, name].add(at)
            elif name and without_zeros(name) in self._short:
                self._padded[source, without_zeros(name)][name].add(at)

    def find(self, value: str) -> tuple[frozenset[int], bool]:
        """Return the volumes called so, by their header or else by their path, and whether zeros had to be added."""
        value = plain(value)
        short = without_zeros(value)
        for source in ("header", "path"):
            if (source, value) in self._exact:
                return frozenset(self._exact[source, value]), False
            padded = self._padded.get((source, short), {})
            if len(padded) == 1 and len(self._short[short]) == 1:
                return frozenset(next(iter(padded.values()))), True
        return frozenset(), False


def plain(name: str) -> str:
    """Return a name as it is compared: without case and the spaces around it."""
    return name.strip().casefold()


def without_zeros(name: str) -> str:
    """Return a number without leading zeros, any other name as it is."""
    return name.lstrip("0") or "0" if name.isdecimal() else name


def header_names(volume: Volume, key: str) -> tuple[str, ...]:
    """Return what the header of a DICOM volume says under a key, without empty texts."""
    tags = volume.tags
    if tags is None:
        return ()
    names = {
        "SeriesInstanceUID": (tags.series,),
        "StudyInstanceUID": (tags.study,),
        "AccessionNumber": (tags.accession,),
        "PatientID": (tags.patient,),
    }
    return tuple(filter(None, tags.instances if key == "SOPInstanceUID" else names[key]))


def path_names(volume: Volume, key: str) -> tuple[str, ...]:
    """Return the folders above a volume, and the stem of a single file, that can be a value of a key.

    UIDs are known by their dots; a folder like patient00001 or study1 is also called 00001 or 1.
    """
    single = len(volume.files) == 1
    folders = (volume.relative.parent if single else volume.relative).parts
    parts = (*folders, stem_of(volume.path.name)) if single else folders
    numbers = tuple(filter(None, map(_NUMBERS[key], parts))) if key in _NUMBERS else ()
    return tuple(part for part in parts if "." in part) + numbers if key.endswith("UID") else parts + numbers
