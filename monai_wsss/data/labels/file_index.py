"""Which volume, and which of its files, a path in a table means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.volume import Volume

_DEPTH = 8  # folders of a path that count


class FileIndex:
    """The files of all volumes by the ends of their paths, without case and suffix.

    A value of the table means the files whose path ends with it: a path below the input, a file name or a stem. If none
    does, the longest end of the value that one file and no other value has ("/old/disk/a.nii" for a.nii), and if there
    is none either, the folders whose path ends with the value.

    Args:
        values: all that will be asked for.
        volumes: what they may mean.
    """

    def __init__(self, values: Iterable[str], volumes: Sequence[Volume]) -> None:
        self._volumes = volumes
        self._wanted = Counter(end for value in set(values) for end in _ends(_parts(value)))
        self._files: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._folders: dict[str, set[int]] = defaultdict(set)
        self._found: dict[str, dict[int, int | None]] = {}
        for at, volume in enumerate(volumes):
            for number, file in enumerate(volume.files):
                if stem_of(file.name).casefold() in self._wanted:
                    for end in self._wanted_ends(str(file)):
                        self._files[end].append((at, number))
            folders = (volume.relative if len(volume.files) > 1 else volume.relative.parent).parts
            for depth in range(1, len(folders) + 1):
                for end in self._wanted_ends("/".join(folders[:depth])):
                    self._folders[end].add(at)

    def find(self, value: str) -> dict[int, int | None]:
        """Return volume -> its slice that `value` means; None for the whole volume, -1 if it means several slices."""
        if value not in self._found:
            self._found[value] = self._find(value)
        return self._found[value]

    def is_folder(self, value: str) -> bool:
        """Whether `value` means all files of a folder, and no file."""
        ends = list(_ends(_parts(value)))
        return not any(end in self._files for end in ends) and any(end in self._folders for end in ends[-1:])

    def _find(self, value: str) -> dict[int, int | None]:
        ends = list(_ends(_parts(value)))
        end = next((end for end in reversed(ends) if end in self._files), None)
        if end is None:
            return dict.fromkeys(self._folders.get(ends[-1], ()) if ends else ())
        hits = self._files[end]
        if end != ends[-1] and (self._wanted[end] > 1 or len({at for at, _ in hits}) > 1):
            return {}
        name = value.replace("\\", "/").rsplit("/", 1)[-1].casefold()
        exact = [(at, number) for at, number in hits if self._volumes[at].files[number].name.casefold() == name]
        found: dict[int, int | None] = {}
        for at, number in exact or hits:
            found[at] = None if len(self._volumes[at].files) == 1 else -1 if at in found else number
        return found

    def _wanted_ends(self, path: str) -> Iterable[str]:
        for end in _ends(_parts(path)):
            if end not in self._wanted:
                return
            yield end


def _parts(path: str) -> list[str]:
    parts = [part for part in path.casefold().replace("\\", "/").split("/") if part not in ("", ".")][-_DEPTH:]
    return [*parts[:-1], stem_of(parts[-1])] if parts else []


def _ends(parts: Sequence[str]) -> Iterable[str]:
    """The ends of a path: c, b/c, a/b/c."""
    return ("/".join(parts[-length:]) for length in range(1, len(parts) + 1))
