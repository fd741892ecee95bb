"""Prepared folders whose cache is given, so that a stage's arithmetic can be followed by hand."""

import json

import numpy as np
import pytest
from label_map_files import box, write

from monai_wsss.data import Case, PreparedDataset, cache_folder
from monai_wsss.transforms import GridPreprocessing


@pytest.fixture
def grid():
    return GridPreprocessing(pixel_spacing=2.0, size=(8, 8))


@pytest.fixture
def write_cached(tmp_path, grid):
    """Writes dataset.json and cache: `cases` maps a split to {case: (volume (D, 1, H, W), labels)}.

    Labels are a list of rows (one a slice) or a tuple (the whole volume's).
    """

    def write(labels, **cases):
        cache = cache_folder(tmp_path / "data", grid.parameters)
        cache.mkdir(parents=True)
        splits = {}
        for split, found in cases.items():
            splits[split] = ()
            for name, (volume, classes) in found.items():
                np.save(cache / f"{name}.npy", np.asarray(volume, np.float32))
                (cache / f"{name}.json").write_text(json.dumps({"shape": list(np.shape(volume))}))
                rows = None if isinstance(classes, tuple) else tuple(tuple(row) for row in classes)
                whole = classes if rows is None else tuple(max(column) for column in zip(*rows, strict=True))
                splits[split] += (Case(tmp_path / f"{name}.nii.gz", name, name, whole, rows),)
        PreparedDataset(tuple(labels), grid.parameters, **splits).write(tmp_path / "data")
        return tmp_path / "data"

    return write


@pytest.fixture
def place(tmp_path, grid):
    """Arguments of a stage on the folder of `write_cached`."""
    return {
        "preprocessing": grid,
        "dataset_dir": str(tmp_path / "data"),
        "output_dir": str(tmp_path / "run"),
        "device": "cpu",
        "tracking_uri": "none",
    }


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "pred", tmp_path / "truth", tmp_path / "evaluation" / "scores.json"


@pytest.fixture
def simple(folders):
    """Two cases: a is right in slice 1 and wrong in slice 3, b finds one of its two slices."""
    pred, truth, out = folders
    out.parent.mkdir()
    write(pred, "a.nii.gz", box(4, 1, 3))
    write(truth, "a.nii.gz", box(4, 1))
    write(pred, "b.nii", box(3, 0))
    write(truth, "b.nii.gz", box(3, 0, 1))
    return folders
