"""A phantom export holds the studies that it documents; its tables and masks agree with its images."""

import csv
import datetime
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import openpyxl
import pydicom
import pytest
from pydicom import uid
from pydicom.errors import InvalidDicomError

from monai_wsss.data.discovery import find_volumes
from monai_wsss.data.phantoms.dicom_people import Person
from monai_wsss.data.phantoms.dicom_plan import plan_studies
from monai_wsss.data.phantoms.dicom_series import reformat, tilt
from monai_wsss.data.phantoms.dicom_study import StudyWriter
from monai_wsss.data.phantoms.kinds import PHANTOMS
from monai_wsss.data.phantoms.phantom import Phantom, ScannerSettings
from monai_wsss.data.phantoms.studies import SERIES_RULES, write_studies
from monai_wsss.data.read_volume import read_volume
from monai_wsss.data.series_rule import SeriesRule

PATIENTS, SIZE, SLICES = 10, 36, 4
NO_DICOM = {"VIEWER/viewer.exe", "VIEWER/readme.txt", "autorun.inf", "DICOM/Thumbs.db", "DICOM/IM00000"}
WORDS = {
    "localizer": ("localizer", "3-Plane Loc", "Survey"),
    "t1": ("t1_se_tra", "Ax T1", "T1W_SE"),
    "flair": ("t2_flair_tra_dark-fl", "Ax T2 FLAIR", "FLAIR_longTR"),
    "t1 coronal": ("t1_se_mpr_cor", "REFORMAT COR", "sT1W_MPR_cor"),
}


def slices_of(files):
    """(file, frame from 1 or None, position) of each slice of a series, ascending along the normal."""
    found, orientation = [], None
    for path, data in files:
        if "NumberOfFrames" not in data:
            found.append((path, None, np.array(data.ImagePositionPatient, float)))
            orientation = data.ImageOrientationPatient
            continue
        orientation = data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
        for frame, group in enumerate(data.PerFrameFunctionalGroupsSequence, start=1):
            position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
            found.append((path, frame, position))
    normal = np.cross(orientation[:3], orientation[3:])
    return sorted(found, key=lambda slice_: slice_[2] @ normal)


def is_whole(data):
    return data.file_meta.TransferSyntaxUID.is_compressed or len(data.PixelData) >= 2 * data.Rows * data.Columns


def values_of(data):
    """(slices, rows, columns) after the modality LUT; MONOCHROME1 is turned, as SimpleITK does."""
    if "NumberOfFrames" in data:
        lut = data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        return data.pixel_array.reshape(-1, data.Rows, data.Columns) * float(lut.RescaleSlope) + lut.RescaleIntercept
    stored = data.pixel_array.astype(float)[None]
    stored = 2**data.BitsStored - 1 - stored if data.PhotometricInterpretation == "MONOCHROME1" else stored
    return stored * float(data.RescaleSlope) + float(data.RescaleIntercept)


def read_export(root):
    """Everything that the folder holds: `strange` names, `headers` by file, and files by series UID."""
    export, strange, headers, series = root / "export", set(), {}, defaultdict(list)
    for path in sorted(path for path in export.rglob("*") if path.is_file()):
        try:
            headers[path] = data = pydicom.dcmread(path)
        except InvalidDicomError:
            strange.add(path.relative_to(export).as_posix())
            continue
        if "PixelData" in data:
            series[data.SeriesInstanceUID].append((path, data))
    with (root / "slice_labels.csv").open(encoding="utf-8-sig", newline="") as file:
        images = list(csv.DictReader(file, delimiter=";"))
    header, *rows = openpyxl.load_workbook(root / "labels.xlsx").worksheets[0].iter_rows(values_only=True)
    studies = [dict(zip(header, row, strict=True)) for row in rows]
    return SimpleNamespace(root=root, strange=strange, headers=headers, series=series, images=images, studies=studies)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return read_export(write_studies(tmp_path_factory.mktemp("mri"), patients=PATIENTS, size=SIZE, slices=SLICES))


@pytest.fixture(scope="module")
def flair(export):
    """UID -> files of the series that the labels speak of."""
    return {u: files for u, files in export.series.items() if "flair" in files[0][1].SeriesDescription.lower()}


def test_clutter(export):
    assert export.strange == NO_DICOM
    kinds = Counter(data.get("Modality", "index") for data in export.headers.values() if "PixelData" not in data)
    assert kinds == {"index": 1, "SR": 3}  # reports of the studies 0, 5 and 10
    assert all("." not in path.name for path in export.headers)


