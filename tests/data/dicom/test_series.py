import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_files import (
    AXIAL,
    COLUMNS,
    ROWS,
    SERIES,
    enhanced_tags,
    film_tags,
    frame_at,
    items,
    slice_tags,
    write_dicom,
    write_stack,
)
from dicom_series import parts_of, series_of
from pydicom import uid

from monai_wsss.data.dicom.headers import read_headers
from monai_wsss.data.dicom.series import find_series, group_series
from monai_wsss.errors import InputError

CORONAL, SAGITTAL = [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]
RGB = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "BitsAllocated": 8}
CAPTURE = uid.SecondaryCaptureImageStorage
PHASE = ["ORIGINAL", "PRIMARY", "P"]


def sitk_affine(files):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    return affine_of(reader.Execute())


def affine_of(image):
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


def test_a_plain_series(tmp_path):
    files = write_stack(tmp_path, 4, origin=(10, 20, 30), reverse=True)
    (series,) = series_of(tmp_path)
    assert series.files == tuple(files) and series.frames is None and series.problem == ""
    assert series.header.shape == (COLUMNS, ROWS, 4) and series.header.spacing == (1.0, 2.0, 5.0)
    assert series.header.spacing_known
    tags = series.tags
    assert (tags.plane, tags.part, tags.series, tags.instance_numbers) == ("axial", "", SERIES, (4, 3, 2, 1))
    assert len(set(tags.instances)) == 4 and series.bytes == sum(file.stat().st_size for file in files)


ROTATIONS = [
    (*row, *column)
    for row, column in itertools.product([*np.eye(3, dtype=int), *-np.eye(3, dtype=int)], repeat=2)
    if not np.dot(row, column)
]


@pytest.mark.parametrize("reverse", [False, True])
def test_simpleitk_agrees_in_all_orientations(tmp_path, reverse):
    """24 ways to lay the axes, and an oblique one; slices in either order of InstanceNumber."""
    oblique = [0.8, 0.36, -0.48, 0, 0.8, 0.6]
    assert len(ROTATIONS) == 24
    for k, orientation in enumerate([*ROTATIONS, oblique]):
        folder = tmp_path / str(k)
        write_stack(folder, 3, 2.5, [float(value) for value in orientation], (7, -11, 13), reverse)
        (series,) = series_of(folder)
        np.testing.assert_allclose(series.header.affine, sitk_affine(series.files), atol=1e-6)
        sorted_by_itk = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
        assert [str(file) for file in series.files] == list(sorted_by_itk)


def write_two(folder, first=None, second=None, **both):
    """Two stacks of one series at the same positions."""
    write_stack(folder / "1", 3, **(both | (first or {})))
    write_stack(folder / "2", 3, **(both | (second or {})))


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        ({"EchoTime": 30}, {"EchoTime": 90}, ["echo time 30 ms", "echo time 90 ms"]),
        ({"EchoNumbers": 1}, {"EchoNumbers": 2}, ["echo 1", "echo 2"]),
        ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}, ["b 0 s/mm2", "b 1000 s/mm2"]),
        ({"DiffusionBValue": 1000.0}, {}, ["b 1000 s/mm2", "b unknown"]),
        ({}, {"orientation": SAGITTAL}, ["axial", "sagittal"]),
        ({}, {"orientation": [0, 1, 0, -1, 0, 0]}, ["axial 1", "axial 2"]),
        ({}, {"Columns": 5}, ["4 x 3 pixels", "5 x 3 pixels"]),
        ({}, {"PixelSpacing": [1, 1]}, ["pixels of 1 x 2 mm", "pixels of 1 x 1 mm"]),
        ({}, {"ImageType": PHASE}, ["image type M", "image type P"]),
        ({"TemporalPositionIdentifier": 5}, {"TemporalPositionIdentifier": 3}, ["time point 2", "time point 1"]),
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, ["acquisition 1", "acquisition 2"]),
        ({"TriggerTime": 0}, {"TriggerTime": 40}, ["0 ms after the trigger", "40 ms after the trigger"]),
        ({"AcquisitionTime": "101500"}, {"AcquisitionTime": "101600"}, ["repetition 1", "repetition 2"]),
        (
            {"EchoTime": 30, "orientation": CORONAL},
            {"EchoTime": 90},  # the plane alone tells them apart
            ["coronal", "axial"],
        ),
    ],
)
def test_a_series_of_two_volumes_is_split(tmp_path, first, second, parts):
    write_two(tmp_path, first, second)
    assert parts_of(tmp_path) == [(part, 3, "") for part in parts]


