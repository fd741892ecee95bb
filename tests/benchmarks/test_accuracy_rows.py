import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks import steps
from benchmarks.accuracy import (
    CEILING,
    METHOD,
    RANDOM,
    SHUFFLED,
    UNGATED,
    _labels_to_grid,
    _supervise,
    _write_rows,
    accuracy,
)
from benchmarks.run_parts import preprocessing_of
from benchmarks.steps import layout_of, other_classifier_masks, step_masks
from benchmarks.tables import format_table
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest

FILM_BUNDLE = Path(__file__).parents[2] / "bundles" / "cxr_pneumothorax_irnet"
REFINED, WALKED = layout_of(["classify", "seed", "refine", "train"]), layout_of(["seed", "refine", "walk", "train"])


def test_rows_follow_the_method_when_it_was_run_anew(whole, tmp_path, files_of):
    """Else a second call with another setting would print the first one's class maps beside the second's segmenter."""
    dataset, preprocess = PreparedDataset.read(whole.data), preprocessing_of(whole.run)
    method = shutil.copytree(whole.run, tmp_path / "method")
    makers = step_masks(REFINED, method, whole.data, list(REFINED.steps))
    folders = _write_rows(dataset, preprocess, makers, method / REFINED.prior, tmp_path / "rows")
    assert list(folders) == ["all background", "brightest blob", "position prior", *REFINED.steps]
    before = {name: files_of(folder) for name, folder in folders.items()}
    for case in dataset.cases("test"):
        path = method / "pseudo_masks" / "refined" / f"{case.case}.npy"
        np.save(path, 1 - np.load(path))
    _write_rows(dataset, preprocess, makers, method / REFINED.prior, tmp_path / "rows")
    changed = {name for name, folder in folders.items() if files_of(folder) != before[name]}
    assert changed == {"class maps, thresholded"}


@pytest.mark.parametrize("layout", [REFINED, WALKED])
def test_the_ceiling_sees_no_true_mask_of_the_test_split(whole, tmp_path, layout):
    dataset = PreparedDataset.read(whole.data)
    _supervise(dataset, whole.run, tmp_path, layout)
    for folder in layout.learnt:
        written = {path.stem for path in (tmp_path / folder).iterdir()}
        assert written == {case.case for case in dataset.training + dataset.validation}
    assert not (tmp_path / "seeds").exists()


def test_steps_of_the_walk_count_ignored_pixels_as_background(tmp_path, monkeypatch):
    """Maps .1, .4, .9: the threshold .3 takes two pixels; the stage's own mask ignores one and claims one."""
    maps = torch.tensor([0.1, 0.4, 0.9]).reshape(1, 1, 1, 3)
    refine = SimpleNamespace(
        foreground_threshold=0.3,
        volume=lambda case: torch.zeros(1, 1, 1, 3),
        thresholded=lambda maps, threshold, volume: (maps > threshold).byte(),
        case_masks=lambda case: (torch.tensor([[[[0, 255, 1]]]], dtype=torch.uint8), None),
    )
    monkeypatch.setattr(steps, "stage_of", lambda run, data, config, device: refine)
    for folder, array in (("seeds", maps), ("pseudo_masks/walk", torch.tensor([[[1, 1, 0]]], dtype=torch.uint8))):
        (tmp_path / folder).mkdir(parents=True)
        np.save(tmp_path / folder / "a.npy", array.numpy())
    makers = step_masks(WALKED, tmp_path, tmp_path, list(WALKED.steps))
    found = {row: maker(SimpleNamespace(case="a")).tolist() for row, maker in makers.items()}
    assert found == {
        "class maps, thresholded": [[[0, 1, 1]]],
        "class maps + CRF": [[[0, 0, 1]]],
        "+ IRNet": [[[1, 1, 0]]],
    }