def test_counts_of_series(export, flair):
    names = {word: name for name, words in WORDS.items() for word in words}
    counts = Counter(names[files[0][1].SeriesDescription] for files in export.series.values())
    # Patients 0 and 1 have a faulty second study, 4 a good one: 13 studies, one of them aborted before FLAIR.
    # Every third patient (0 twice, 3, 6, 9) has the reformat.
    assert counts == {"localizer": 13, "t1": 13, "flair": 12, "t1 coronal": 5}
    assert {len(slices_of(files)) for files in flair.values()} == {SLICES}
    assert {files[0][1].Modality for files in export.series.values()} == {"MR"}
    assert len({data.StudyInstanceUID for data in export.headers.values() if "StudyInstanceUID" in data}) == 13


def test_one_series_of_each_study_fits_the_rule(flair):
    field, _, word = SERIES_RULES["MR"].partition("~")
    assert field == "SeriesDescription" and all(word in f[0][1].SeriesDescription.lower() for f in flair.values())
    assert max(Counter(files[0][1].StudyInstanceUID for files in flair.values()).values()) == 1


def test_identifiers_are_valid_and_unique(export):
    instances = [data.SOPInstanceUID for data in export.headers.values()]
    assert len(set(instances)) == len(instances)
    for data in export.headers.values():
        assert (
            uid.UID(data.SOPInstanceUID).is_valid and data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
        )
    patients = {(data.PatientID, str(data.PatientName)) for data in export.headers.values() if "PatientID" in data}
    assert len(patients) == len({patient for patient, _ in patients}) == PATIENTS


def test_vendors(export, flair):
    folders = defaultdict(list)
    for files in export.series.values():
        folders[files[0][1].Manufacturer].append(files[0][0].parent)
    assert set(folders) == {"Alpha Imaging", "Beta Systems", "Gamma Health"}
    assert len(set(folders["Alpha Imaging"])) == len(folders["Alpha Imaging"])
    assert len(set(folders["Beta Systems"])) < len(folders["Beta Systems"])  # series of a study in one folder
    for files in flair.values():
        path, data = files[0]
        slices = slices_of(files)
        numbers = [frame or pydicom.dcmread(file).InstanceNumber for file, frame, _ in slices]
        forth = abs((slices[1][2] - slices[0][2])[1])  # mm that a slice lies in front of the one below
        if data.Manufacturer == "Alpha Imaging":
            assert numbers == [1, 2, 3, 4] and forth == 0 and data.SliceThickness == 6
        elif data.Manufacturer == "Beta Systems":
            assert numbers == [4, 3, 2, 1] and forth > 6 * np.sin(np.deg2rad(4)) - 1e-6 and "SliceThickness" not in data
            surname = str(data.PatientName).split("^")[0].encode("ascii", "ignore").decode().upper()
            assert path.parent.parent.name.startswith(surname)
        else:
            assert numbers == [1, 2, 3, 4] and len(files) == 1 and data.NumberOfFrames == 4
    matrices = {files[0][1].PatientID: files[0][1].Rows for files in flair.values()}
    assert Counter(matrices.values()) == {36: 7, 42: 3}  # patients 1, 4 and 7: 36 x 7/6


def test_slice_labels_agree_with_masks(export, flair):
    rows = defaultdict(list)
    for row in export.images:
        rows[row["SeriesInstanceUID"]].append(row)
    assert set(rows) == set(flair)
    masks = {path.name.removesuffix(".nii.gz"): path for path in (export.root / "masks").iterdir()}
    assert len(masks) == 11 and set(masks) < set(flair)  # not of the broken series
    for series, files in flair.items():
        named = [(row["SOPInstanceUID"], int(row["InstanceNumber"])) for row in rows[series]]
        headers = dict(files)
        slices = slices_of(files)
        expected = [(headers[path].SOPInstanceUID, frame or headers[path].InstanceNumber) for path, frame, _ in slices]
        assert named == expected
        if series in masks:
            shown = np.asarray(nib.load(masks[series]).dataobj).any(axis=(0, 1))
            assert [int(row["lesion"]) for row in rows[series]] == shown.tolist()
    shares = Counter(row["lesion"] for row in export.images)
    assert shares["1"] > 10 and shares["0"] > 10


def test_masks_lie_on_the_images(export, flair):
    sitk = pytest.importorskip("SimpleITK")
    contrast = []
    for path in (export.root / "masks").iterdir():
        slices = slices_of(flair[path.name.removesuffix(".nii.gz")])
        files = list(dict.fromkeys(str(file) for file, _, _ in slices))
        image, mask = sitk.ReadImage(files if len(files) > 1 else files[0]), sitk.ReadImage(str(path))
        assert image.GetSize() == mask.GetSize()
        for corner in ((0, 0, 0), (0, 0, SLICES - 1), tuple(n - 1 for n in mask.GetSize())):
            places = [volume.TransformIndexToPhysicalPoint(corner) for volume in (image, mask)]
            np.testing.assert_allclose(*places, atol=1e-3)
        values, inside = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(mask) > 0
        if inside.any():
            contrast.append(np.median(values[inside]) / np.median(values[values > np.median(values)]))
    assert len(contrast) == 9 and min(contrast) > 1.1  # lesions .70 to .76, brain .39 to .53


