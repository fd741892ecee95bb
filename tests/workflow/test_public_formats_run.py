"""Public data sets as they are distributed, through whole bundles."""

import csv
import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from coco_folder import CATEGORIES, write_coco
from coco_folder import VAL as COCO_VAL
from PIL import Image
from siim_acr_files import draw, encode, uid, write_film, write_siim_acr
from tiny_bundles import BES_BUNDLE, DSRG_BUNDLE, GROWING_SETTINGS
from voc_folder import VAL, annotation, write_voc

from monai_wsss.data import PreparedDataset
from monai_wsss.data.formats.voc import CLASSES
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.prepare_formats import prepare_format

VOC_SETTINGS = {
    "in_channels": 3,
    "drop_prob": 0.0,
    "classify_batch_size": 8,
    "classify_learning_rate": 3e-3,  # from scratch; the overlay's is for weights from a file
    "classify_new_factor": 1.0,
    "classify_bias_factor": 1.0,
    "classify_epochs": 2,
    "irnet_batch_size": 4,
    "irnet_epochs": 1,
    "segmenter": "deeplab_v3_plus_resnet18",
    "train_batch_size": 4,
    "train_epochs": 1,
}


# In colour and with the size of each picture its own, both set by the overlays.
# With a larger rate or another seed the tiny U-Net finds nothing in the few validation pictures after three epochs.
PICTURE_SETTINGS = {k: v for k, v in GROWING_SETTINGS.items() if k not in ("pixel_spacing", "infer_gate_probability")}
PICTURE_SETTINGS |= {"dsrg_learning_rate": 3e-3, "seed": 3}


def add_all_classes(root):
    """Ten training pictures of two classes each, so that every class has one."""
    rng = np.random.default_rng(0)
    names = []
    for at in range(10):
        labels = CLASSES[2 * at : 2 * at + 2]
        picture = np.full((32, 32, 3), 120, np.uint8)
        picture[4:14, 4:14], picture[16:28, 16:28] = rng.integers(0, 256, (2, 3))
        mask = np.zeros((32, 32), np.uint8)
        mask[4:14, 4:14], mask[16:28, 16:28] = 2 * at + 1, 2 * at + 2
        names.append(f"2012_{at:06d}")
        Image.fromarray(picture).save(root / "JPEGImages" / f"{names[-1]}.jpg")
        Image.fromarray(mask).save(root / "SegmentationClass" / f"{names[-1]}.png")
        (root / "Annotations" / f"{names[-1]}.xml").write_text(annotation(names[-1], labels))
    with (root / "ImageSets" / "Segmentation" / "trainaug.txt").open("a") as stream:
        stream.writelines(f"{name}\n" for name in names)


@pytest.fixture(scope="module")
def voc(tmp_path_factory, run_film_bundle):
    """One run of a generated VOC2012 of 20 classes: `data`, `run`, `records`."""
    folder = tmp_path_factory.mktemp("voc")
    add_all_classes(write_voc(folder, trainaug=True))
    grid = GridPreprocessing(pixel_spacing=None, size=(32, 32), channels=3)
    prepare_format("voc", folder, None, folder / "data", keep_names=True, preprocessing=grid)
    records = run_film_bundle(folder / "data", folder / "run", VOC_SETTINGS, overlays=["voc"])
    return SimpleNamespace(data=folder / "data", run=folder / "run", records=records)


def scores_of(run):
    return json.loads((run / "evaluation" / "scores.json").read_text())


def check_geometry(run, data):
    for case in PreparedDataset.read(data).test:
        source, mask = nib.load(case.image), nib.load(run / "predictions" / f"{case.case}.nii.gz")
        assert mask.shape == (*source.shape[:2], 1)
        assert np.array_equal(mask.affine, source.affine) and mask.get_data_dtype() == np.uint8


