"""Files of a series to one array, in the place where SimpleITK and dicom2nifti see it."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_cells import write_cells
from dicom_volumes import DIRECTIONS, SHAPE, SPACING, affine_of, values_of, write_enhanced, write_series

from monai_wsss.data.dicom.series import find_series
from monai_wsss.data.dicom.series_array import choose_series, read_series_array
from monai_wsss.data.volume import Volume
from monai_wsss.errors import InputError

LPS_TO_RAS = np.diag([-1.0, -1, 1, 1])
MR_SERIES = Path(__file__).parents[3] / "../shared/data/mr_series"
INTERLEAVED = [0, 3, 1, 4, 2]  # number of each slice in the acquisition


def read(path, **options):
    return read_series_array(choose_series([path], **options), resample=options.get("resample", False))


def simpleitk(files):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage([str(file) for file in files] if len(files) > 1 else str(files[0]))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), LPS_TO_RAS @ affine


@pytest.mark.parametrize("order", [None, [4, 3, 2, 1, 0], INTERLEAVED], ids=["ascending", "reversed", "interleaved"])
@pytest.mark.parametrize("name", DIRECTIONS)
def test_classic_series(tmp_path, name, order):
    array, affine = read(write_series(tmp_path / "s", name, order))
    assert array.dtype == np.float32 and np.array_equal(array, values_of())
    np.testing.assert_allclose(affine, LPS_TO_RAS @ affine_of(name), atol=1e-6)
    sitk = pytest.importorskip("SimpleITK")
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "s"))
    expected, expected_affine = simpleitk(files)
    assert np.array_equal(array, expected)
    np.testing.assert_allclose(affine, expected_affine, atol=1e-5)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_enhanced_object(tmp_path, name):
    path = write_enhanced(tmp_path / "e.dcm", name)
    array, affine = read(path)
    assert np.array_equal(array, 2.0 * values_of() - 3)
    np.testing.assert_allclose(affine, LPS_TO_RAS @ affine_of(name), atol=1e-6)
    expected, expected_affine = simpleitk([path])
    assert np.array_equal(array, expected)
    np.testing.assert_allclose(affine, expected_affine, atol=1e-5)
    shuffled, same = read(write_enhanced(tmp_path / "f.dcm", name, order=[3, 0, 4, 1, 2], syntax="RLE"))
    assert np.array_equal(shuffled, array) and np.array_equal(same, affine)


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal", "oblique"])
def test_dicom2nifti_agrees(tmp_path, name):
    dicom2nifti = pytest.importorskip("dicom2nifti")
    values = values_of((32, 40, 6))
    folder = write_series(tmp_path / "s", name, values=values, Modality="MR", Manufacturer="none", ImageType="ORIGINAL")
    array, affine = read(folder)
    dicom2nifti.dicom_series_to_nifti(str(folder), str(tmp_path / "n.nii.gz"), reorient_nifti=False)
    image = nib.load(tmp_path / "n.nii.gz")
    assert same_place(array, affine, np.asarray(image.dataobj), image.affine)


def same_place(array, affine, other, other_affine):
    """Both hold the same value at every point, in whatever order their axes run."""
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    seen = nib.affines.apply_affine(np.linalg.inv(other_affine) @ affine, index)
    assert np.abs(seen - np.rint(seen)).max() < 1e-3
    return np.array_equal(array.reshape(-1), other[tuple(np.rint(seen).astype(int).T)])


def test_a_real_series():
    if not MR_SERIES.is_dir():
        pytest.skip("shared/data/mr_series is not there")
    array, affine = read(MR_SERIES)
    sitk = pytest.importorskip("SimpleITK")
    expected, expected_affine = simpleitk(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(MR_SERIES)))
    assert array.shape == (274, 384, 24) and np.array_equal(array, expected)
    np.testing.assert_allclose(affine, expected_affine, atol=1e-6)


def test_each_slice_has_its_own_slope(tmp_path):
    """As in PET."""
    folder = write_series(tmp_path / "s", order=[0, 1, 2, 3, 4])
    last = write_series(tmp_path / "t", RescaleSlope="10", RescaleIntercept="0")
    (folder / "004.dcm").write_bytes((last / "004.dcm").read_bytes())
    array, _ = read(folder)
    assert np.array_equal(array[..., :4], values_of()[..., :4])
    assert np.array_equal(array[..., 4], 10.0 * values_of()[..., 4])


def test_a_missing_slice(tmp_path):
    """Refused; resampled on request, halfway between its neighbours."""
    folder = write_series(tmp_path / "s")
    (folder / "002.dcm").unlink()
    with pytest.raises(InputError, match="1 slice is missing between slices 2 and 3"):
        read(folder)
    array, affine = read(folder, resample=True)
    values = values_of().astype(float)
    assert array.shape == SHAPE
    np.testing.assert_allclose(array[..., 2], (values[..., 1] + values[..., 3]) / 2, atol=1e-3)
    np.testing.assert_allclose(affine, LPS_TO_RAS @ affine_of("axial"), atol=1e-6)


def test_a_volume_finds_its_grid_again(tmp_path):
    """`find_volumes` hands out volumes, which carry the files and not the resampling grid."""
    folder = write_series(tmp_path / "s")
    (folder / "001.dcm").unlink()
    series = choose_series([folder], resample=True)
    volume = Volume(series.files, Path("s"), "s", series.header, "dicom", series.tags, series.frames)
    assert np.array_equal(read_series_array(volume, resample=True)[0], read(folder, resample=True)[0])
    with pytest.raises(InputError, match="have to be resampled"):
        read_series_array(volume)


def test_unusable_series(tmp_path):
    folder = write_series(tmp_path / "s", order=[0, 1, 2, 3, 4])
    twice = (folder / "001.dcm").read_bytes().replace(b"1.2.3.4.2\0", b"1.2.3.4.9\0")
    (folder / "007.dcm").write_bytes(twice)
    with pytest.raises(InputError, match="slices 2 and 3 have the same position"):
        read(folder)
    (bad,) = [series for series in find_series(sorted(folder.iterdir())) if series.problem]
    with pytest.raises(InputError, match="same position"):
        read_series_array(bad)


def test_several_series_are_listed_and_chosen(tmp_path):
    write_series(tmp_path / "s", SeriesDescription="FLAIR ax", Modality="MR")
    write_series(
        tmp_path / "s" / "t", "coronal", SeriesInstanceUID="1.2.3.5", SeriesDescription="T1 cor", Modality="MR"
    )
    with pytest.raises(InputError, match=r'holds 2 series.*MR "FLAIR ax" axial.*MR "T1 cor" coronal') as caught:
        read(tmp_path / "s")
    assert "\n" not in str(caught.value) and "DOE" not in str(caught.value)
    _, affine = read(tmp_path / "s", rule="SeriesDescription~flair")
    np.testing.assert_allclose(affine, LPS_TO_RAS @ affine_of("axial"), atol=1e-6)
    assert read(tmp_path / "s", rule="plane=coronal")[0].shape == SHAPE
    with pytest.raises(InputError, match=r"no series fits the rule Modality=CT; there are 1 x MR"):
        read(tmp_path / "s", rule="Modality=CT")
    with pytest.raises(InputError, match="holds 2 series"):
        read(tmp_path / "s", rule="Modality=MR")


def test_nothing_there(tmp_path):
    (tmp_path / "clutter.txt").write_text("no image")
    with pytest.raises(InputError, match="holds no DICOM image"):
        choose_series([tmp_path])
    with pytest.raises(InputError, match="gone: not found"):
        choose_series([tmp_path / "gone"])


def test_a_damaged_slice_names_its_file(tmp_path):
    folder = write_series(tmp_path / "s", syntax="RLE")
    series = choose_series([folder])
    content = (folder / "003.dcm").read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OB")
    (folder / "003.dcm").write_bytes(content[: start + 30] + b"\xff" * (len(content) - start - 38) + content[-8:])
    with pytest.raises(InputError, match=r"003\.dcm: its RLE data is damaged"):
        read_series_array(series)


def test_files_that_changed_meanwhile(tmp_path):
    series = choose_series([write_series(tmp_path / "s")])
    write_cells(tmp_path / "s" / "002.dcm", np.zeros((4, 4), "i2"))
    with pytest.raises(InputError, match=r"002\.dcm: another size"):
        read_series_array(series)
    with pytest.raises(InputError, match="find them again"):
        read_series_array(replace(series, files=series.files[:2]))


def test_one_array_is_filled(tmp_path):
    values = np.zeros((64, 64, 30), "i2")
    series = choose_series([write_series(tmp_path / "s", values=values)])
    size = values.size * 4
    read_series_array(series)
    tracemalloc.start()
    read_series_array(series)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < peak < 1.5 * size


def test_frames_of_one_file_are_read_once(tmp_path, monkeypatch):
    from monai_wsss.data.dicom import series_array

    opened, real = [], series_array.PixelFile
    monkeypatch.setattr(series_array, "PixelFile", lambda *args: opened.append(args) or real(*args))
    series = choose_series([write_enhanced(tmp_path / "e")])
    assert read_series_array(series)[0].shape == SHAPE and len(opened) == 1
    assert np.allclose(np.linalg.norm(series.header.affine[:3, :3], axis=0), SPACING)
