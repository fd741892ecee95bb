"""Small pictures of a few fixed validation slices, for the eye and for MLflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from monai_wsss.data import Case, PreparedDataset, atomic_path
from monai_wsss.transforms.window_hu import LOWEST
from monai_wsss.workflow.tracking import Tracker

_TITLE = 14  # pixels
_COLOURS = ((230, 60, 60), (60, 160, 240), (250, 190, 40), (120, 200, 90))


def picture_slices(dataset: PreparedDataset, cache: Path, count: int = 4) -> list[tuple[Case, int]]:
    """Up to `count` labelled-positive slices of the validation split: the middle one of each of the first cases.

    Cases whose pixels may show a name (`burned_in`) are left out. `cache` tells the depth of a volume
    that is labelled as a whole.
    """
    chosen = []
    for case in dataset.cases("validation"):
        if case.burned_in:
            continue
        if case.slice_classes is not None:
            rows = np.asarray(case.slice_classes)
        else:
            rows = np.asarray([case.classes] * len(np.load(cache / f"{case.case}.npy", mmap_mode="r")))
        positive = np.flatnonzero((rows >= 0.5).any(axis=1))  # soft labels too
        if len(positive):
            chosen.append((case, int(positive[len(positive) // 2])))
    return chosen[:count]


def shown_channels(image: np.ndarray) -> np.ndarray:
    """What is shown of an image `(C, W, H)`: three colours, of several windows of CT the first, `(1 or 3, W, H)`.

    In false colours blood would be orange, and a red outline on it hard to see. Three channels whose darkest value is
    exactly that of `WindowHUd` are windows: colours are standardised by numbers of their own.
    """
    return image if len(image) == 3 and float(image.min()) != LOWEST else image[:1]


def _canvas(image: np.ndarray) -> np.ndarray:
    """Pixels `(W, H, 3)` from the darkest to the brightest value; the colours share one scale, so that hues stay."""
    shown = shown_channels(image) if image.ndim == 3 else image[None]
    low, high = float(shown.min()), float(shown.max())
    scaled = ((shown - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    return np.repeat(scaled, 3 // len(scaled), axis=0).transpose(1, 2, 0).copy()


def _paint(image: np.ndarray, overlay: np.ndarray | None) -> np.ndarray:
    """Heat for a map in [0, 1], an outline a class for a label map."""
    canvas = _canvas(image)
    if overlay is None:
        return canvas
    if np.issubdtype(overlay.dtype, np.floating):
        weight = 0.6 * np.clip(overlay.astype(np.float32), 0, 1)[..., None]
        return (canvas * (1 - weight) + np.array([255, 80, 0]) * weight).astype(np.uint8)
    for label in np.unique(overlay[(overlay > 0) & (overlay < 255)]):
        outline = find_boundaries(np.pad(overlay == label, 1), mode="inner")[1:-1, 1:-1]  # at the rim too
        canvas[outline] = _COLOURS[(int(label) - 1) % len(_COLOURS)]
    return canvas


def save_panel(
    path: Path,
    images: Mapping[str, Sequence[np.ndarray]],
    overlays: Mapping[str, Sequence[np.ndarray]],
    tracker: Tracker | None = None,
    zoom: int = 2,
) -> None:
    """Write a PNG with one row a title and one column a slice.

    Args:
        path: file to write; nothing is written without a slice.
        images: slices `(W, H)` or `(C, W, H)` by the row's title, the W axis towards the patient's left, the H axis
            towards the back; C = 1 is grey, C = 3 red, green and blue; of windows of CT the first is shown.
        overlays: by title, maps in [0, 1] (drawn as heat) or label maps (drawn as outlines), `(W, H)`.
        tracker: receives the picture.
        zoom: enlargement.
    """
    if not any(len(row) for row in images.values()):
        return
    rows = []
    for title, row in images.items():
        marks = overlays.get(title, [None] * len(row))
        tiles = [_paint(image, mark).swapaxes(0, 1) for image, mark in zip(row, marks, strict=True)]
        strip = Image.fromarray(np.concatenate(tiles, axis=1))
        strip = strip.resize((strip.width * zoom, strip.height * zoom), Image.Resampling.NEAREST)
        page = Image.new("RGB", (strip.width, strip.height + _TITLE))
        ImageDraw.Draw(page).text((3, 1), title, fill=(255, 255, 255))
        page.paste(strip, (0, _TITLE))
        rows.append(page)
    panel = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)))
    top = 0
    for page in rows:
        panel.paste(page, (0, top))
        top += page.height
    with atomic_path(path) as part:
        panel.save(part)
    if tracker is not None:
        tracker.log_picture(path)