def test_several_things_vary(tmp_path):
    for k, (echo, kind) in enumerate(itertools.product((30, 90), ("M", "P"))):
        write_stack(tmp_path / str(k), 3, EchoTime=echo, ImageType=["ORIGINAL", "PRIMARY", kind])
    assert [part for part, _, _ in parts_of(tmp_path)] == [
        f"echo time {echo} ms, image type {kind}" for echo in (30, 90) for kind in "MP"
    ]


def test_a_localizer(tmp_path):
    for k, orientation in enumerate((AXIAL, CORONAL, SAGITTAL)):
        write_stack(tmp_path / str(k), 3, 10, orientation)
    assert parts_of(tmp_path) == [("axial", 3, ""), ("coronal", 3, ""), ("sagittal", 3, "")]


def test_directions_that_differ_by_rounding_are_one(tmp_path):
    write_stack(tmp_path, 3, each=lambda k: {"ImageOrientationPatient": [1, 0.0001 * k, 0, -0.0001 * k, 1, 0]})
    assert parts_of(tmp_path) == [("", 3, "")]


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ({}, {}, "slices 1 and 2 have the same position, and 2 more pairs"),
        # A number of its own for each image tells no volumes apart.
        (
            {"each": lambda k: {"AcquisitionNumber": k}},
            {"each": lambda k: {"AcquisitionNumber": 9 + k}},
            "slices 1 and 2 have",
        ),
    ],
)
def test_repeated_positions_that_nothing_tells_apart_are_refused(tmp_path, first, second, problem):
    write_two(tmp_path, first, second)
    ((part, count, found),) = parts_of(tmp_path)
    assert (part, count) == ("", 6) and found.startswith(problem)


def test_two_spacings_of_two_acquisitions(tmp_path):
    """A head CT: fine slices through the base of the skull, coarse ones above."""
    write_stack(tmp_path / "1", 4, 2.5, AcquisitionNumber=1)
    write_stack(tmp_path / "2", 4, 5, origin=(0, 0, 11), AcquisitionNumber=2)
    assert parts_of(tmp_path) == [("acquisition 1", 4, ""), ("acquisition 2", 4, "")]


