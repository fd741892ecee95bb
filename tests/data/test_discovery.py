import os
import random
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import film_tags, slice_tags, write_dicom, write_stack
from PIL import Image
from pydicom import uid

from monai_wsss.data.discovery import find_volumes, is_harmless, search, stem_of
from monai_wsss.data.series_rule import SeriesRule
from monai_wsss.data.skipped import Skipped
from monai_wsss.errors import InputError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.uint8), np.eye(4)), root / name)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(path)


def cases_of(root, **options):
    return [volume.case for volume in find_volumes(root, **options)[0]]


@pytest.mark.parametrize(
    ("files", "cases"),
    [
        (["b.nii.gz", "a.nii"], ["a", "b"]),
        (["P1/flair.nii", "P2/flair.nii", "P2/t1.nii"], ["P1__flair", "P2__flair", "t1"]),
        (["a.nii", "a.nii.gz"], ["a.nii", "a.nii.gz"]),
        (["x.y.nii.gz", "X.NII.GZ"], ["X", "x.y"]),
    ],
)
def test_case_names_are_unique_and_short(tmp_path, files, cases):
    touch(tmp_path, *files)
    volumes, skipped = find_volumes(tmp_path)
    assert [volume.case for volume in volumes] == cases and skipped == []


def test_hidden_and_excluded_files_are_left_out(tmp_path):
    touch(tmp_path, "a.nii", "._a.nii", ".cache/b.nii", "masks/a.nii", "maskset/c.nii")
    (tmp_path / "notes.txt").write_text("x")
    volumes, _ = find_volumes(tmp_path, exclude=[tmp_path / "masks", tmp_path.parent, tmp_path / "none"])
    assert [volume.relative.as_posix() for volume in volumes] == ["a.nii", "maskset/c.nii"]


def test_one_file_is_an_input_too(tmp_path):
    touch(tmp_path, "a.nii", "b.nii")
    write_dicom(tmp_path / "c")
    picture(tmp_path / "d.png")
    for name in "b.nii", "c", "d.png":
        assert cases_of(tmp_path / name) == [name[0]]


def test_a_broken_file_is_skipped_by_name_and_the_rest_is_found(tmp_path):
    touch(tmp_path, "a.nii")
    (tmp_path / "b.nii").write_text("broken")
    volumes, skipped = find_volumes(tmp_path)
    assert [volume.case for volume in volumes] == ["a"]
    assert skipped[0].file == str(tmp_path / "b.nii") and skipped[0].reason.startswith("cannot be read as NIfTI")


def test_nothing_to_find(tmp_path):
    with pytest.raises(InputError, match="no NIfTI file"):
        find_volumes(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        find_volumes(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no DICOM file and no picture"):
        find_volumes(tmp_path)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.nii.gz", "a"),
        ("a.b.nii", "a.b"),
        ("a.gz", "a.gz"),
        ("d/A.NII", "A"),
        ("a.dcm", "a"),
        ("a.JPG", "a"),
        ("1.2.840.5", "1.2.840.5"),
        (".nii", ".nii"),
    ],
)
def test_stem(name, stem):
    assert stem_of(name) == stem


def test_all_kinds_of_a_tree(tmp_path):
    touch(tmp_path, "b/n.nii.gz")
    picture(tmp_path / "c/film.png")
    write_stack(tmp_path / "a", 3)
    volumes, skipped = find_volumes(tmp_path)
    assert [(v.kind, v.case, v.relative.as_posix(), len(v.files)) for v in volumes] == [
        ("dicom", "a", "a", 3),
        ("nifti", "n", "b/n.nii.gz", 1),
        ("picture", "film", "c/film.png", 1),
    ]
    assert skipped == [] and [v.tags is None for v in volumes] == [False, True, True]
    assert volumes[0].header.shape == (4, 3, 3) and volumes[0].files[0].is_absolute()
    assert volumes[0].bytes == sum(file.stat().st_size for file in volumes[0].files)


