"""The grid without training: every run's network finds a square, larger for lower thresholds."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from benchmarks import threshold_grid as module
from benchmarks.rows.runs import Runs
from benchmarks.tables.rebuild import format_table
from benchmarks.threshold_grid import threshold_grid
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest

OWN = (0.85, 0.99)


def write_square(path, side):
    """A square of `side` x `side` in one slice of 12 x 12."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((12, 12, 1), np.uint8)
    mask[:side, :side] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), path)
    return path


@pytest.fixture
def data(tmp_path):
    cases = []
    for name in "ab":
        truth = write_square(tmp_path / "data" / "truth" / f"{name}.nii.gz", 6)
        cases.append(Case(image=truth, case=name, patient=name, classes=(1,), truth=truth))
    PreparedDataset(("lesion",), test=tuple(cases)).write(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def trained(monkeypatch):
    """Pairs that were trained, and the run whose first stages each took."""
    seen = {}

    def run_method(self, until, shared):
        seen[self.values["dsrg_foreground"], self.values["dsrg_background"]] = until, shared
        record = {"seconds": 90.0, "seed": 0, "device": "cpu", "threads": 1, "versions": {}}
        content = {"bundle": "b", "overlays": list(self.overlays), "overrides": self.values}
        self.method.mkdir(parents=True)
        Manifest(self.method).set(stages={"dsrg": record}, **content)
        return self.method

    def grown(self):
        for name in "ab":
            write_square(self.work / f"{name}.nii.gz", 6 if self.values["dsrg_foreground"] < OWN[0] else 3)
        return self.work

    monkeypatch.setattr(Runs, "run_method", run_method)
    monkeypatch.setattr(Runs, "grown", grown)
    monkeypatch.setattr(Runs, "until", lambda self, last: ["seed", last])
    monkeypatch.setattr(module, "known_defaults", lambda configs: dict(zip(module._IDS, OWN, strict=True)))
    return seen


def test_every_pair_beside_the_papers(data, tmp_path, trained):
    """3 x 3 of 6 x 6 pixels: Dice 2 * 9 / (9 + 36) = 0.4, which is 0.6 less than all of them."""
    found = threshold_grid(data, tmp_path, tmp_path / "work", [0.7], [0.9, 0.99], ["small"], {"x": 1}, "cpu")
    first = tmp_path / "work" / "0.85_0.99" / "method"
    assert trained == {OWN: ("dsrg", None), (0.7, 0.9): ("dsrg", first), (0.7, 0.99): ("dsrg", first)}
    cells = {(cell["foreground"], cell["background"]): cell for cell in found["cells"]}
    assert list(cells) == [(0.7, 0.9), (0.7, 0.99), OWN]
    for pair, dice in {(0.7, 0.9): 1.0, (0.7, 0.99): 1.0, OWN: 0.4}.items():
        assert cells[pair]["dice"]["mean"] == cells[pair]["positives"]["mean"] == pytest.approx(dice)
        assert cells[pair]["difference"]["mean"] == pytest.approx(0.4 - dice)
        assert cells[pair]["minutes"] == 1.5
    assert found["overrides"] == {"x": 1} and found["overlays"] == ["small"]


def test_the_papers_pair_is_trained_once_and_another_run_is_shared(data, tmp_path, trained):
    other = tmp_path / "other"
    threshold_grid(data, tmp_path, tmp_path / "work", [0.85], [0.99], from_run=other)
    assert trained == {OWN: ("dsrg", other)}


def test_the_grid_prints(data, tmp_path, trained):
    found = threshold_grid(data, tmp_path, tmp_path / "work", [0.7], [0.9], overrides={"x": 1})
    lines = format_table(json.loads(json.dumps(found, allow_nan=False))).splitlines()
    assert lines[2].startswith("| 0.7 | 0.9 | 1.000 [1.000, 1.000] | -0.600 [-0.600, -0.600] |")
    assert lines[3].startswith("| 0.85 | 0.99 | 0.400 [0.400, 0.400] |  |")
    assert "2 test patients, 2 slices, 2 positive. Overlays: none; x=1." in lines[-1]
    assert "minutes a pair: 1.5 to 1.5." in lines[-1]


def test_a_missing_true_mask_is_refused_before_anything_runs(data, tmp_path, trained):
    dataset = PreparedDataset.read(data)
    first, *others = dataset.test
    replace(dataset, test=(replace(first, truth=None), *others)).write(data)
    with pytest.raises(InputError, match="1 of 2 test cases have no true mask"):
        threshold_grid(data, tmp_path, tmp_path / "work", [0.7], [0.9])
    assert not trained