def test_voc_in_colour_with_twenty_classes(voc):
    assert [record["status"] for record in voc.records.values()] == ["done"] * 8
    check_geometry(voc.run, voc.data)
    for case in PreparedDataset.read(voc.data).training:
        maps = np.load(voc.run / "pseudo_masks" / "maps" / f"{case.case}.npy")
        assert maps.shape == (1, 20, 32, 32)
        assert not maps[0, np.array(case.classes) == 0].any()  # the labels gate the maps
    train = (voc.run / "bundle" / "configs" / "train.yaml").read_text()
    assert "\nlesion_weight: 1.0 " in train and "\nin_channels: 3 " in train


def test_voc_scores_leave_void_out(voc):
    """The data set's IoU of each class from scratch, over the pixels that are not 255."""
    found = scores_of(voc.run)
    cases = PreparedDataset.read(voc.data).test
    assert sorted(case.case for case in cases) == VAL and found["labels"] == list(CLASSES)
    truths, masks = [], []
    for case in cases:
        true = np.asarray(nib.load(case.truth).dataobj).ravel()
        mask = np.asarray(nib.load(voc.run / "predictions" / f"{case.case}.nii.gz").dataobj).ravel()
        truths.append(true[true != 255])
        masks.append(mask[true != 255])
    true, mask = np.concatenate(truths), np.concatenate(masks)
    # one picture of 96 void pixels (a square of 14 x 14 around one of 10 x 10), one of two squares that overlap
    assert len(truths[1]) == 30 * 40 - 96 and len(truths[0]) < 30 * 40
    there = sorted({*true.tolist(), *mask.tolist()})
    iou = {k: ((true == k) & (mask == k)).sum() / ((true == k) | (mask == k)).sum() for k in there}
    assert found["dataset"]["miou"] == pytest.approx(np.mean(list(iou.values())))
    assert found["dataset"]["pixel_accuracy"] == pytest.approx((true == mask).mean())
    assert found["classes"]["person"]["dataset"]["iou"] == pytest.approx(iou[15])
    assert found["counts"]["skipped"] == 0 and found["counts"]["missing"] == 0


@pytest.mark.parametrize("bundle", [DSRG_BUNDLE, BES_BUNDLE], ids=lambda path: path.name)
def test_voc_in_the_bundles_of_dsrg_and_bes(bundle, voc, run_bundle, tmp_path):
    records = run_bundle(bundle, voc.data, tmp_path / "run", PICTURE_SETTINGS, overlays=["voc"])
    assert {record["status"] for record in records.values()} == {"done"}
    check_geometry(tmp_path / "run", voc.data)
    masks = "pseudo_masks/refined" if bundle == DSRG_BUNDLE else "pseudo_masks/walk"
    for case in PreparedDataset.read(voc.data).training:
        seeds = np.load(tmp_path / "run" / "seeds" / f"{case.case}.npy")
        assert seeds.shape == (1, 20, 32, 32) and not seeds[0, np.array(case.classes) == 0].any()
        found = set(np.unique(np.load(tmp_path / "run" / masks / f"{case.case}.npy")).tolist()) - {0, 255}
        assert found <= {k + 1 for k in range(20) if case.classes[k]}
    assert scores_of(tmp_path / "run")["labels"] == list(CLASSES)
    infer = (tmp_path / "run" / "bundle" / "configs" / "inference.yaml").read_text()
    assert "\nin_channels: 3 " in infer and "\ninfer_gate_probability: 0.0 " in infer


