"""What cases are called in clear: short names, unique in a search."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monai_wsss.data.dicom.series import Series
from monai_wsss.data.nifti import SUFFIXES

_IMAGE_SUFFIXES = (*SUFFIXES, ".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg")


def stem_of(path: str | Path) -> str:
    """Return the file name without the suffix of an image, such as .nii.gz or .dcm."""
    name = Path(path).name
    suffix = next((s for s in _IMAGE_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)] or name


def file_names(file: Path) -> tuple[str, ...]:
    """Return possible names of a case that is one file, shortest first.

    Args:
        file: relative path.
    """
    stem = stem_of(file)
    return stem, "__".join((*file.parent.parts, stem)), "__".join(file.parts)


def series_names(found: Sequence[Series], base: Path) -> list[tuple[str, ...]]:
    """Return possible names of each DICOM series: its file's stem, its folder if it is alone there, its UID and part.

    Args:
        found: all series below `base`.
        base: the folder searched.
    """
    places = [place_of(series.files) for series in found]
    folders = [place.parent if len(series.files) == 1 else place for place, series in zip(places, found, strict=True)]
    inside = Counter(folder for own in folders for folder in (own, *own.parents))
    names = []
    for series, folder in zip(found, folders, strict=True):
        stem = (stem_of(series.files[0]),) if len(series.files) == 1 else ()
        parts = folder.relative_to(base).parts or (base.resolve().name,)
        alone = ("__".join(parts),) if inside[folder] == 1 and parts[0] else ()
        part = re.sub(r"[^\w.]+", "_", series.tags.part)
        uid = series.tags.series or "__".join(series.files[0].relative_to(base).parts)
        names.append((*stem, *alone, f"{uid}__{part}" if part else uid))
    return names


def place_of(files: Sequence[Path]) -> Path:
    """Return the file, or for several files the folder that holds them all."""
    return files[0] if len(files) == 1 else Path(os.path.commonpath([file.parent for file in files]))


def unique_names(candidates: Sequence[Sequence[str]]) -> list[str]:
    """Return for each case the first of its names that no other case might have."""
    known = Counter(name for names in candidates for name in set(names))
    chosen = [next((name for name in names if known[name] == 1), names[-1]) for names in candidates]
    taken = Counter(chosen)
    return [name if taken[name] == 1 else f"{name}__{number}" for number, name in enumerate(chosen)]