def test_image_type_alone_splits_nothing(tmp_path):
    write_stack(tmp_path, 4, each=lambda k: {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND" if k else "NORM"]})
    assert parts_of(tmp_path) == [("", 4, "")]


def test_missing_slice(tmp_path):
    files = write_stack(tmp_path, 6)
    files[2].unlink()
    ((_, _, problem),) = parts_of(tmp_path)
    assert problem == "1 slice is missing between slices 2 and 3; resample on request"
    (series,) = series_of(tmp_path, resample=True)
    assert series.problem == "" and series.header.shape == (COLUMNS, ROWS, 6) and len(series.files) == 5
    assert series.tags.instance_numbers == (1, 2, None, 4, 5, 6) and series.tags.instances[2] == ""
    assert series.stack.problem.startswith("1 slice is missing")


def test_a_slice_without_its_pixels(tmp_path):
    files = write_stack(tmp_path, 3)
    files[1].write_bytes(files[1].read_bytes()[:-20])
    ((_, _, problem),) = parts_of(tmp_path)
    assert problem == "1 of 3 files: cut short, it holds less than its image; copy it again"


def test_patients_and_studies_never_mix(tmp_path):
    write_two(tmp_path, {}, {"PatientID": "other"})
    write_stack(tmp_path / "3", 3, StudyInstanceUID="1.9")
    assert parts_of(tmp_path) == [("", 3, "")] * 3


def test_series_without_uid_go_by_folder(tmp_path):
    write_two(tmp_path, SeriesInstanceUID=None)
    assert parts_of(tmp_path) == [("", 3, "")] * 2


def test_order_of_the_headers_does_not_matter(tmp_path):
    write_two(tmp_path, {"EchoTime": 30}, {"EchoTime": 90})
    headers = list(read_headers(file for file in sorted(tmp_path.rglob("IM*"))))
    one, other = group_series(headers), group_series(headers[::-1])
    assert [series.files for series in one] == [series.files for series in other]
    assert [series.tags for series in one] == [series.tags for series in other]


def test_transfer_syntaxes_may_mix(tmp_path):
    files = write_stack(tmp_path, 3)
    write_dicom(files[1], slice_tags(ImagePositionPatient=[0, 0, 5]), syntax=uid.ImplicitVRLittleEndian)
    (series,) = series_of(tmp_path)
    assert series.problem == "" and series.tags.transfer_syntax == "Explicit VR, Implicit VR"


def test_one_burned_in_slice_marks_the_volume(tmp_path):
    write_stack(tmp_path, 3, each=lambda k: {"BurnedInAnnotation": "YES" if k == 1 else "NO"})
    assert series_of(tmp_path)[0].tags.burned_in == "YES"


def test_enhanced_object(tmp_path):
    """Frames lie in the file in any order; the volume has them in slice order."""
    file = write_dicom(tmp_path / "a", enhanced_tags([frame_at(10.0), frame_at(0.0), frame_at(5.0)]))
    (series,) = find_series([file])
    assert series.files == (file,) and series.frames == (1, 2, 0) and series.tags.instance_numbers == (2, 3, 1)
    np.testing.assert_allclose(series.header.affine, np.diag([-1.0, -2.0, 5.0, 1.0]))
    assert series.header.shape == (COLUMNS, ROWS, 3)


def test_an_enhanced_object_of_two_echoes_and_two_stacks(tmp_path):
    frames = [
        frame_at(5.0 * k + 100 * (stack == "2"), FrameContent={"StackID": stack}, MREcho={"EffectiveEchoTime": echo})
        for stack in ("1", "2")
        for k in range(2)
        for echo in (30.0, 90.0)
    ]
    file = write_dicom(tmp_path / "a", enhanced_tags(frames))
    found = find_series([file])
    assert [(series.tags.part, series.frames) for series in found] == [
        ("echo time 30 ms, stack 1", (0, 2)),
        ("echo time 90 ms, stack 1", (1, 3)),
        ("echo time 30 ms, stack 2", (4, 6)),
        ("echo time 90 ms, stack 2", (5, 7)),
    ]


def test_two_enhanced_objects_of_a_series(tmp_path):
    for name in "ab":
        write_dicom(tmp_path / name, enhanced_tags([frame_at(0.0), frame_at(5.0)]))
    assert parts_of(tmp_path) == [("object 1", 2, ""), ("object 2", 2, "")]


def test_enhanced_objects_of_one_frame_make_one_volume(tmp_path):
    for k in range(3):
        write_dicom(tmp_path / str(k), enhanced_tags([frame_at(5.0 * k)], InstanceNumber=k))
    (series,) = series_of(tmp_path)
    assert series.problem == "" and series.frames is None and series.header.shape == (COLUMNS, ROWS, 3)


def test_a_frame_without_position(tmp_path):
    write_dicom(tmp_path / "a", enhanced_tags([frame_at(0.0), items(FrameContent={"StackID": ""})]))
    assert parts_of(tmp_path) == [("", 2, "1 of 2 slices have no position")]


def test_a_film(tmp_path):
    file = write_dicom(tmp_path / "a", film_tags(ImagerPixelSpacing=[0.2, 0.1], PatientOrientation=["R", "F"], Rows=30))
    (series,) = find_series([file])
    assert series.header.shape == (COLUMNS, 30, 1) and series.header.spacing == (0.1, 0.2, 1.0)
    assert series.header.spacing_known and (series.tags.plane, series.tags.part) == ("projection", "")
    np.testing.assert_allclose(series.header.affine[:3, :2], [[0.1, 0], [0, 0], [0, -0.2]])


@pytest.mark.parametrize("spacing", [None, [0, 0]])
def test_a_film_of_unknown_pixel_size(tmp_path, spacing):
    file = write_dicom(tmp_path / "a", film_tags(ImagerPixelSpacing=spacing))
    (series,) = find_series([file])
    assert series.header.spacing == (1.0, 1.0, 1.0) and not series.header.spacing_known


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        ({"ViewPosition": "PA"}, {"ViewPosition": "LL"}, ["view PA", "view LL"]),
        ({"ViewPosition": "PA"}, {"ViewPosition": "PA", "InstanceNumber": 2}, ["image 1", "image 2"]),
        ({}, {}, ["image 1", "image 2"]),
    ],
)
def test_films_of_a_series_are_volumes_of_their_own(tmp_path, first, second, parts):
    write_dicom(tmp_path / "a", film_tags(**first))
    write_dicom(tmp_path / "b", film_tags(**second))
    assert parts_of(tmp_path) == [(part, 1, "") for part in parts]


