import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from benchmarks.method_pictures import method_pictures
from benchmarks.pictures import case_pictures, shown_slices
from benchmarks.rows.run_parts import preprocessing_of
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError

SIDE, HEADER, TITLE = 64, 14, 14  # 32 pixels twice


@pytest.fixture
def folders(whole, tmp_path):
    """Of each test case a mask that is the truth's, an empty one, and class maps of a run."""
    run = shutil.copytree(whole.run, tmp_path / "run")
    for case in PreparedDataset.read(whole.data).test:
        truth = nib.load(case.truth)
        for name, mask in {"right": truth.dataobj, "empty": np.zeros(truth.shape)}.items():
            (tmp_path / name).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(np.asarray(mask, np.uint8), truth.affine), tmp_path / name / f"{case.case}.nii.gz")
        maps = np.zeros((4, 1, 32, 32), np.float16)
        maps[..., 16:, :] = 0.5  # the picture's right half
        np.save(run / "seeds" / f"{case.case}.npy", maps)
    return {"right": tmp_path / "right", "empty": tmp_path / "empty", "maps": run / "seeds"}


def tiles(path, columns):
    page = np.asarray(Image.open(path)).astype(int)
    rows = (len(page) - HEADER) // (SIDE + TITLE)
    assert page.shape == (HEADER + rows * (SIDE + TITLE), columns * SIDE, 3)
    tops = [HEADER + TITLE + row * (SIDE + TITLE) for row in range(rows)]
    return [[page[top : top + SIDE, SIDE * c : SIDE * (c + 1)] for c in range(columns)] for top in tops]


def test_a_slice_a_row_and_a_method_a_column(whole, folders, tmp_path):
    method_pictures(whole.data, folders, tmp_path / "out.png", cases=1)
    (row,) = tiles(tmp_path / "out.png", 5)
    image, truth, right, empty, maps = row
    assert (truth == right).all() and (image == empty).all()
    outlined = (truth != image).any(-1)
    assert outlined.any() and (truth[outlined] == [230, 60, 60]).all()
    grey = (image[..., 0] == image[..., 1]) & (image[..., 1] == image[..., 2])
    heated = (maps != image).any(-1)
    assert grey.all() and heated[:, SIDE // 2 :].all() and not heated[:, : SIDE // 2].any()


def test_one_row_a_patient_with_a_lesion(whole, folders, tmp_path):
    positive = [
        case for case in PreparedDataset.read(whole.data).test if np.asarray(nib.load(case.truth).dataobj).any()
    ]
    method_pictures(whole.data, {"right": folders["right"]}, tmp_path / "out.png", cases=10)
    assert len(tiles(tmp_path / "out.png", 3)) == len(positive) > 1


def test_the_slice_is_that_of_the_largest_true_area(whole, folders):
    """Slices 1 and 2 of the phantoms are alike, the first of them is shown; its truth has lesion pixels in it."""
    (one,) = shown_slices(whole.data, {"right": folders["right"]}, preprocessing_of(whole.run), 1)
    assert one.image.shape == (1, 32, 32) and one.truth.sum() == 36
    assert (one.masks["right"] == one.truth).all()
    assert one.image[0][one.truth > 0].min() > one.image[0][one.truth == 0].max()


def test_pictures_that_may_show_a_name_are_left_out(whole, folders, tmp_path):
    dataset = PreparedDataset.read(whole.data)
    replace(dataset, test=tuple(replace(case, burned_in=True) for case in dataset.test)).write(tmp_path / "data")
    assert not shown_slices(tmp_path / "data", {}, preprocessing_of(whole.run), 4)
    with pytest.raises(InputError, match="no test patient has a true lesion to show"):
        method_pictures(tmp_path / "data", folders, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_arrays_of_another_grid_are_refused(whole, tmp_path):
    for case in PreparedDataset.read(whole.data).test:
        np.save(tmp_path / f"{case.case}.npy", np.zeros((4, 16, 16), np.uint8))
    with pytest.raises(InputError, match=r"its arrays are \(16, 16\), the grid is \(32, 32\)"):
        method_pictures(whole.data, {"other": tmp_path}, tmp_path / "out.png")


def test_without_a_run_the_grid_is_that_of_the_prepared_folder(whole, folders, tmp_path):
    """The phantom's run has the same grid as `prepare`, so both ways show the same."""
    method_pictures(whole.data, {"right": folders["right"]}, tmp_path / "prepared.png")
    copied = shutil.copytree(folders["right"], tmp_path / "run" / "right")
    method_pictures(whole.data, {"right": copied}, tmp_path / "run.png")
    assert (tmp_path / "prepared.png").read_bytes() == (tmp_path / "run.png").read_bytes()


def test_steps_of_one_method_are_rows(whole, tmp_path):
    shutil.copytree(whole.run, tmp_path / "method")
    case_pictures(whole.data, tmp_path, tmp_path / "out.png", count=2)
    rows = 5  # image, class map, CRF mask, segmenter, true mask
    assert Image.open(tmp_path / "out.png").size == (2 * SIDE, rows * (SIDE + TITLE))
