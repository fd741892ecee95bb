"""Walk a folder tree."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path


def walk_files(root: Path, exclude: Sequence[Path] = ()) -> Iterator[Path]:
    """Yield the visible files below a folder; links to folders are followed, each folder is entered once.

    Real folders come before links to folders, so that a file has the same path whatever order the file system keeps.

    Args:
        root: folder.
        exclude: resolved folders (or files) to leave out. Hidden files and folders are left out as well.
    """
    left_out, seen = set(exclude), set()
    folders, links = [root], deque[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.popleft()
        identity = folder.stat()
        if (identity.st_dev, identity.st_ino) in seen or folder.resolve() in left_out:
            continue
        seen.add((identity.st_dev, identity.st_ino))
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:  # may not be read
            continue
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_dir():
                links.append(path)
            elif entry.is_file() and path.resolve() not in left_out:
                yield path