def test_another_classifier_is_gated_by_the_methods(whole):
    """The method's own classifier gives the method's own masks; an untrained one claims nothing where that has none."""
    dataset = PreparedDataset.read(whole.data)
    own, random = (other_classifier_masks(whole.run, whole.data, trained) for trained in (whole.run, None))
    again = other_classifier_masks(whole.run, whole.data, None)
    for case in dataset.cases("test"):
        refined = np.load(whole.run / "pseudo_masks" / "refined" / f"{case.case}.npy")
        mapped = np.load(whole.run / "seeds" / f"{case.case}.npy").any((1, 2, 3))
        assert (own(case).numpy() == refined).mean() > 0.99  # seeds are kept in half precision
        assert not random(case).numpy()[~mapped].any()
        assert torch.equal(random(case), again(case))


@pytest.fixture(scope="module")
def table(whole, tmp_path_factory):
    """The method's run is already there; the ceiling, the ungated and the shuffled run are made."""
    work = tmp_path_factory.mktemp("accuracy")
    shutil.copytree(whole.run, work / "method")
    settings = Manifest(whole.run).content["overrides"]
    return work, accuracy(whole.data, whole.bundle, work, overrides=settings, device="cpu")


def test_all_rows(table):
    assert list(table[1]["rows"]) == [
        "all background",
        "brightest blob",
        "position prior",
        SHUFFLED,
        RANDOM,
        *REFINED.steps,
        METHOD,
        UNGATED,
        CEILING,
    ]
    assert table[1]["base"] == METHOD and table[1]["rows"][METHOD]["difference"]["mean"] == 0
    assert table[1]["rows"]["all background"]["papers"]["miou_all"] == pytest.approx(
        table[1]["rows"][METHOD]["papers"]["all_empty"]
    )
    assert {"supervised train", "shuffled classify"} < table[1]["minutes"].keys()


def test_a_part_of_the_method_beside_another_table(table, whole, tmp_path):
    settings = Manifest(whole.run).content["overrides"]
    work, full = table
    (tmp_path / "part").mkdir()
    shutil.copytree(whole.run, tmp_path / "part" / "method")
    rows = {"until": "refine", "extras": ["random"], "beside": [work]}
    part = accuracy(whole.data, whole.bundle, tmp_path / "part", (), settings, "cpu", **rows)
    assert part["base"] == "class maps + CRF"
    own = ["all background", "brightest blob", "position prior", RANDOM, *REFINED.steps]
    assert list(part["rows"]) == [*own, *(f"{name} ({work.name})" for name in (*REFINED.steps, METHOD))]
    for name in own:
        assert part["rows"][name]["patients"] == full["rows"][name]["patients"]
    assert part["rows"][f"{METHOD} ({work.name})"]["patients"] == full["rows"][METHOD]["patients"]
    assert part["rows"]["class maps + CRF"]["classification"]["auc"] is not None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"until": "walk"}, "no such stage"),
        ({"until": "seed", "extras": ["ceiling"]}, "needs the stage infer"),
        ({"extras": ["oracle"]}, "no such row"),
    ],
)
def test_rows_that_cannot_be_are_refused_before_anything_runs(whole, tmp_path, options, match):
    with pytest.raises(InputError, match=match):
        accuracy(whole.data, whole.bundle, tmp_path / "work", **options)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("split", "extras", "match"),
    [
        ("test", ["ungated"], "1 of 2 test cases have no true mask; prepare with --masks"),
        ("training", None, r"1 of 9 cases have no true mask, which the row ceiling learns from; .*\(--row\)"),
    ],
)
def test_a_missing_true_mask_is_refused_where_it_is_needed(whole, tmp_path, split, extras, match):
    dataset = PreparedDataset.read(whole.data)
    first, *others = dataset.cases(split)
    replace(dataset, **{split: (replace(first, truth=None), *others)}).write(tmp_path / "data")
    with pytest.raises(InputError, match=match):
        accuracy(tmp_path / "data", whole.bundle, tmp_path / "work", extras=extras)
    assert not (tmp_path / "work").exists()


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory, write_films, run_films):
    """Table of films of three classes, and the folder that it worked in."""
    root = tmp_path_factory.mktemp("three")
    study = write_films(root / "study", {"train": 8, "val": 4, "test": 4}, ("air", "fluid", "nodule"))
    settings = {"classify_epochs": 2, "train_epochs": 1, "irnet_epochs": 1}
    run_films(study, root, settings)
    (root / "work").mkdir()
    (root / "run").rename(root / "work" / "method")
    settings = Manifest(root / "work" / "method").content["overrides"]
    places = root / "data", FILM_BUNDLE, root / "work", (), settings, "cpu"
    return root, accuracy(*places, extras=["ungated", "ceiling", "random"])


