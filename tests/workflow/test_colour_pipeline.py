"""Pictures in colour from a VOCdevkit to the cache and back, and scores that leave void pixels out."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Invertd
from PIL import Image
from voc_folder import OBJECTS, TRAIN, VAL, write_voc

from monai_wsss.data import PreparedDataset, cache_folder, cached_record
from monai_wsss.data.formats.voc import CLASSES, read_voc
from monai_wsss.metrics import count_case, summarise
from monai_wsss.transforms import GridPreprocessing, SaveMaskd
from monai_wsss.workflow import inference_items
from monai_wsss.workflow.label_maps import read_label_map
from monai_wsss.workflow.prepare import prepare

GRID = GridPreprocessing(pixel_spacing=None, size=(20, 20), channels=3)


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voc")
    root = write_voc(folder, trainaug=True)
    (folder / "scratch").mkdir()
    return root, read_voc(folder, None, folder / "scratch")


def run(native, out, keep_names=True, **options):
    given = {"preprocessing": GRID, "colour": native.colour} | options
    return prepare(
        native.images,
        native.labels,
        out,
        native.classes,
        split_column=native.split_column,
        masks=native.masks,
        keep_names=keep_names,
        **given,
    )


@pytest.fixture(scope="module")
def prepared(voc, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared")
    return run(voc[1], out), out


def test_splits_labels_and_patients(prepared):
    report, out = prepared
    data = PreparedDataset.read(out)
    assert report.complete and data.labels == CLASSES
    assert [case.case for case in data.validation] == TRAIN[:1]
    assert [case.case for case in data.training] == TRAIN[1:]
    assert [case.case for case in data.test] == VAL
    for case in data.cases():
        assert {CLASSES[k] for k, value in enumerate(case.classes) if value} == set(OBJECTS[case.case])
        assert case.patient == case.case and case.truth is not None and case.slice_classes is None
    assert data.preprocessing == GRID.parameters and data.reading == {"colour": True}
    assert len(report.files_without_row) == 1  # the tenth picture, which is in no list
    assert not report.rows_without_file and not report.ambiguous_rows and not report.truth_problems


def test_pseudonyms_leave_no_name_and_no_patient_in_common(voc, tmp_path):
    run(voc[1], tmp_path / "out", keep_names=False)
    data = PreparedDataset.read(tmp_path / "out")
    assert len({case.patient for case in data.cases()}) == len(data.cases()) == 9
    assert not any(name in case.image.name for case in data.cases() for name in OBJECTS)


def test_cache_holds_three_channels_that_share_one_scale(prepared, voc):
    _, out = prepared
    cache = cache_folder(out, GRID.parameters)
    array = np.load(cache / "2007_000003.npy")
    assert array.shape == (1, 3, 20, 20) and cached_record("2007_000003", cache)["shape"] == [1, 3, 20, 20]
    # 40 x 30 pixels on 20 x 20: each grid pixel is 2 x 2, and 15 of the 20 rows are picture, so it starts at row 2.5;
    # the tvmonitor (60, 80, 230) covers columns 3 to 12 and rows 2 to 11: its middle is pixel (4, 6)
    red, green, blue = array[0, :, 4, 6]
    picture = np.asarray(Image.open(voc[0] / "JPEGImages" / "2007_000003.jpg")).astype(float)
    low, high = np.percentile(picture, [0.5, 99.5])
    clipped = picture.clip(low, high)
    expected = (np.array([60, 80, 230]).clip(low, high) - clipped.mean()) / clipped.std()
    np.testing.assert_allclose([red, green, blue], expected, atol=0.15)  # JPEG and the blur before shrinking
    assert blue > green > red


def test_a_second_call_reads_nothing_and_grey_after_colour_reads_anew(voc, tmp_path):
    run(voc[1], tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()}
    run(voc[1], tmp_path)
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()}
    run(voc[1], tmp_path, colour=False, preprocessing=GridPreprocessing(pixel_spacing=None, size=(20, 20)))
    data = PreparedDataset.read(tmp_path)
    assert data.reading == {} and nib.load(data.test[0].image).shape == (30, 40, 1)


def test_the_default_cache_is_in_colour(voc, tmp_path):
    run(voc[1], tmp_path, preprocessing=None)
    expected = GridPreprocessing(pixel_spacing=None, channels=3).parameters
    assert PreparedDataset.read(tmp_path).preprocessing == expected and expected["channels"] == 3


def test_another_bundle_reads_the_same_folder_in_grey(prepared):
    _, out = prepared
    case = PreparedDataset.read(out).test[0]
    seen = GridPreprocessing(pixel_spacing=None, size=(20, 20))({"image": str(case.image)})["image"]
    assert seen.shape == (1, 20, 20, 1)


@pytest.mark.parametrize("channels", [1, 21])
@pytest.mark.parametrize("prepared_folder", [True, False])
def test_inference_writes_masks_where_the_pictures_lie(voc, prepared, tmp_path, channels, prepared_folder):
    """A network that finds the bluish pixels: of JPEG pictures, and of the prepared folder's test split."""
    source = prepared[1] if prepared_folder else voc[0] / "JPEGImages"
    items = inference_items(str(source), str(tmp_path), keep_names=True)
    grid = GridPreprocessing(pixel_spacing=None, size=(40, 40), channels=3)  # the pictures' own pixels
    loader = DataLoader(Dataset(items, grid), batch_size=1)
    invert = Invertd("pred", grid, orig_keys="image", nearest_interp=False)
    for batch in loader:
        image = batch["image"]
        assert image.shape == (1, 3, 40, 40, 1)
        blue = image[:, 2:] - image[:, :2].amax(1, keepdim=True)
        blue = (blue > 0.5 * blue.max()).float()
        batch["pred"] = MetaTensor(torch.cat([blue] * channels, 1).as_tensor())
        for item in decollate_batch(batch):
            item = invert(item)
            assert item["pred"].shape[0] == channels
            item["pred"] = (item["pred"][:1] > 0.5).to(torch.uint8) * 20
            SaveMaskd("pred", str(tmp_path / "masks"))(item)
    assert len(list((tmp_path / "masks").iterdir())) == (2 if prepared_folder else 10)
    found = nib.load(tmp_path / "masks" / "2010_000009.nii.gz")  # a tvmonitor, in a picture of 40 x 30
    true = nib.load(prepared[1] / "truth" / "2010_000009.nii.gz")
    assert found.shape == true.shape == (40, 30, 1)
    np.testing.assert_allclose(found.affine, true.affine)
    assert np.array_equal(np.asarray(found.dataobj) == 20, np.asarray(true.dataobj) == 20)


