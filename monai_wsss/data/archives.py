"""Tell archives from other files."""

from __future__ import annotations

from pathlib import Path

_SUFFIXES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".tbz2", ".xz", ".txz", ".7z", ".rar", ".zst", ".iso"})
_MAGIC = (
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\0",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x28\xb5\x2f\xfd",
)
_TAR_MAGIC = b"ustar"
_ZIPPED = frozenset(  # files that are zip archives inside, and none to their user
    {".xlsx", ".xlsm", ".docx", ".pptx", ".ods", ".odt", ".odp", ".jar", ".npz", ".pt", ".pth", ".ckpt", ".whl", ".apk"}
)


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive, by its name or its first bytes."""
    suffix = path.suffix.lower()
    if suffix in _ZIPPED:
        return False
    if suffix in _SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            start = file.read(262)
    except OSError:
        return False
    return start.startswith(_MAGIC) or start[257:] == _TAR_MAGIC
