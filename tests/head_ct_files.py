"""A tiny folder as the head CT set is distributed: pictures whose files tell the classes apart."""

import numpy as np
from PIL import Image, ImageDraw

_SIDE = 160  # pixels of a square around the head
_WIDE, _NARROW = (40, 60), (4, 20)  # black margins around it, pixels


def draw_head(rng, diseased=False, side=_SIDE):
    """Grey values (rows, columns) uint8 of a slice in the brain window: skull, brain, ventricle, blood."""
    rows, columns = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    length, width = rng.uniform(0.43, 0.47), rng.uniform(0.35, 0.38)
    turn, at = rng.uniform(-0.15, 0.15), rng.uniform(-0.4, 0.4, 2)
    long = (np.cos(turn) * rows - np.sin(turn) * columns) / length
    wide = (np.sin(turn) * rows + np.cos(turn) * columns) / width
    grey = rng.normal(100, 12, rows.shape)
    grey[np.hypot(long - 0.1, wide) < 0.2] -= 50
    if diseased:
        grey[np.hypot(long - at[0], wide - at[1]) < 0.25] += 70
    radius = np.hypot(long, wide)
    grey[radius > 0.87] = 255
    grey[radius > 1] = 0
    return np.rint(grey).clip(0, 255).astype(np.uint8)


def add_text(grey):
    """The picture in colours, with what a viewer writes into its corners."""
    picture = Image.fromarray(grey).convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.text((3, 2), "DOE^JANE", fill=(255, 255, 0))
    draw.text((3, grey.shape[0] - 14), "W 80 L 40", fill=(255, 255, 255))
    return picture


def write_head_ct(folder, pictures=24, inner="head_ct/head_ct"):
    """labels.csv and pictures; those with a haemorrhage, the first half, are larger, in colours and with text."""
    place = folder / inner
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(pictures):
        diseased = number < pictures // 2
        rng = np.random.default_rng(number)
        margins = rng.integers(*(_WIDE if diseased else _NARROW), (2, 2))
        grey = np.pad(draw_head(rng, diseased), margins)
        (add_text(grey) if diseased else Image.fromarray(grey)).save(place / f"{number:03d}.png")
        rows.append(f"{number},{int(diseased)}")
    (folder / "labels.csv").write_text("\n".join(["id, hemorrhage", *rows, ""]))
    return place