def test_true_masks_keep_their_void(prepared):
    _, out = prepared
    case = PreparedDataset.read(out).test[1]
    array = np.asarray(nib.load(case.truth).dataobj)
    # a square of 10 x 10 at (3, 2) in a frame that begins at (1, 0): 14 x 14 less 10 x 10 are 96
    assert {int(v): int(n) for v, n in zip(*np.unique(array, return_counts=True), strict=True)} == {
        0: 30 * 40 - 196,
        20: 100,
        255: 96,
    }
    labels, _ = read_label_map(case.truth, 20, truth=True)
    assert labels.shape == (1, 40, 30) and sorted(labels.unique().tolist()) == [0, 20, 255]


def test_mean_iou_of_the_data_set_leaves_void_out(prepared):
    _, out = prepared
    counted = []
    for case in PreparedDataset.read(out).test:
        truth, _ = read_label_map(case.truth, 20, truth=True)
        pred = torch.where(truth == 255, 7, truth)  # whatever stands on void pixels
        if case.case == "2010_000009":
            pred[0, 3:13, 2:7] = 1  # half of the tvmonitor is called an aeroplane
        counted.append(count_case(case.case, pred, truth, 20))
    result = summarise(counted, CLASSES)
    # background and person are right: 1; tvmonitor 50 / 100; aeroplane 0 / 50, without any true pixel: 0; the 17
    # classes that are neither there nor claimed (car, 7, on void alone) are left out: (1 + 1 + 0.5 + 0) / 4
    assert result["dataset"]["miou"] == pytest.approx(0.625)
    assert result["classes"]["tvmonitor"]["dataset"]["iou"] == pytest.approx(0.5)
    assert result["classes"]["car"]["lesions"] == {"f1": None, "tp": 0, "fp": 0, "fn": 0}
