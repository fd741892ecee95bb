"""A prepared folder of tiny films, of unequal sides so that swapped axes show."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

COLUMNS, ROWS = 48, 40
SQUARE = (30, 8, 38, 14)  # x0, y0, x1, y1: to the right of the film, and high up


def film(rng, positive):
    pixels = rng.uniform(60, 120, (ROWS, COLUMNS))
    if positive:
        x0, y0, x1, y1 = SQUARE
        pixels[y0:y1, x0:x1] += 120
    return pixels.astype(np.uint8)


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Ten patients, half of them positive, the first with two films: `data`, `boxes`, `size` and `square` of a film."""
    from monai_wsss.transforms import GridPreprocessing
    from monai_wsss.workflow.prepare import prepare

    root, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    (root / "png").mkdir()
    rows = []
    for number in range(11):
        patient, positive = max(number, 1), int(max(number, 1) % 2)
        Image.fromarray(film(rng, positive)).save(root / "png" / f"F{number:02d}.png")
        rows.append([f"F{number:02d}.png", f"P{patient}", positive])
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "PatientID", "finding"], *rows])
    x0, y0, x1, y1 = SQUARE
    boxed = [f"{name},{x0},{y0},{x1 - x0},{y1 - y0}" for name, _, positive in rows if positive]
    (root / "boxes.csv").write_text("\n".join(["file,x,y,width,height", *boxed, ""]))
    grid = GridPreprocessing(pixel_spacing=None, size=(24, 24))
    prepare(root / "png", root / "labels.csv", root / "data", keep_names=True, preprocessing=grid)
    return SimpleNamespace(
        png=root / "png", data=root / "data", boxes=root / "boxes.csv", size=(COLUMNS, ROWS), square=SQUARE
    )