SCREENSHOT = "a screenshot (secondary capture), no slice"
COLOURED = "a colour map, whose colours are no measured values"


@pytest.mark.parametrize(
    ("sop_class", "changes", "problem"),
    [
        (uid.CTImageStorage, {"Modality": "CT"}, "no position in its header"),
        (uid.CTImageStorage, {"Modality": "CT"} | RGB, COLOURED),
        (CAPTURE, {"Modality": "CT"}, SCREENSHOT),
        (CAPTURE, {"Modality": "CT"} | RGB, SCREENSHOT),  # a dose report
        (CAPTURE, {"Modality": "OT"}, ""),
        (CAPTURE, {"Modality": "CR"}, ""),
    ],
)
def test_images_without_position(tmp_path, sop_class, changes, problem):
    (series,) = find_series([write_dicom(tmp_path / "a", film_tags(SOPClassUID=sop_class, **changes))])
    assert series.problem == problem and (series.header is None) == bool(problem)


@pytest.mark.parametrize(
    ("gone", "problem"),
    [
        ("ImageOrientationPatient", "no orientation in its header"),
        ("PixelSpacing", "no pixel spacing in its header"),
    ],
)
def test_slices_without_geometry(tmp_path, gone, problem):
    write_stack(tmp_path, 3, each=lambda k: {gone: None})
    assert parts_of(tmp_path) == [("", 3, problem)]


def test_a_screenshot_beside_slices(tmp_path):
    write_stack(tmp_path, 3)
    write_dicom(tmp_path / "IM9999", film_tags(Modality="MR", SOPClassUID=CAPTURE))
    found = parts_of(tmp_path)
    assert found[0] == ("", 3, "") and found[1][2].startswith("a screenshot")


def test_a_broken_file_is_no_missing_slice(tmp_path):
    files = write_stack(tmp_path, 3)
    files[2].write_bytes(files[2].read_bytes()[:200])
    with pytest.raises(InputError, match="IM0003: its DICOM header cannot be read"):
        find_series(files)
    (tmp_path / "notes.txt").write_text("no DICOM")
    assert len(find_series([*files[:2], tmp_path / "notes.txt"])) == 1


SHARED = Path(__file__).parents[3] / "../shared/data"


def test_a_real_oblique_series():
    if not (SHARED / "mr_series").is_dir():
        pytest.skip("shared/data/mr_series is not there")
    (series,) = find_series(sorted((SHARED / "mr_series").iterdir())[::-1])
    assert series.problem == "" and series.header.shape == (274, 384, 24)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(SHARED / "mr_series"))
    assert [file.name for file in series.files] == [Path(name).name for name in names]
    np.testing.assert_allclose(series.header.affine, sitk_affine(names), atol=1e-4)


@pytest.mark.parametrize("name", ["highdicom_ct_image", "MR-SIEMENS-DICOM-WithOverlays", "693_UNCI", "MR2_J2KI"])
def test_real_single_slices(name):
    file = SHARED / "dicom_samples" / f"{name}.dcm"
    if not file.exists():
        pytest.skip("shared/data/dicom_samples is not there")
    (series,) = find_series([file])
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    np.testing.assert_allclose(series.header.affine[:, [0, 1, 3]], affine_of(reader)[:, [0, 1, 3]], atol=1e-4)
    assert series.header.shape[:2] == reader.GetSize()[:2]


def test_headers_are_small(tmp_path):
    (header,) = read_headers([write_dicom(tmp_path / "a")])
    assert not hasattr(header, "__dict__") and not hasattr(header.frames[0], "__dict__")
    assert {type(value).__module__.split(".")[0] for value in dataclasses.astuple(header)} <= {"builtins", "pathlib"}