def test_an_export(tmp_path):
    """What a hospital's disc holds besides images neither stops anything nor counts as a loss."""
    write_stack(tmp_path / "DICOM/ST1/SE1", 3)
    write_stack(tmp_path / "DICOM/ST1/SE2", 3, SeriesInstanceUID="1.9")
    write_dicom(tmp_path / "DICOM/ST1/SR", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.22", "Modality": "SR"})
    write_dicom(tmp_path / "DICOM/ST1/SE2/dose", film_tags(SOPClassUID=uid.SecondaryCaptureImageStorage, Modality="CT"))
    write_dicom(tmp_path / "DICOMDIR", {"SOPClassUID": uid.MediaStorageDirectoryStorage})
    for name in ("Thumbs.db", "readme.txt", "VIEWER/start.exe", "VIEWER/index.html", "report.pdf", "empty"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty" else b"nothing of interest")
    picture(tmp_path / "VIEWER/icons/logo.png")
    found = search(tmp_path)
    assert [volume.case for volume in found.volumes] == ["DICOM__ST1__SE1", "DICOM__ST1__SE2"]
    reasons = ["a screenshot (secondary capture), no slice", "a report, no image"]
    assert [item.reason for item in found.skipped] == reasons and found.unusable == []
    assert all(is_harmless(item) for item in found.skipped)
    assert found.ignored == {"DICOMDIR": 1, "other file": 6, "picture of a viewer": 1}


def test_pictures_beside_a_program_count_where_there_is_no_dicom(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "tool.exe").write_bytes(b"MZ")
    assert cases_of(tmp_path) == ["a"]


def write_archives(folder):
    (folder / "x.txt").write_text("x")
    with zipfile.ZipFile(folder / "P1.zip", "w") as file:
        file.write(folder / "x.txt")
    with tarfile.open(folder / "P2.tar", "w") as file:
        file.add(folder / "x.txt", "x.txt")
    (folder / "P3").write_bytes((folder / "P1.zip").read_bytes())  # without its suffix
    (folder / "P4").write_bytes((folder / "P2.tar").read_bytes())
    (folder / "P5.dcm.gz").write_bytes(b"\x1f\x8b" + bytes(200))
    (folder / "P6.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(200))
    (folder / "labels.xlsx").write_bytes((folder / "P1.zip").read_bytes())  # a zip inside


def test_archives_are_refused_one_by_one(tmp_path):
    write_archives(tmp_path)
    volumes, skipped = find_volumes(tmp_path)
    assert volumes == []
    names = ["P1.zip", "P2.tar", "P3", "P4", "P5.dcm.gz", "P6.7z"]
    assert skipped == [Skipped(str(tmp_path / name), "an archive; unpack it first") for name in names]
    assert not any(is_harmless(item) for item in skipped)


def test_a_broken_dicom_file_is_skipped(tmp_path):
    write_stack(tmp_path / "a", 3)
    (tmp_path / "b").write_bytes((tmp_path / "a/IM0001").read_bytes()[:180])
    volumes, skipped = find_volumes(tmp_path)
    assert len(volumes) == 1
    assert skipped == [Skipped(str(tmp_path / "b"), "its DICOM header cannot be read; export it again")]


def test_series_that_make_no_volume(tmp_path):
    for k, files in enumerate(
        [write_stack(tmp_path / "a", 5), write_stack(tmp_path / "b", 5, SeriesInstanceUID="1.9")]
    ):
        files[2 + k].unlink()
    volumes, skipped = find_volumes(tmp_path)
    assert volumes == []
    reason = "1 slice is missing between slices {} and {}; resample on request"
    assert skipped == [
        Skipped(str(tmp_path / "a"), reason.format(2, 3)),
        Skipped(str(tmp_path / "b"), reason.format(3, 4)),
    ]
    volumes, skipped = find_volumes(tmp_path, resample=True)
    assert [volume.header.shape for volume in volumes] == [(4, 3, 5)] * 2 and skipped == []


def test_copies(tmp_path):
    files = write_stack(tmp_path / "a", 3)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/again").write_bytes(files[0].read_bytes())
    volumes, skipped = find_volumes(tmp_path)
    assert len(volumes) == 1
    assert skipped == [Skipped(str(tmp_path / "b/again"), "a copy of another file of its series")]
    assert is_harmless(skipped[0])


def test_a_rule_chooses(tmp_path):
    write_stack(tmp_path / "a", 3)
    write_stack(tmp_path / "b", 4, SeriesInstanceUID="1.9", SeriesDescription="T1")
    touch(tmp_path, "c.nii")
    volumes, skipped = find_volumes(tmp_path)
    chosen = SeriesRule.parse("Modality=MR, SeriesDescription~flair").choose(volumes)
    assert [volume.case for volume in chosen] == ["a"] and len(volumes) == 3 and not skipped
    with pytest.raises(InputError, match=r"no series fits the rule SeriesDescription~dwi; there are: .*T1"):
        SeriesRule.parse("SeriesDescription~dwi").choose(volumes)
    assert SeriesRule.parse("SeriesDescription~dwi").choose([]) == []


@pytest.mark.parametrize(
    ("files", "cases"),
    [
        # One file a volume: its stem, where no other case may have it.
        ({"x/00000061_012.dcm": "1.1", "y/00000061_015.dcm": "1.2"}, ["00000061_012", "00000061_015"]),
        ({"P1/IM0001": "1.1", "P2/IM0001": "1.2"}, ["P1", "P2"]),
        ({"P1/a/IM0001": "1.1", "P1/b/IM0001": "1.2"}, ["P1__a", "P1__b"]),
        # Several series in a folder: their UIDs.
        ({"P1/IM1": "1.1", "P1/IM2": "1.2", "P2/IM1": "1.3", "P2/IM2": "1.4"}, ["1.1", "1.2", "1.3", "1.4"]),
    ],
)
def test_names_of_films(tmp_path, files, cases):
    for name, series in files.items():
        write_dicom(tmp_path / name, film_tags(SeriesInstanceUID=series))
    assert cases_of(tmp_path) == cases


def test_names_of_series(tmp_path):
    for k in range(2):  # two series in one folder, one of them of two echoes
        write_stack(tmp_path / "P1", 2, SeriesInstanceUID=f"1.{k}")
        for file in (tmp_path / "P1").iterdir():
            if file.name.startswith("IM"):
                file.rename(file.with_name(f"S{k}{file.name}"))
    write_stack(tmp_path / "P2/deep", 2, SeriesInstanceUID="1.7", EchoTime=30)
    for k, file in enumerate(write_stack(tmp_path / "P2/deeper", 2, SeriesInstanceUID="1.7", EchoTime=90)):
        file.rename(tmp_path / f"P2/deep/second{k}")
    write_stack(tmp_path / "P3/only/here", 2, SeriesInstanceUID="1.8")
    assert cases_of(tmp_path) == ["1.0", "1.1", "1.7__echo_time_30_ms", "1.7__echo_time_90_ms", "P3__only__here"]
    assert cases_of(tmp_path / "P3") == ["only__here"] and cases_of(tmp_path / "P3/only/here") == ["here"]


def test_loops_of_links_end(tmp_path):
    write_stack(tmp_path / "a/real", 3)
    (tmp_path / "a/real/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "0").symlink_to(tmp_path / "a/real", target_is_directory=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    volumes, skipped = find_volumes(tmp_path)
    assert [volume.relative.as_posix() for volume in volumes] == ["a/real"] and skipped == []


def test_linked_data_is_found(tmp_path):
    """DataLad and the like keep files and folders as links."""
    write_stack(tmp_path / "store/s", 3)
    (tmp_path / "data/P2").mkdir(parents=True)
    (tmp_path / "data/P1").symlink_to(tmp_path / "store/s", target_is_directory=True)
    assert cases_of(tmp_path / "data") == ["P1"]
    (tmp_path / "data/P1").unlink()
    for file in (tmp_path / "store/s").iterdir():
        (tmp_path / "data/P2" / file.name).symlink_to(file)
    assert cases_of(tmp_path / "data") == ["P2"]


def test_the_order_of_the_file_system_does_not_matter(tmp_path, monkeypatch):
    for name in ("P2", "P1", "P3"):
        write_stack(tmp_path / name, 3, SeriesInstanceUID=f"1.{name[1]}", PatientID=name)
    touch(tmp_path, "z.nii", "a.nii")
    first = find_volumes(tmp_path)[0]
    scandir = os.scandir

    def shuffled(path):
        entries = list(scandir(path))
        random.Random(0).shuffle(entries)
        return iter(entries)

    monkeypatch.setattr(os, "scandir", shuffled)
    second = find_volumes(tmp_path)[0]
    assert [(v.case, v.files) for v in first] == [(v.case, v.files) for v in second]
    assert [v.case for v in first] == ["P1", "P2", "P3", "a", "z"]


def test_reasons_tell_nothing_of_the_patient(tmp_path):
    secret = {"PatientName": "Secret^Name", "PatientID": "SECRET1", "AccessionNumber": "SECRET2"}
    files = write_stack(tmp_path / "a", 5, **secret, SeriesDescription="Secret Name SECRET1")
    files[2].unlink()
    write_dicom(tmp_path / "b", slice_tags(**secret, SOPClassUID=uid.SegmentationStorage))
    write_dicom(tmp_path / "c", slice_tags(**secret, BitsAllocated=1, SeriesInstanceUID="1.77"))
    (tmp_path / "d").write_bytes((tmp_path / "b").read_bytes()[:250])
    _, skipped = find_volumes(tmp_path)
    assert len(skipped) == 4
    assert not [item for item in skipped if "secret" in item.reason.lower() or "1.77" in item.reason]


def test_progress_and_workers(tmp_path):
    write_stack(tmp_path / "a", 3)
    done = []
    find_volumes(tmp_path, progress=done.append, workers=1)
    assert done == [3]


SHARED = Path(__file__).parents[2] / "../shared/data"


def test_real_films():
    if not (SHARED / "cxr_nih").is_dir():
        pytest.skip("shared/data/cxr_nih is not there")
    volumes, skipped = find_volumes(SHARED / "cxr_nih")
    assert len(volumes) == 521 and skipped == []
    assert volumes[0].case == "00000061_012" and len({volume.case for volume in volumes}) == 521
    assert {(v.tags.modality, v.tags.plane, v.header.shape, v.header.spacing_known) for v in volumes} == {
        ("DX", "projection", (512, 512, 1), False)
    }
    assert len({volume.tags.patient for volume in volumes}) == 340
