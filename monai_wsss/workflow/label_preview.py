"""A picture of labelled slices, in which the eye finds labels that are off by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from monai_wsss.data import Case, PreparedDataset, atomic_path
from monai_wsss.data.presence import sign_of
from monai_wsss.ops import body_mask
from monai_wsss.workflow.pictures import shown_channels

_CASES, _PER_SIGN, _CLASSES = 6, 3, 12
_TILE, _BORDER, _GAP, _MARGIN, _LEAST_WIDTH = 220, 8, 12, 24, 800  # pixels
_FONT, _LINE = 20, 30
_NARROW = 0.02  # of the range: a third of a body within so little is the soft tissue of CT
_COLOURS = {"present": "#d55e00", "absent": "#0072b2", "unknown": "#999999"}  # apart for the colour-blind too


@dataclass(frozen=True)
class _Tile:
    case: Case
    index: int
    label: float
    caption: str


@dataclass(frozen=True)
class _Row:
    title: str
    tiles: list[_Tile | None]  # None: a slice that does not exist


def draw_label_preview(path: str | Path, dataset: PreparedDataset, cache: str | Path) -> bool:
    """Write a PNG of labelled slices with coloured borders: present, absent, unknown. Return whether there was any.

    Of up to six cases with slice labels: the slices before, at and after the first positive slice and the last. Of
    data labelled as a whole: up to three positive and three negative patients of each class, by the middle slice.
    Cases whose pixels may show a name (`burned_in`) are never drawn.

    Args:
        path: the picture.
        dataset: its cases and class names.
        cache: folder of CASE.npy, `(D, C, W, H)`.
    """
    labels = dataset.labels
    usable = [case for case in dataset.cases() if not case.burned_in and (Path(cache) / f"{case.case}.npy").is_file()]
    rows = list(_slice_rows(usable, labels)) or list(_case_rows(usable, Path(cache), labels))
    if not rows:
        Path(path).unlink(missing_ok=True)  # an older picture may show a case that is gone
        return False
    columns = max(len(row.tiles) for row in rows)
    side = _TILE + 2 * _BORDER
    width = max(_LEAST_WIDTH, 2 * _MARGIN + columns * side + (columns - 1) * _GAP)
    height = 2 * _MARGIN + _LINE + len(rows) * (side + 2 * _LINE + _GAP)
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(_FONT)
    _legend(draw, font)
    top = _MARGIN + _LINE + _GAP
    for row in rows:
        draw.text((_MARGIN, top), row.title, "black", font)
        for number, tile in enumerate(row.tiles):
            left = _MARGIN + number * (side + _GAP)
            if tile is None:
                draw.rectangle((left, top + _LINE, left + side - 1, top + _LINE + side - 1), outline="#cccccc")
                draw.text((left + side / 2, top + _LINE + side / 2), "no slice", "#777777", font, "mm")
                continue
            draw.rectangle((left, top + _LINE, left + side - 1, top + _LINE + side - 1), _COLOURS[_word(tile.label)])
            page.paste(_picture(tile, Path(cache)), (left + _BORDER, top + _LINE + _BORDER))
            draw.text((left, top + _LINE + side + 2), tile.caption, _COLOURS[_word(tile.label)], font)
        top += side + 2 * _LINE + _GAP
    with atomic_path(path) as part:
        page.save(part)
    return True


def _slice_rows(cases: Sequence[Case], labels: Sequence[str]) -> Iterator[_Row]:
    seen: Counter[int] = Counter()
    queue = []
    for case in cases:
        for k in range(len(labels)):
            if positive := [index for index, row in enumerate(case.slice_classes or ()) if row[k] >= 0.5]:
                queue.append((seen[k], case, k, positive[0], positive[-1]))
                seen[k] += 1
    queue.sort(key=lambda entry: entry[0])  # the classes take turns, so that each is seen
    for _, case, k, first, last in queue[:_CASES]:
        tiles = _around(case, k, first, "only" if first == last else "first")
        if first != last:
            tiles += _around(case, k, last, "last")
        yield _Row(f"{case.case}: {labels[k]}, slices 0 to {len(case.slice_classes or ()) - 1}", tiles)


def _around(case: Case, k: int, centre: int, name: str) -> list[_Tile | None]:
    rows = case.slice_classes or ()
    tiles: list[_Tile | None] = []
    for index in (centre - 1, centre, centre + 1):
        if 0 <= index < len(rows):
            mark = f" ({name} positive)" if index == centre else ""
            tiles.append(_Tile(case, index, rows[index][k], f"slice {index}{_soft(rows[index][k])}{mark}"))
        else:
            tiles.append(None)
    return tiles


def _case_rows(cases: Sequence[Case], cache: Path, labels: Sequence[str]) -> Iterator[_Row]:
    for k, label in enumerate(labels[:_CLASSES]):
        tiles: list[_Tile | None] = []
        for sign in ("present", "absent"):
            of_patient: dict[str, Case] = {}
            for case in cases:
                if _word(case.classes[k]) == sign:
                    of_patient.setdefault(case.patient, case)
            for case in list(of_patient.values())[:_PER_SIGN]:
                depth = len(np.load(cache / f"{case.case}.npy", mmap_mode="r", allow_pickle=False))
                tiles.append(_Tile(case, depth // 2, case.classes[k], f"{case.case[:16]}{_soft(case.classes[k])}"))
        if tiles:
            yield _Row(label, tiles)


def _soft(value: float) -> str:
    return f", soft {value:.2g}" if 0 < value < 1 else ""


def _picture(tile: _Tile, cache: Path) -> Image.Image:
    """Return the slice upright, the whole slice, not stretched."""
    array = np.load(cache / f"{tile.case.case}.npy", mmap_mode="r", allow_pickle=False)
    image = shown_channels(np.asarray(array[tile.index], dtype=np.float32)).transpose(2, 1, 0)  # (rows, columns, C)
    low, high = _range(image)
    scaled = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1) * 255
    picture = Image.fromarray(np.repeat(scaled.astype(np.uint8), 3 // image.shape[2], axis=2))
    picture.thumbnail((_TILE, _TILE))
    scale = _TILE / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    canvas = Image.new("RGB", (_TILE, _TILE))
    canvas.paste(picture, ((_TILE - picture.width) // 2, (_TILE - picture.height) // 2))
    return canvas


def _range(image: np.ndarray) -> tuple[float, float]:
    """What is shown black and white: percentiles 1 and 99; of CT, where they would level the brain, what is about it.

    Measured: the narrowest third of the body takes .004 to .011 of the range in 128 slices of brain_ct phantoms, .02 or
    more in all of 520 slices of lgg_mri (half of them .1), and .08 or more in 40 films of cxr_nih.
    """
    low, high = (float(value) for value in np.percentile(image, [1, 99]))
    grey = torch.from_numpy(np.ascontiguousarray(image[..., 0]))
    body = np.sort(image[..., 0][body_mask(grey[None, None])[0, 0].numpy()])
    third = len(body) // 3
    if third and image.shape[2] == 1:
        widths = body[third:] - body[: len(body) - third]
        first = int(widths.argmin())
        width = float(widths[first])
        if 0 < width < _NARROW * (high - low):
            return float(body[first]) - 5 * width, float(body[first]) + 7 * width
    return low, high


def _legend(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    left: float = _MARGIN
    for name, colour in _COLOURS.items():
        draw.rectangle((left, _MARGIN + 4, left + 20, _MARGIN + 24), colour)
        draw.text((left + 30, _MARGIN + 2), name, "black", font)
        left += 60 + draw.textlength(name, font)
    draw.text((left, _MARGIN + 2), "(the label; slices count from 0)", "#555555", font)


def _word(value: float) -> str:
    return {"positive": "present", "negative": "absent"}.get(sign_of(value), "unknown")
