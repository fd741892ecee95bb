"""Phantoms as NIfTI files with a table of image-level labels."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from monai_wsss.data.atomic import atomic_path, write_table
from monai_wsss.data.phantoms.kinds import PHANTOMS
from monai_wsss.data.phantoms.phantom import Lesions, Split


def splits(patients: int) -> list[tuple[Split, int]]:
    """Split of each patient and the patient's number within the split; no split is empty."""
    test, val = max(1, round(0.2 * patients)), max(1, round(0.1 * patients))
    sizes: dict[Split, int] = {"train": patients - val - test, "val": val, "test": test}
    return [(split, number) for split, size in sizes.items() for number in range(size)]


def is_diseased(number: int) -> bool:
    """Whether patient `number` of a split has the lesion: one in four is wholly negative."""
    return number % 4 != 2


def write_phantoms(
    out: Path,
    patients: int = 40,
    size: int | None = None,
    slices: int | None = None,
    seed: int = 0,
    kind: str = "brain_mri",
    lesions: Lesions = "usual",
) -> Path:
    """Write phantom images, true masks and a table of labels; equal arguments give equal bytes.

    Args:
        out: folder for images/<patient>.nii.gz, masks/<patient>.nii.gz and labels.csv, which has a row for each slice,
            or for each image where the kind is projection X-ray.
        patients: at least 3; about 70 / 10 / 20 % train / val / test, one in four without a lesion.
        size: pixels in a row and a column, at least 32; the kind's own if left out.
        slices: slices of a volume, at least 1; the kind's own if left out.
        seed: non-negative.
        kind: a name in `PHANTOMS`.
        lesions: "usual", "tiny" or "scattered".

    Returns:
        `out`.

    Raises:
        ValueError: an argument is out of range.
    """
    if kind not in PHANTOMS:
        raise ValueError(f"write_phantoms knows the kinds {', '.join(PHANTOMS)}, not {kind!r}")
    chosen = PHANTOMS[kind]
    size = chosen.size if size is None else size
    slices = chosen.slices if slices is None else slices
    if patients < 3 or size < 32 or slices < 1:
        raise ValueError("write_phantoms needs patients >= 3, size >= 32 and slices >= 1")
    projection = chosen.modality == "DX"
    rows: list[list[str | int]] = []
    for index, (split, number) in enumerate(splits(patients)):
        name = f"phantom_{index:03d}"
        rng = np.random.default_rng([seed, index])
        drawn = chosen.draw(rng, split, is_diseased(number), size, slices, lesions)
        for folder, array in (("images", drawn.image), ("masks", drawn.mask)):
            nifti = nib.Nifti1Image(array, drawn.affine)
            nifti.header.set_xyzt_units("mm")
            with atomic_path(out / folder / f"{name}.nii.gz") as path:
                nib.save(nifti, path)
        if projection:
            rows.append([name, split, int(drawn.mask.any())])
        else:
            rows += [[name, split, k, int(drawn.mask[..., k].any())] for k in range(slices)]
    header = ("PatientID", "split", chosen.label) if projection else ("PatientID", "split", "slice", chosen.label)
    write_table(out / "labels.csv", header, rows)
    return out
