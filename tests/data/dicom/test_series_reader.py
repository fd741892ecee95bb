"""DicomSeriesReader within MONAI's LoadImage."""

import numpy as np
import pytest
from dicom_cells import write_cells
from dicom_volumes import SHAPE, affine_of, values_of, write_enhanced, write_series
from monai.transforms import LoadImage, LoadImaged
from monai.utils import SpaceKeys

from monai_wsss.data.dicom.series_reader import DicomSeriesReader
from monai_wsss.errors import InputError

AFFINE = np.diag([-1.0, -1, 1, 1]) @ affine_of("oblique")


@pytest.fixture
def folder(tmp_path):
    return write_series(tmp_path / "s", "oblique", [0, 3, 1, 4, 2])


def test_whatever_names_the_series(folder):
    files = sorted(folder.iterdir())
    load = LoadImage(reader=DicomSeriesReader(), ensure_channel_first=True)
    for source in (folder, str(folder), files, files[::-1], [str(file) for file in files]):
        image = load(source)
        assert tuple(image.shape) == (1, *SHAPE) and np.array_equal(image[0], values_of())
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    nested = DicomSeriesReader()
    assert np.array_equal(nested.get_data(nested.read([files[:2], [files[2:]]]))[0], values_of())
    assert tuple(load(files[0]).shape) == (1, *SHAPE[:2], 1)
    assert np.array_equal(load(write_enhanced(folder.parent / "e", "oblique"))[0], 2.0 * values_of() - 3)


def test_metadata_is_geometry_only(folder):
    reader = DicomSeriesReader()
    array, meta = reader.get_data(reader.read(folder))
    assert array.dtype == np.float32
    assert meta.keys() == {
        "affine",
        "original_affine",
        "spatial_shape",
        "space",
        "original_channel_dim",
        "spacing_known",
    }
    assert meta["space"] == SpaceKeys.RAS and meta["original_channel_dim"] == "no_channel"
    assert meta["spatial_shape"].tolist() == list(SHAPE) and meta["spacing_known"] is True
    meta["affine"][:] = 0
    assert meta["original_affine"].any()
    loaded = LoadImaged("image", reader=reader)({"image": str(folder)})["image"]
    text = repr(loaded.meta)
    assert "DOE" not in text and "SECRET" not in text and "1.2.3.4" not in text


def test_options(tmp_path):
    write_series(tmp_path / "s", Modality="MR", SeriesDescription="T1")
    write_series(tmp_path / "s" / "more", Modality="MR", SeriesDescription="T2", SeriesInstanceUID="1.2.9")
    with pytest.raises(InputError, match="choose one with a rule"):
        DicomSeriesReader().read(tmp_path / "s")
    assert DicomSeriesReader("SeriesDescription=T2").read(tmp_path / "s").tags.series_description == "T2"
    (tmp_path / "s" / "more" / "002.dcm").unlink()
    gap = DicomSeriesReader("SeriesDescription=T2", resample=True)
    assert gap.get_data(gap.read(tmp_path / "s"))[0].shape == SHAPE
    film = write_cells(
        tmp_path / "film",
        np.array([[0, 103, 255]], "u1"),
        Modality="DX",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1",
        WindowCenter="128",
        WindowWidth="101",
    )
    for voi, expected in ((False, [0, 103, 255]), (True, [0, 255 * 0.255, 255])):
        reader = DicomSeriesReader(voi=voi)
        array, meta = reader.get_data(reader.read(film))
        np.testing.assert_allclose(array[:, 0, 0], expected, rtol=1e-6)
        assert meta["spacing_known"] is False


def test_which_files_it_reads(folder, tmp_path):
    reader = DicomSeriesReader()
    bare = tmp_path / "1.2.840.7"
    bare.write_bytes((folder / "000.dcm").read_bytes())
    picture = tmp_path / "x.png"
    picture.write_bytes(b"\x89PNG" + bytes(200))
    assert reader.verify_suffix(str(folder)) and reader.verify_suffix([bare, folder / "000.dcm"])
    assert not reader.verify_suffix(picture) and not reader.verify_suffix([bare, picture])
    assert not reader.verify_suffix("missing.nii.gz")
