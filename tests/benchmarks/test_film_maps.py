"""A map comes back to the film's own columns and rows."""

import csv

import numpy as np
import pytest
import torch
from dicom_files import film_tags, write_dicom

from benchmarks.rows import film_maps as module
from benchmarks.rows.film_maps import film_maps
from monai_wsss.data import PreparedDataset
from monai_wsss.metrics.boxes import best_box_iou, component_boxes, pointing_hits
from monai_wsss.transforms import GridPreprocessing


@pytest.fixture
def brightness(monkeypatch):
    """The image itself is the class map; the grid is larger than the film's shorter side, so that it pads."""
    grid = GridPreprocessing(pixel_spacing=None, size=(24, 24))
    monkeypatch.setattr(module, "preprocessing_of", lambda run: grid)
    monkeypatch.setattr(module, "part_of", lambda run, config, name, **settings: lambda film, network: film)
    return torch.nn.Identity()


def test_the_bright_square_lies_in_its_box(films, brightness, tmp_path):
    cases = [case for case in PreparedDataset.read(films.data).cases() if case.classes == (1,)]
    for values in film_maps(tmp_path, brightness, cases, device="cpu").values():
        assert tuple(values.shape) == films.size and 0.9 < float(values.max()) <= 1 and float(values.min()) >= 0
        box = torch.tensor(films.square).double()
        mirrored = torch.tensor([48 - 38, 8, 48 - 30, 14]).double()
        upended = torch.tensor([30, 40 - 14, 38, 40 - 8]).double()
        maps = values[None, None]
        assert pointing_hits(maps, box[None, None, None]).item() == 1
        assert pointing_hits(maps, torch.stack([mirrored, upended])[None, None]).item() == 0
        # half the film's pixels, so the square's edge is known to about two
        assert best_box_iou(component_boxes(maps, 0.6), box[None, None, None]).item() > 0.5


def test_a_dicom_film_has_columns_first(brightness, tmp_path):
    from monai_wsss.workflow.prepare import prepare

    rows = []
    for number in range(6):
        pixels = np.full((40, 48), 100, np.uint16)
        pixels[8:14, 30:38] = 3000
        name = f"F{number}.dcm"
        ids = {k: f"1.2.{number}.{i}" for i, k in enumerate(("StudyInstanceUID", "SeriesInstanceUID"))}
        tags = film_tags(PatientID=f"P{number}", Rows=40, Columns=48, BitsAllocated=16, **ids)
        write_dicom(tmp_path / "dicom" / name, tags, pixels=pixels.tobytes())
        rows.append([name, f"P{number}", number % 2])
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "PatientID", "finding"], *rows])
    prepare(tmp_path / "dicom", tmp_path / "labels.csv", tmp_path / "data", keep_names=True)
    case = PreparedDataset.read(tmp_path / "data").cases()[0]
    (values,) = film_maps(tmp_path, brightness, [case], device="cpu").values()
    column, row = (int(i) for i in np.unravel_index(int(values.argmax()), values.shape))
    assert 30 <= column < 38 and 8 <= row < 14
