"""What a public data set's own folder is turned into: that which `prepare` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from monai_wsss.data.skipped import Skipped


@dataclass(frozen=True)
class NativeData:
    """A data set in the terms of `prepare`.

    Attributes:
        images: folder of images, as the data set has it.
        labels: CSV table in the scratch folder, see `read_labels_table`.
        masks: folder of true masks, PNG (`prepare` with names kept leaves NIfTI masks where they are, and the scratch
            folder goes), for `evaluate` alone; None if the data set has none.
        classes: class columns of the table.
        split_column: column of the table that holds the data set's own split; None where it has none.
        colour: images keep their three colours.
        rows_without_file: lines of the data set's own table that name no image.
        mask_problems: files of images whose true mask cannot be used, with reasons.
        exclude: files below `images` that are no images, such as masks of lungs; nothing is said of them.
        notes: what else is worth knowing, one sentence each, without names.
    """

    images: Path
    labels: Path
    masks: Path | None = None
    classes: tuple[str, ...] = ()
    split_column: str | None = None
    colour: bool = False
    rows_without_file: tuple[str, ...] = ()
    mask_problems: tuple[Skipped, ...] = ()
    exclude: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


NativeFormat = Callable[[Path, Path | None, Path], NativeData]
"""Reads (input folder, labels file or None, scratch folder to write into); raises InputError."""