def test_spreadsheet_agrees_with_the_files(export):
    assert list(export.studies[0]) == ["Name", "Accession number", "Date", "sex", "age", "site", "lesion", "Report"]
    shown = defaultdict(int)
    for row in export.images:
        shown[row["SeriesInstanceUID"]] |= int(row["lesion"])
    studies, lesion = {}, {}
    for files in export.series.values():
        data = files[0][1]
        studies[int(data.AccessionNumber)] = data
        if data.SeriesInstanceUID in shown:
            lesion[int(data.AccessionNumber)] = shown[data.SeriesInstanceUID]
    assert len(export.studies) == len(studies) == 13
    for row in export.studies:
        data = studies[row["Accession number"]]
        assert data.AccessionNumber == f"{row['Accession number']:08d}"  # a number in the sheet: the zeros are lost
        assert row["Name"] == str(data.PatientName).replace("^", ", ") and row["sex"] == data.PatientSex
        assert f"{row['age']:03d}Y" == data.PatientAge and row["site"] == data.InstitutionName
        assert f"{row['Date']:%Y%m%d}" == data.StudyDate
        if row["lesion"] in ("yes", "no"):
            assert lesion[row["Accession number"]] == (row["lesion"] == "yes")
    values = Counter(row["lesion"] for row in export.studies)
    assert set(values) <= {"yes", "no", "possible", None} and values[None] >= 1  # the aborted study
    assert values["yes"] >= 3 and values["no"] >= 1


def test_split_is_by_patient_and_test_by_another_scanner(export, flair):
    splits = defaultdict(set)
    for row in export.images:
        splits[row["PatientID"]].add(row["split"])
        assert (row["split"] == "test") == (flair[row["SeriesInstanceUID"]][0][1].Manufacturer == "Gamma Health")
    assert Counter(next(iter(found)) for found in splits.values() if len(found) == 1) == {
        "train": 7,
        "val": 1,
        "test": 2,
    }


def test_broken_series_has_one_file_cut_short(export, flair):
    broken = [path for files in flair.values() for path, data in files if not is_whole(data)]
    assert len(broken) == 1
    identifier = {study.patient: study.person.id for study in plan_studies(PATIENTS, 0)}[1]
    assert export.headers[broken[0]].PatientID == identifier


def test_plan():
    studies = list(plan_studies(40, seed=0))
    assert [study.number for study in studies] == list(range(46))
    assert Counter(study.patient for study in studies if study.visit) == dict.fromkeys((0, 1, 4, 14, 24, 34), 1)
    assert {study.patient: study.fault for study in studies if study.fault} == {0: "aborted", 1: "broken"}
    assert len({study.person.id for study in studies}) == 40
    assert list(plan_studies(40, seed=0)) == studies != list(plan_studies(40, seed=1))


@pytest.mark.parametrize(("day", "age"), [((2020, 5, 16), 29), ((2020, 5, 17), 30), ((2020, 12, 1), 30)])
def test_age_counts_completed_years(day, age):
    assert Person("A^B", "F", datetime.date(1990, 5, 17), "1").age(datetime.date(*day)) == age


