"""SIIM-ACR pneumothorax segmentation: DICOM films, and a table of run-length codes with a row a lesion."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from monai_wsss.data.atomic import write_table
from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.discovery import find_volumes
from monai_wsss.data.formats.native_format import NativeData
from monai_wsss.data.formats.run_length import union_of_runs
from monai_wsss.data.labels.table_file import read_table
from monai_wsss.data.labels.table_text import plain_name
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.volume import Volume
from monai_wsss.errors import InputError

CLASS = "pneumothorax"
_KEY, _CODE = "imageid", "encodedpixels"
_NONE = "-1"  # the code of an image without a lesion


def read_siim_acr(images: Path, labels: Path | None, scratch: Path) -> NativeData:
    """Write labels.csv and masks/ for the films that the table names; see `NativeFormat`.

    An image is positive if a row has a code, also one that cannot be read: then its mask is left out and listed. With a
    code and a `-1` it is unknown (`prepare` lists it), with an empty code alone blank, without a row left out.

    Args:
        images: folder of films, `<study>/<series>/<SOPInstanceUID>.dcm` below it.
        labels: train-rle.csv: columns ImageId and EncodedPixels, see `decode_runs`; an image's rows are its lesions.
        scratch: folder to write into.

    Raises:
        InputError: no table, other columns, or no row with an image.
    """
    if labels is None:
        raise InputError("--format siim-acr: give the data set's table of run-length codes, --labels train-rle.csv")
    lines = _read_codes(labels)
    films = _films(images)
    rows: list[tuple[str, str]] = []
    problems: list[Skipped] = []
    without_file: list[str] = []
    masks = _MaskFolder(scratch / "masks")
    for name, (codes, first_line) in lines.items():
        film = films.get(name)
        if film is None:
            without_file.append(f"line {first_line}")
            continue
        rows += [(name, value) for value in _labels(codes)]
        try:
            masks.write(film, codes)
        except ValueError as error:
            problems.append(Skipped(str(film.path), str(error)))
    if not rows:
        raise InputError(f"{labels}: none of its {len(lines)} images is below {images}; give the folder of its films")
    write_table(scratch / "labels.csv", ("SOPInstanceUID", CLASS), rows)
    return NativeData(
        images,
        scratch / "labels.csv",
        scratch / "masks",
        (CLASS,),
        mask_problems=tuple(problems),
        rows_without_file=tuple(without_file),
    )


def _read_codes(path: Path) -> dict[str, tuple[list[str], int]]:
    """Return image -> its different codes, and the line of its first row."""
    table = read_table(path, known=(_KEY,))
    columns = {plain_name(name): name for name in table.columns}
    if _KEY not in columns or _CODE not in columns:
        raise InputError(f"{path}: no columns ImageId and EncodedPixels; give the data set's train-rle.csv to --labels")
    found: dict[str, tuple[list[str], int]] = {}
    cells = (table[columns[_KEY]].tolist(), table[columns[_CODE]].tolist())
    for line, name, code in zip(table.index.tolist(), *cells, strict=True):
        codes, _ = found.setdefault(name, ([], line))
        if name and code not in codes:
            codes.append(code)
    found.pop("", None)
    return found


def _films(images: Path) -> dict[str, Volume]:
    """Return SOPInstanceUID -> film, DICOM or a picture of that name; NIfTI is what `prepare` writes, perhaps here."""
    films: dict[str, Volume] = {}
    for volume in sorted(find_volumes(images)[0], key=lambda volume: volume.kind):  # dicom comes before picture
        if volume.kind != "nifti" and volume.header.shape[2] == 1:
            uid = volume.tags.instances[0] if volume.tags and volume.tags.instances else ""
            films.setdefault(uid or stem_of(volume.path), volume)
    return films


def _labels(codes: Collection[str]) -> list[str]:
    """Return what the image's rows say: 0, 1, both where they contradict each other, or nothing."""
    return sorted({"0" if code == _NONE else "1" for code in codes if code}) or [""]


class _MaskFolder:
    """Writes masks as PNG, each under its film's own path, by which `find_truth` knows it whatever it is called."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._empty: dict[tuple[int, int], bytes] = {}  # most films are negative: their mask is encoded once

    def write(self, film: Volume, codes: Collection[str]) -> None:
        """Write the union of `codes`; raises ValueError with the reason if they make no mask."""
        lesions = [code for code in codes if code and code != _NONE]
        if not any(codes):
            raise ValueError("its rows hold no run-length code")
        if lesions and _NONE in codes:
            raise ValueError("its rows say both -1 and a lesion")
        shape = film.header.shape[:2]
        if lesions:
            content = _png(union_of_runs(lesions, shape))
        else:
            content = self._empty[shape] = self._empty.get(shape) or _png(np.zeros(shape, bool))
        path = self._folder / film.relative.with_name(f"{stem_of(film.path)}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _png(mask: np.ndarray) -> bytes:
    """Encode `(columns, rows)` as grey values 0 and 1; a PNG lists rows."""
    stream = io.BytesIO()
    Image.fromarray(mask.T.astype(np.uint8)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