def test_coco_in_the_dsrg_bundle(tmp_path, run_bundle):
    """Crowds, pictures of nothing, and a class within another; nothing is void."""
    write_coco(tmp_path / "coco")
    grid = GridPreprocessing(pixel_spacing=None, size=(32, 32), channels=3)
    prepare_format("coco", tmp_path / "coco", None, tmp_path / "data", keep_names=True, preprocessing=grid)
    settings = {name: value for name, value in PICTURE_SETTINGS.items() if name != "dsrg_epochs"}
    records = run_bundle(DSRG_BUNDLE, tmp_path / "data", tmp_path / "run", settings, overlays=["coco"])
    assert {record["status"] for record in records.values()} == {"done"}
    check_geometry(tmp_path / "run", tmp_path / "data")
    found = scores_of(tmp_path / "run")
    assert found["labels"] == list(CATEGORIES.values()) and found["counts"]["skipped"] == 0
    cases = PreparedDataset.read(tmp_path / "data").test
    assert [row["case"] for row in found["per_case"]] == sorted(case.case for case in cases)
    assert len(cases) == len(COCO_VAL) and set(found["classes"]) == set(CATEGORIES.values())
    assert [path.name for path in sorted((tmp_path / "run/dsrg/supervision").iterdir())] == ["0000", "0001", "0002"]


def test_a_voc_folder_without_pictures_of_a_class_is_refused_by_its_name(tmp_path, run_film_bundle):
    """Before anything is trained; the generated folder has three of the 20 classes."""
    write_voc(tmp_path, trainaug=True)
    grid = GridPreprocessing(pixel_spacing=None, size=(32, 32), channels=3)
    report = prepare_format("voc", tmp_path, None, tmp_path / "data", keep_names=True, preprocessing=grid)
    lines = report.lines()
    assert "17 of 20 classes have no positive in training: bicycle, bird, boat, bottle, bus and 12 more." in lines
    ranges = "0 to 5 present, 4 to 9 absent, 0 uncertain, 0 blank"
    assert f"Rows of 20 classes: {ranges}; each class in prepare.json." in lines
    assert len(lines) < 20
    whole = json.loads((tmp_path / "data" / "prepare.json").read_text())
    assert len(whole["table_notes"]) == 20 and "Class bus has no positive in test" in whole["empty_classes"]
    with pytest.raises(InputError, match="no positive slice of class bicycle in training"):
        run_film_bundle(tmp_path / "data", tmp_path / "run", VOC_SETTINGS, overlays=["voc"])


def add_films(folder, numbers):
    """More films, every second one with a pneumothorax; returns SOPInstanceUID -> lesion (rows, columns)."""
    lesions = {}
    for number in numbers:
        pixels, mask = draw(number, number % 2)
        write_film(folder / "dicom-images-train", number, pixels)
        lesions[uid(number)] = mask
    with (folder / "train-rle.csv").open("a") as stream:
        stream.writelines(f"{name}, {encode(mask) or '-1'}\n" for name, mask in lesions.items())
    return lesions


def test_siim_acr(tmp_path, run_film_bundle):
    lesions = write_siim_acr(tmp_path) | add_films(tmp_path, range(8, 24))
    films, table, names = tmp_path / "dicom-images-train", tmp_path / "train-rle.csv", tmp_path / "names.csv"
    grid = GridPreprocessing(pixel_spacing=None, size=(32, 32))
    options = {"split": (0.5, 0.2, 0.3), "mapping": names, "preprocessing": grid}
    prepare_format("siim-acr", films, table, tmp_path / "data", **options)
    settings = {"classify_epochs": 1, "irnet_epochs": 1, "train_epochs": 1}
    records = run_film_bundle(tmp_path / "data", tmp_path / "run", settings)
    assert [record["status"] for record in records.values()] == ["done"] * 8
    check_geometry(tmp_path / "run", tmp_path / "data")

    with names.open() as stream:
        lesion_of = {row["case"]: lesions.get(row["name"]) for row in csv.DictReader(stream)}
    found = scores_of(tmp_path / "run")
    scored = {row["case"]: row["true_voxels"] for row in found["per_case"]}
    test = {case.case: case.truth for case in PreparedDataset.read(tmp_path / "data").test}
    assert scored == {case: int(lesion_of[case].sum()) for case, truth in test.items() if truth is not None}
    assert found["papers"]["all_empty"] == pytest.approx(np.mean([not voxels for voxels in scored.values()]))
    assert 0 < found["counts"]["positive_slices"] < len(scored)