def test_reformat():
    affine = np.array([[-2.0, 0, 0, 10], [0, -2, 0, 20], [0, 0, 6, 30], [0, 0, 0, 1]])
    array = np.arange(4 * 6 * 3, dtype=float).reshape(4, 6, 3)
    coronal, placed = reformat(array, affine, "coronal", step=2)
    assert coronal.shape == (4, 9, 3)  # 3 slices of 6 mm as rows of 2 mm; every second of 6 slices
    assert nib.aff2axcodes(placed) == ("L", "I", "P")
    np.testing.assert_allclose(nib.affines.voxel_sizes(placed), (2, 2, 4))
    # The middle one of the three rows that repeat a voxel lies on it: slice k = 2 - row // 3
    for i, row, step in ((0, 1, 0), (3, 7, 2), (2, 4, 1)):
        voxel = (i, 2 * step, 2 - row // 3)
        assert coronal[i, row, step] == array[voxel]
        np.testing.assert_allclose(placed @ [i, row, step, 1], affine @ [*voxel, 1])


def test_tilt_turns_without_stretching():
    affine = tilt(np.diag([-2.0, -3.0, 6.0, 1.0]), 9)
    np.testing.assert_allclose(nib.affines.voxel_sizes(affine), (2, 3, 6))
    np.testing.assert_allclose(affine[2, 2], 6 * np.cos(np.deg2rad(9)))


def test_same_seed_same_bytes(tmp_path, files_of):
    def files(name, seed):
        return files_of(write_studies(tmp_path / name, patients=3, size=32, slices=2, seed=seed))

    first, other = files("first", 0), files("other", 1)
    assert files("again", 0) == first
    assert len(first) > 50 and not any("/." in name for name in first)
    uids = {Path(name).name for name in first if name.startswith("masks/")}
    assert len(uids) == 3 and not uids & {Path(name).name for name in other}


@pytest.fixture(scope="module", params=sorted(PHANTOMS))
def kind_export(request, tmp_path_factory):
    """Five patients of a kind, small."""
    root = write_studies(tmp_path_factory.mktemp(request.param), request.param, patients=5, size=40, slices=2)
    return PHANTOMS[request.param], read_export(root)


def test_every_kind(kind_export):
    kind, export = kind_export
    assert {files[0][1].Modality for files in export.series.values()} == {kind.modality}
    word = SERIES_RULES[kind.modality].partition("~")[2].lower()
    main = {u for u, files in export.series.items() if word in files[0][1].SeriesDescription.lower()}
    # One study each, a broken one of patient 1 and a second one of patient 4; patient 0's aborted one has none.
    assert main == {row["SeriesInstanceUID"] for row in export.images} and len(main) == 7
    assert len(list((export.root / "masks").iterdir())) == 6
    assert len(export.images) == 7 * (1 if kind.modality == "DX" else 2)
    assert {row[kind.label] for row in export.images} == {"0", "1"} and kind.label in export.studies[0]


def test_pydicom_and_simpleitk_read_equal_values(kind_export):
    sitk = pytest.importorskip("SimpleITK")
    kind, export = kind_export
    low, high = np.inf, -np.inf
    for path, data in (entry for files in export.series.values() for entry in files if is_whole(entry[1])):
        expected = values_of(data)
        np.testing.assert_allclose(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), expected, atol=1e-6)
        low, high = min(low, expected.min()), max(high, expected.max())
    assert (-2000 if kind.modality == "CT" else 0) <= low < high < 4096


def test_own_reader_finds_the_masks_geometry(kind_export):
    kind, export = kind_export
    volumes, skipped = find_volumes(export.root / "export")
    volumes = SeriesRule.parse(SERIES_RULES[kind.modality]).choose(volumes)
    assert {volume.tags.series for volume in volumes} == {path.name[:-7] for path in (export.root / "masks").iterdir()}
    assert sum("cut short" in reason for _, reason in skipped) == 1
    for volume in volumes:
        mask, loaded = nib.load(export.root / "masks" / f"{volume.tags.series}.nii.gz"), read_volume(volume)
        assert mask.shape == loaded.array.shape
        np.testing.assert_allclose(mask.affine, loaded.affine, atol=1e-3)


@pytest.mark.parametrize(
    ("manufacturer", "patient", "burned", "photometric"),
    [
        ("Alpha Imaging", 0, "NO", "MONOCHROME2"),
        ("Beta Systems", 0, "YES", "MONOCHROME1"),
        ("Beta Systems", 1, "NO", "MONOCHROME1"),
        ("Gamma Health", 0, None, "MONOCHROME2"),
    ],
)
def test_names_burned_into_films(tmp_path, manufacturer, patient, burned, photometric):
    study = next(study for study in plan_studies(3, 0) if study.patient == patient)
    film = np.full((64, 64, 1), 100, np.int16)
    film[40, 50] = 900
    phantom = Phantom(film, film * 0, np.diag([-1.0, -1, 1, 1]), ScannerSettings("Clinic", manufacturer, "Model"))
    (written,) = StudyWriter(tmp_path, study, phantom, "DX", "1.2.3").write("text")
    data = pydicom.dcmread(written.file)
    assert (data.get("BurnedInAnnotation"), data.PhotometricInterpretation) == (burned, photometric)
    shown = values_of(data)[0].T
    assert shown[40, 50] == 900
    assert ((shown[4:60, 4:16] == 900).sum() > 50) == (burned == "YES")  # letters in the upper left corner
    assert np.all(shown[:40, 20:] == 100)


@pytest.mark.parametrize(
    "bad", [{"patients": 2}, {"size": 31}, {"slices": -1}, {"kind": "knee"}], ids=lambda bad: next(iter(bad))
)
def test_refuses_values_out_of_range(tmp_path, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        write_studies(tmp_path, **bad)
    assert not list(tmp_path.iterdir())
