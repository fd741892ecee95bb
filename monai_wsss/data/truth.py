"""Find the true mask of each volume; only its header is read here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.discovery import find_volumes
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.volume import Volume

_ENDINGS = ("_mask", "-mask", "_seg", "-seg", "_label", "-label")


def find_truth(volumes: Sequence[Volume], masks: str | Path) -> tuple[dict[str, Path], list[Skipped]]:
    """Return case -> mask file, and the masks that cannot be used or are missing, with reasons.

    A mask has its volume's path below `masks`, or its name (both also with `_mask`, `_seg` or `_label` after it), or
    lies under a folder of that name, and it has the volume's shape and affine; a picture has no affine of its own.
    Names of a volume are its case, the stem of its one file, its series, accession number, study and patient, and the
    folder above it; the first that has one mask counts. A mask that several volumes claim goes to the one whose claim
    comes first in this order, and to none where two are equal.
    """
    found, skipped = find_volumes(masks)
    images = {file.resolve() for volume in volumes for file in volume.files}
    found = [mask for mask in found if len(mask.files) == 1 and mask.path.resolve() not in images]
    by_name: dict[str | Path, list[Volume]] = defaultdict(list)
    for mask in found:
        folder, stem = mask.relative.parent, _bare_stem(mask.path)
        names: set[str | Path] = {mask.relative, folder / stem, stem, mask.case, *folder.parts}
        for name in names:
            by_name[name].append(mask)
    claims = [_claim(volume, by_name) for volume in volumes]
    ranks: dict[Path, list[int]] = defaultdict(list)
    for rank, named in claims:
        if len(named) == 1:
            ranks[named[0].path].append(rank)
    truth = {}
    for volume, (rank, named) in zip(volumes, claims, strict=True):
        rivals = ranks[named[0].path] if len(named) == 1 else []
        if len(named) != 1 or rank > min(rivals):
            skipped.append(Skipped(str(volume.path), f"{len(named) if len(named) > 1 else 'no'} masks for it"))
        elif (equal := rivals.count(rank)) > 1:
            skipped.append(Skipped(str(volume.path), f"its mask fits {equal} volumes; name each mask as its volume"))
        elif problem := _mismatch(volume, named[0]):
            skipped.append(Skipped(str(named[0].path), problem))
        else:
            truth[volume.case] = named[0].path
    return truth, skipped


def _claim(volume: Volume, by_name: Mapping[str | Path, list[Volume]]) -> tuple[int, list[Volume]]:
    """Return the masks of the first name that has exactly one, else of the first that has any, and the name's place."""
    hits = [(rank, by_name[name]) for rank, name in enumerate(_names(volume)) if name and name in by_name]
    return next((hit for hit in hits if len(hit[1]) == 1), hits[0] if hits else (0, []))


def _names(volume: Volume) -> list[str | Path]:
    """Return path and names, the closest first; an empty name is none and keeps its place."""
    single = len(volume.files) == 1
    tags = volume.tags
    stem = stem_of(volume.path.name) if single else ""
    names: list[str | Path] = [volume.relative, volume.relative.parent / stem if single else "", volume.case, stem]
    names += [tags.series, tags.accession, tags.study, tags.patient] if tags is not None else [""] * 4
    names.append(volume.relative.parent.name if single else volume.relative.name)
    return names


def _bare_stem(path: Path) -> str:
    stem = stem_of(path.name)
    ending = next((e for e in _ENDINGS if stem.lower().endswith(e)), "")
    return stem[: len(stem) - len(ending)]


def _mismatch(volume: Volume, mask: Volume) -> str | None:
    if volume.header.shape != mask.header.shape:
        return f"mask of shape {mask.header.shape} for a volume of {volume.header.shape}"
    if mask.kind == "picture":  # it states no voxel size: the pixels are the film's
        return None
    if not np.allclose(volume.header.affine, mask.header.affine, atol=1e-3):
        return "mask and volume differ in their affine"
    return None
