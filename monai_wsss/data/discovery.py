"""Find the volumes under a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monai_wsss.data.nifti import read_nifti_header
from monai_wsss.data.skipped import Skipped, reason_of
from monai_wsss.data.volume import Volume
from monai_wsss.errors import InputError

SUFFIXES = (".nii.gz", ".nii")


def stem_of(path: str | Path) -> str:
    """Return the file name without .nii or .nii.gz."""
    name = Path(path).name
    suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def find_volumes(root: str | Path, exclude: Sequence[str | Path] = ()) -> tuple[list[Volume], list[Skipped]]:
    """Find all NIfTI volumes under `root`, in the order of their paths, and check their headers.

    A case takes its file's stem as name; where several files share a stem, the folders join it (`folder__stem`).

    Args:
        root: folder, or one file.
        exclude: folders below `root` to leave out (true masks, the output). Hidden files and folders are left out.

    Returns:
        The usable volumes, and the files that are none with reasons.

    Raises:
        InputError: if `root` is missing or holds no NIfTI file.
    """
    root = Path(root)
    if not root.exists():
        raise InputError(f"{root}: no such file or folder")
    base = root.parent if root.is_file() else root
    left_out = [folder for folder in (Path(f).resolve() for f in exclude) if base.resolve() in folder.parents]
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    files = [path for path in files if path.name.lower().endswith(SUFFIXES) and _is_visible(path, base, left_out)]
    if not files:
        raise InputError(f"{root}: no NIfTI file (.nii, .nii.gz) in it")
    volumes, skipped = [], []
    for path, case in zip(files, _case_names([path.relative_to(base) for path in files]), strict=True):
        try:
            header = read_nifti_header(path)
            volumes.append(Volume((path.absolute(),), path.relative_to(base), case, header, bytes=path.stat().st_size))
        except InputError as error:
            skipped.append(Skipped(str(path), reason_of(error, path)))
    return volumes, skipped


def _is_visible(path: Path, base: Path, left_out: Sequence[Path]) -> bool:
    if any(part.startswith(".") for part in path.relative_to(base).parts):
        return False
    return not any(path.resolve().is_relative_to(folder) for folder in left_out)


def _case_names(files: Sequence[Path]) -> list[str]:
    """Return the shortest names that are unique: stem, folders and stem, folders and file name."""
    stems = [stem_of(file) for file in files]
    joined = ["__".join((*file.parent.parts, stem)) for file, stem in zip(files, stems, strict=True)]
    whole = ["__".join(file.parts) for file in files]
    count_stem, count_joined = Counter(stems), Counter(joined)
    names = [
        stem if count_stem[stem] == 1 else join if count_joined[join] == 1 else full
        for stem, join, full in zip(stems, joined, whole, strict=True)
    ]
    taken = Counter(names)
    return [name if taken[name] == 1 else f"{name}__{number}" for number, name in enumerate(names)]
