"""Find the true mask of each volume; only its header is read here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.discovery import find_volumes
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.volume import Volume

_ENDINGS = ("_mask", "-mask", "_seg", "-seg", "_label", "-label")


def find_truth(volumes: Sequence[Volume], masks: str | Path) -> tuple[dict[str, Path], list[Skipped]]:
    """Return case -> mask file, and the masks that cannot be used or are missing, with reasons.

    A mask has its volume's path below `masks`, or its name (also with `_mask`, `_seg` or `_label` after it), or lies
    under a folder of that name, and it has the volume's shape and affine. Names of a volume are its case, the stem of
    its one file, its series, accession number, study and patient, and the folder above it; the first that fits counts.
    """
    found, skipped = find_volumes(masks)
    images = {file.resolve() for volume in volumes for file in volume.files}
    found = [mask for mask in found if len(mask.files) == 1 and mask.path.resolve() not in images]
    by_path = {mask.relative: mask for mask in found}
    by_name: dict[str, list[Volume]] = defaultdict(list)
    for mask in found:
        for name in {_bare_stem(mask.path), mask.case, *mask.relative.parent.parts}:
            by_name[name].append(mask)
    truth = {}
    for volume in volumes:
        named = [by_path[volume.relative]] if volume.relative in by_path else []
        for name in _names(volume):
            named = named or by_name.get(name, [])
        if len(named) != 1:
            skipped.append(Skipped(str(volume.path), f"{len(named) or 'no'} masks for it"))
        elif problem := _mismatch(volume, named[0]):
            skipped.append(Skipped(str(named[0].path), problem))
        else:
            truth[volume.case] = named[0].path
    return truth, skipped


def _names(volume: Volume) -> Iterable[str]:
    single = len(volume.files) == 1
    tags = volume.tags
    names = [volume.case, stem_of(volume.path.name) if single else ""]
    if tags is not None:
        names += [tags.series, tags.accession, tags.study, tags.patient]
    names.append(volume.relative.parent.name if single else volume.relative.name)
    return filter(None, names)


def _bare_stem(path: Path) -> str:
    stem = stem_of(path.name)
    ending = next((e for e in _ENDINGS if stem.lower().endswith(e)), "")
    return stem[: len(stem) - len(ending)]


def _mismatch(volume: Volume, mask: Volume) -> str | None:
    if volume.header.shape != mask.header.shape:
        return f"mask of shape {mask.header.shape} for a volume of {volume.header.shape}"
    if not np.allclose(volume.header.affine, mask.header.affine, atol=1e-3):
        return "mask and volume differ in their affine"
    return None
