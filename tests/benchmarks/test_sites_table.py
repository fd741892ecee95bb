"""The table across sites without training: every run's masks and probabilities are made by hand."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from benchmarks import sites as module
from benchmarks.rows.runs import Runs
from benchmarks.sites import sites_table
from benchmarks.tables.rebuild import format_table
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.manifest import Manifest

# site -> label and probability of each of its films, one a patient
FILMS = {
    "north": [(1, 0.9), (1, 0.4), (0, 0.6), (0, 0.1)],  # three of four pairs are in order: AUC 0.75
    "south": [(1, 0.8), (1, 0.7), (0, 0.2)],  # AUC 1
}
CHANCES = {f"{site}{n}": chance for site, films in FILMS.items() for n, (_, chance) in enumerate(films)}


def write_square(path, side):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((12, 12, 1), np.float32)
    image[:side, :side] = 1
    nib.save(nib.Nifti1Image(image, np.eye(4)), path)
    return path


@pytest.fixture
def dataset(tmp_path):
    """Truths are 4 x 4 pixels where there is the finding."""
    cases = []
    for site, films in FILMS.items():
        for number, (label, _) in enumerate(films):
            name = f"{site}{number}"
            image = write_square(tmp_path / "images" / f"{name}.nii.gz", 9)
            truth = write_square(tmp_path / "masks" / f"{name}.nii.gz", 4 * label)
            cases.append(Case(image, name, name, (label,), site=site, truth=truth))
    return PreparedDataset(("lesion",), test=tuple(cases))


@pytest.fixture
def data(dataset, tmp_path):
    (tmp_path / "data").mkdir()
    dataset.write(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def trained(monkeypatch):
    """What each run was trained and tested on; predictions are 4 x 2 of the 4 x 4 pixels in every film."""
    seen = []

    def predictions(part, folder):
        for case in part.test:
            path = write_square(folder / f"{case.case}.nii.gz", 4)
            image = nib.load(path).get_fdata()
            image[:, 2:] = 0
            nib.save(nib.Nifti1Image(image, np.eye(4)), path)
        rows = [f"{case.case},0,lesion,{CHANCES[case.case]},8" for case in part.test]
        (folder / "slices.csv").write_text("\n".join(["case,slice,class,probability,voxels", *rows, ""]))
        return folder

    def run_method(self, until):
        assert until == "infer"
        part = PreparedDataset.read(self.data)
        seen.append({split: {case.site for case in part.cases(split)} for split in ("training", "validation", "test")})
        predictions(part, self.method / "predictions")
        record = {"seconds": 30.0, "seed": 0, "device": "cpu", "threads": 1, "versions": {}}
        Manifest(self.method).set(stages={"infer": record}, bundle="b", overlays=[], overrides=self.values)
        return self.method

    monkeypatch.setattr(Runs, "run_method", run_method)
    monkeypatch.setattr(Runs, "until", lambda self, last: ["baseline", "train", last])
    monkeypatch.setattr(
        Runs, "localised", lambda self, one: predictions(PreparedDataset.read(self.data), self.work / one.folder)
    )
    monkeypatch.setattr(module, "is_localiser", lambda bundle: bundle.name == "localiser")
    monkeypatch.setattr(module, "preprocessing_of", lambda run: GridPreprocessing(pixel_spacing=None, size=(12, 12)))
    return seen


def test_each_site_is_tested_by_the_others(data, tmp_path, trained):
    found = sites_table(data, tmp_path / "bundle", tmp_path / "work", overrides={"x": 1})
    assert trained == [
        {"training": {"south"}, "validation": {"south"}, "test": {"north"}},
        {"training": {"north"}, "validation": {"north"}, "test": {"south"}},
    ]
    assert {site: found["sites"][site]["counts"] for site in FILMS} == {
        "north": {"patients": 4, "images": 4, "positive": 2},
        "south": {"patients": 3, "images": 3, "positive": 2},
    }
    for site, auc in (("north", 0.75), ("south", 1.0)):
        rows = found["sites"][site]["rows"]
        assert list(rows) == ["all background", "brightest blob", "segmenter"]
        assert rows["segmenter"]["auc"]["mean"] == auc and rows["all background"]["auc"] is None
        assert rows["segmenter"]["iou"]["mean"] == 0.5  # 8 of 16 pixels
        assert rows["all background"]["clean"] == 1 and rows["segmenter"]["clean"] == 0
    # two of four films: Dice 2 * 8 / (8 + 16) = 2 / 3, in negatives 0
    assert found["sites"]["north"]["rows"]["segmenter"]["dice"]["mean"] == pytest.approx(1 / 3)
    assert found["minutes"] == {"tested on north": 0.5, "tested on south": 0.5} and found["overrides"] == {"x": 1}


def test_every_localiser_has_a_row(data, tmp_path, trained):
    found = sites_table(data, tmp_path / "localiser", tmp_path / "work")
    rows = found["sites"]["south"]["rows"]
    assert list(rows)[2:] == ["localiser, baseline", "segmenter"]
    assert rows["localiser, baseline"]["auc"] == rows["segmenter"]["auc"]


def test_without_true_masks_there_is_the_auc(dataset, data, tmp_path, trained):
    replace(dataset, test=tuple(replace(case, truth=None) for case in dataset.test)).write(data)
    found = sites_table(data, tmp_path / "bundle", tmp_path / "work")
    rows = found["sites"]["north"]["rows"]
    assert list(rows) == ["segmenter"] and list(rows["segmenter"]) == ["auc"]
    assert "| north | segmenter | 0.750 [" in format_table(found)


def test_volumes_count_by_slice_or_once(tmp_path):
    """Slices .1 to .4 with the third positive: 2 of 3 pairs. The whole volumes: .4 positive, .3 negative, 1 of 1."""
    (tmp_path / "s.csv").write_text(
        "case,slice,class,probability,voxels\n"
        + "".join(f"a,{k},lesion,{p},0\n" for k, p in enumerate((0.1, 0.2, 0.3, 0.4)))
        + "b,0,lesion,0.3,0\nb,1,lesion,,0\n"
    )
    slices = Case(tmp_path, "a", "p", (1,), ((0,), (0,), (1,), (0,)))
    whole = [replace(slices, slice_classes=None), Case(tmp_path, "b", "q", (0,)), Case(tmp_path, "c", "r", (-1,))]

    def of(*cases):
        return module._auc(PreparedDataset(("lesion",), test=cases), tmp_path / "s.csv")

    assert of(slices)["mean"] == pytest.approx(2 / 3)
    found = of(*whole)
    assert found["mean"] == 1 and found["n"] == 2


def test_the_table_prints(data, tmp_path, trained):
    text = format_table(json.loads(json.dumps(sites_table(data, tmp_path / "b", tmp_path / "work"), allow_nan=False)))
    assert "| south | segmenter | 1.000 [1.000, 1.000] | 0.500 [0.500, 0.500] |" in text
    assert "north: 4 images of 4 patients, 2 positive; south: 3 images" in text


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda case: replace(case, classes=(*case.classes, 0)), "2 classes"),
        (lambda case: replace(case, site="north"), "1 sites"),
        (lambda case: replace(case, classes=(1,) if case.site == "south" else case.classes), "site south lacks"),
    ],
)
def test_what_has_no_sites_is_refused(dataset, data, tmp_path, trained, change, match):
    cases = tuple(change(case) for case in dataset.test)
    labels = ("lesion", "other")[: len(cases[0].classes)]
    PreparedDataset(labels, test=cases).write(data)
    with pytest.raises(InputError, match=match):
        sites_table(data, tmp_path / "bundle", tmp_path / "work")
    assert not trained
