"""One way to read a volume of any kind."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_cells import write_cells
from dicom_volumes import SHAPE, affine_of, values_of, write_enhanced, write_series
from PIL import Image

from monai_wsss.data.dicom.series_array import choose_series
from monai_wsss.data.nifti import read_nifti_header
from monai_wsss.data.picture import read_picture_header
from monai_wsss.data.read_volume import read_volume
from monai_wsss.data.volume import Volume
from monai_wsss.data.writers import write_image
from monai_wsss.errors import InputError

AXIAL = np.diag([-1.0, -1, 1, 1]) @ affine_of("axial")


def volume_of(path, header, kind):
    return Volume((path,), Path(path.name), "x", header, kind)


@pytest.mark.parametrize("known", [True, False])
def test_nifti(tmp_path, known):
    path = tmp_path / "x.nii.gz"
    write_image(path, values_of(), AXIAL, known)
    for source in (path, str(path), [path], volume_of(path, read_nifti_header(path), "nifti")):
        loaded = read_volume(source)
        assert np.array_equal(loaded.array, values_of()) and loaded.array.dtype == np.float32
        np.testing.assert_allclose(loaded.affine, AXIAL, atol=1e-5)
        assert loaded.spacing_known is known and loaded.files == (path,)


def test_nifti_with_codes_of_0(tmp_path):
    image = nib.Nifti1Image(values_of(), None)
    nib.save(image, tmp_path / "x.nii")
    assert read_volume(tmp_path / "x.nii").spacing_known is False


def test_picture(tmp_path):
    path = tmp_path / "x.PNG"
    Image.fromarray(np.arange(6, dtype="u1").reshape(2, 3)).save(path)
    for source in (path, str(path), volume_of(path, read_picture_header(path), "picture")):
        loaded = read_volume(source)
        assert loaded.array[..., 0].tolist() == [[0, 3], [1, 4], [2, 5]] and not loaded.spacing_known


def test_dicom(tmp_path):
    folder = write_series(tmp_path / "s", order=[0, 3, 1, 4, 2])
    files = sorted(folder.iterdir())
    series = choose_series([folder])
    volume = Volume(series.files, Path("s"), "s", series.header, "dicom", series.tags, series.frames)
    for source in (folder, files, [str(file) for file in reversed(files)], volume):
        loaded = read_volume(source)
        assert np.array_equal(loaded.array, values_of()) and loaded.spacing_known
        np.testing.assert_allclose(loaded.affine, AXIAL, atol=1e-6)
        assert [file.name for file in loaded.files] == ["000.dcm", "003.dcm", "001.dcm", "004.dcm", "002.dcm"]
    (bare,) = [read_volume(write_enhanced(tmp_path / "IM_0001"))]  # no suffix
    assert bare.array.shape == SHAPE


def test_options(tmp_path):
    write_series(tmp_path / "s", Modality="MR")
    write_series(tmp_path / "s" / "t", "coronal", SeriesInstanceUID="1.2.3.5", Modality="MR")
    assert read_volume(tmp_path / "s", series="plane=coronal").files[0].parent.name == "t"
    (tmp_path / "s" / "t" / "001.dcm").unlink()
    assert read_volume(tmp_path / "s" / "t", resample=True).array.shape == SHAPE
    film = {"Modality": "CR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "WindowCenter": "2", "WindowWidth": "2"}
    path = write_cells(tmp_path / "film", np.array([[0, 1, 9]], "u1"), **film)
    assert read_volume(path).array.ravel().tolist() == [0, 1, 9]
    assert read_volume(path, voi=True).array.ravel().tolist() == [0, 0, 255]  # 2 - 0.5 +- 0.5: from 1 to 2
    assert read_volume(path).spacing_known is False


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="an empty list"):
        read_volume([])
    (tmp_path / "empty").mkdir()
    for name in ("gone.nii.gz", "gone.png", "gone", "empty"):
        with pytest.raises(InputError, match=f"{name}: (not found|holds no DICOM image)"):
            read_volume(tmp_path / name)
    (tmp_path / "notes.txt").write_text("clutter")
    with pytest.raises(InputError, match=r"notes\.txt: holds no DICOM image"):
        read_volume(tmp_path / "notes.txt")


def test_three_colours_of_every_kind(tmp_path):
    picture, nifti = tmp_path / "x.png", tmp_path / "x.nii.gz"
    Image.fromarray(np.arange(18, dtype="u1").reshape(2, 3, 3)).save(picture)
    colours = read_volume(picture, colour=True).array
    assert colours.shape == (3, 2, 1, 3) and colours[1, 0, 0].tolist() == [3, 4, 5]
    write_image(nifti, colours, AXIAL)
    assert np.array_equal(read_volume(nifti, colour=True).array, colours)
    assert np.array_equal(read_volume(nifti).array, read_volume(picture).array)
    found = read_volume(write_series(tmp_path / "dicom"), colour=True).array
    assert found.shape == (*SHAPE, 3) and all(np.array_equal(found[..., k], values_of()) for k in range(3))