def test_rows_of_several_classes(three_classes):
    """No row that is made for one class; each score of a row is that of its own masks."""
    root, found = three_classes
    assert list(found["rows"]) == ["all background", RANDOM, *WALKED.steps, METHOD, UNGATED, CEILING]
    assert "brightest blob" not in found["protocol"]
    truths = {case.case: labels_of(case.truth) for case in PreparedDataset.read(root / "data").test}
    folders = {"all background": "rows/all_background", "+ IRNet": "rows/+_IRNet", METHOD: "method/predictions"}
    for name, folder in folders.items():
        masks = {case: labels_of(root / "work" / folder / f"{case}.nii.gz") for case in truths}
        true, mask = (np.concatenate([of[case] for case in truths]) for of in (truths, masks))
        iou = [((true == k) & (mask == k)).sum() / ((true == k) | (mask == k)).sum() for k in range(4)]
        assert found["rows"][name]["dataset"]["miou"] == pytest.approx(np.mean(iou)), name
        assert mask.any() or name != "+ IRNet"


def labels_of(path):
    return np.asarray(nib.load(path).dataobj).ravel()


def test_the_table_of_several_classes_prints_and_is_small(three_classes):
    found = json.loads(json.dumps(three_classes[1], allow_nan=False))
    lines = format_table(found).splitlines()
    assert lines[0].endswith("| clean negative slices | data-set mIoU | pixel accuracy |")
    miou = found["rows"]["+ IRNet"]["dataset"]["miou"]
    (row,) = [line for line in lines if line.startswith("| + IRNet")]
    assert row.split("|")[-3].strip() == f"{miou:.3f}"
    assert "(paper)" not in lines[0] and "means over 3 classes" in lines[-1]
    assert found["rows"][METHOD]["classes"]["fluid"].keys() == {"iou", "dice"}


def test_the_ceiling_learns_each_true_label(three_classes):
    root, _ = three_classes
    case = next(c for c in PreparedDataset.read(root / "data").training if sum(c.classes) > 1)
    learnt = np.load(root / "work" / "supervised" / "pseudo_masks" / "walk" / f"{case.case}.npy")
    values = {k + 1 for k, present in enumerate(case.classes) if present}
    assert set(np.unique(learnt)) == {0, *values} and learnt.shape == (1, 32, 32)


def test_true_labels_on_the_grid_keep_their_void(three_classes, tmp_path):
    """Films of 28 x 32 pixels fill the grid of 32 x 32 one to one."""
    root, _ = three_classes
    case = PreparedDataset.read(root / "data").training[0]
    source = nib.load(case.image)
    labels = np.zeros(source.shape, np.uint8)
    labels[2:9, 3:8], labels[10:20, 5:9], labels[25:28] = 2, 3, 255
    nib.save(nib.Nifti1Image(labels, source.affine), tmp_path / "truth.nii.gz")
    found = _labels_to_grid(replace(case, truth=tmp_path / "truth.nii.gz"), preprocessing_of(root / "work" / "method"))
    assert found.dtype == np.uint8
    assert dict(zip(*np.unique(found, return_counts=True), strict=True)) == {0: 32 * 32 - 171, 2: 35, 3: 40, 255: 96}
