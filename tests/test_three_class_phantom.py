"""The volumes of three classes are what other tests take them for."""

import csv

import nibabel as nib
import numpy as np
import pytest
from three_class_phantom import ABSENT_IN_TEST, AXIAL, CLASSES, GRID, prepared_three_class, write_three_class

from monai_wsss.data import PreparedDataset

PATIENTS = [f"PHANTOM{number:02d}" for number in range(8)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_three_class(tmp_path_factory.mktemp("three") / "study")


@pytest.fixture(scope="module")
def arrays(study):
    """Patient -> volume, mask."""
    files = {name: [study / kind / f"{name}.nii.gz" for kind in ("images", "masks")] for name in PATIENTS}
    return {name: [np.asarray(nib.load(file).dataobj) for file in pair] for name, pair in files.items()}


@pytest.fixture(scope="module")
def rows(study):
    with (study / "labels.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_what_is_there(study, arrays):
    assert sorted(path.name for path in (study / "images").iterdir()) == [f"{name}.nii.gz" for name in PATIENTS]
    assert {volume.shape for volume, _ in arrays.values()} == {(64, 64, 4), (64, 64, 5), (64, 64, 6)}
    assert all(mask.dtype == np.uint8 and mask.shape == volume.shape for volume, mask in arrays.values())
    assert np.array_equal(nib.load(study / "images" / "PHANTOM00.nii.gz").affine, AXIAL)


def test_the_table_says_what_the_masks_show(arrays, rows):
    for row in rows:
        mask = arrays[row["PatientID"]][1]
        shown = mask if row["slice"] == "" else mask[..., int(row["slice"])]
        assert [row[name] for name in CLASSES] == [str(int((shown == k).any())) for k in (1, 2, 3)]
    assert [row["PatientID"] for row in rows if row["slice"] == ""] == [PATIENTS[-1]]
    assert not arrays[PATIENTS[-1]][1].any()
    assert len(rows) == sum(mask.shape[2] for _, mask in arrays.values()) - arrays[PATIENTS[-1]][1].shape[2] + 1


def test_splits_and_classes(rows):
    splits = {}
    for row in rows:
        splits.setdefault(row["split"], []).append({name for name in CLASSES if row[name] == "1"})
    patients = {split: {row["PatientID"] for row in rows if row["split"] == split} for split in splits}
    assert {split: len(names) for split, names in patients.items()} == {"train": 4, "val": 1, "test": 3}
    for split in ("train", "val"):
        assert set.union(*splits[split]) == set(CLASSES) and any(not shown for shown in splits[split])
    assert set.union(*splits["test"]) == set(CLASSES) - {ABSENT_IN_TEST}
    for name in CLASSES:  # alone, with another, and not at all
        assert {name} in splits["train"] and any(name in shown and len(shown) > 1 for shown in splits["train"])
    assert set(CLASSES) in [*splits["train"], *splits["val"]]


def test_kinds_can_be_told_apart_by_eye_and_not_by_size(arrays):
    sizes = {label: [] for label in (1, 2, 3)}
    for volume, mask in arrays.values():
        for index in range(mask.shape[2]):
            for label in set(np.unique(mask[..., index])) - {0}:
                values = volume[..., index][mask[..., index] == label]
                kind = "striped" if values.std() > 30 else "bright" if values.mean() > 150 else "dark"
                assert kind == CLASSES[label - 1]
                assert label != 3 or abs(values.mean() - 100) < 15  # on average as the head around it
                sizes[label].append(len(values))
    assert all(70 < min(found) and max(found) < 180 for found in sizes.values())
    healthy = [volume[(mask == 0) & (volume > 0)] for volume, mask in arrays.values()]
    assert abs(np.concatenate(healthy).mean() - 100) < 1


def test_lesions_lie_inside_the_head_and_apart(arrays):
    for volume, mask in arrays.values():
        assert (volume[mask > 0] > 0).all()
        grown = np.zeros((4, *mask.shape), bool)
        for label in (1, 2, 3):
            for shift in [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]:
                grown[label] |= np.roll(mask == label, shift, (0, 1))
        assert grown.sum(0).max() <= 1


@pytest.mark.parametrize("cases", [9, 16])
def test_other_numbers_of_patients(tmp_path, cases):
    write_three_class(tmp_path / "study", cases=cases)
    with (tmp_path / "study" / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["PatientID"] for row in rows}) == cases
    for split, classes in (("train", CLASSES), ("val", CLASSES), ("test", ("bright", "dark"))):
        assert {name for row in rows for name in CLASSES if row["split"] == split and row[name] == "1"} == set(classes)


def test_too_few_patients_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cases must be 8 or more"):
        write_three_class(tmp_path / "study", cases=7)


def test_seed_decides(study, tmp_path, files_of):
    again, other = write_three_class(tmp_path / "again"), write_three_class(tmp_path / "other", seed=1)
    name = "masks/PHANTOM00.nii.gz"
    masks = [np.asarray(nib.load(folder / name).dataobj) for folder in (study, again, other)]
    assert np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[0], masks[2])
    assert files_of(study)["labels.csv"] == files_of(again)["labels.csv"]


def test_prepared(tmp_path, arrays):
    data = PreparedDataset.read(prepared_three_class(tmp_path))
    assert data.labels == CLASSES
    assert [len(data.cases(split)) for split in ("training", "validation", "test")] == [4, 1, 3]
    assert data.preprocessing["pixel_spacing"] == GRID["pixel_spacing"]
    for case in data.cases():
        mask = arrays[case.case][1]
        assert np.array_equal(np.asarray(nib.load(case.truth).dataobj), mask)
        assert case.classes == tuple(float((mask == k).any()) for k in (1, 2, 3))
        if case.case != PATIENTS[-1]:
            shown = [[float((mask[..., at] == k).any()) for k in (1, 2, 3)] for at in range(mask.shape[2])]
            assert np.array_equal(case.slice_classes, shown)
    assert {case.case for case in data.test} == set(PATIENTS[5:])
