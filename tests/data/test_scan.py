import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import film_tags, write_dicom, write_stack

from monai_wsss.data.pseudonyms import Pseudonyms
from monai_wsss.data.scan import scan
from monai_wsss.errors import InputError

SECRET = {"PatientName": "Secretname^Anna", "PatientID": "SECRETID", "AccessionNumber": "SECRETACC"}


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Two patients with FLAIR and T1 each, a series with a gap, a report, a NIfTI file, clutter."""
    root = tmp_path_factory.mktemp("export")
    for p in "12":
        person = {**SECRET, "PatientID": f"SECRETID{p}", "StudyInstanceUID": f"1.2.77.{p}", "StudyDate": "20191224"}
        for k, name in enumerate(("FLAIR Secretname", "T1 20191224")):
            tags = person | {"SeriesInstanceUID": f"1.2.77.{p}.{k}", "SeriesDescription": name}
            files = write_stack(root / f"Secretname{p}" / f"S{k}", 4 + int(p), **tags)
            if (p, k) == ("2", 1):
                files[2].unlink()
    write_dicom(
        root / "report", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.22", "Modality": "SR", "SeriesInstanceUID": "1"}
    )
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.uint8), np.eye(4)), root / "Secretname.nii")
    (root / "Thumbs.db").write_text("x")
    return root


def test_what_the_resident_sees(export):
    assert scan(export).lines()[:-8] == [
        "2 patients, 2 studies, 4 DICOM series, 21 DICOM files, 1 NIfTI file",
        "4 of 5 volumes can be used (0.0 MB)",
        "",
        "Usable:",
        "  volumes  studies  type   description  plane  slices  voxels, mm  stored as",
        "        2        2  MR     FLAIR ***    axial     5-6  1 x 2 x 5   Explicit VR",
        "        1        1  MR     T1 ***       axial       5  1 x 2 x 5   Explicit VR",
        "        1           NIfTI                           2  1 x 1 x 1",
        "Rules that choose, for example:",
        '  --series "SeriesDescription~flair" fits one volume in 2 of 2 studies',
        '  --series "SeriesDescription~t1" fits one volume in 1 of 2 studies',
        "",
        "Not usable:",
        "  1  1 slice is missing between slices 2 and 3; resample on request",
        "",
        "Ignored: 1 other file; 1 x a report, no image",
    ]


def test_few_series_are_listed_one_by_one(export):
    *_, title, header, file, first, second, third, fourth = scan(export).lines()
    assert title == "One by one:"
    assert header.split() == "patient study series type description plane slices voxels, mm stored as usable".split()
    assert file.split()[1:] == "NIfTI 2 1 x 1 x 1 yes".split()
    assert first.split()[3:] == "MR FLAIR *** axial 5 1 x 2 x 5 Explicit VR yes".split()
    assert first.split()[0] == second.split()[0] != third.split()[0] and first.split()[2] != second.split()[2]
    assert "1 slice is missing" in fourth


def test_nothing_written_names_anybody(export, tmp_path):
    report = scan(export, tmp_path / "scan.json")
    text = (tmp_path / "scan.json").read_text() + "\n".join(report.lines())
    for secret in ("secret", "1.2.77", "20191224", str(export)):
        assert secret not in text.lower()


def test_json_holds_everything(export, tmp_path):
    report = scan(export, tmp_path / "scan.json")
    content = json.loads((tmp_path / "scan.json").read_text())
    assert content == json.loads(json.dumps(report.to_json()))
    assert content["version"] == 1 and content["ignored"] == {"other file": 1}
    assert [(entry["kind"], entry["slices"], bool(entry["problem"])) for entry in content["series"]] == [
        ("nifti", 2, False),
        ("dicom", 5, False),
        ("dicom", 5, False),
        ("dicom", 6, False),
        ("dicom", 5, True),
    ]
    flair = content["series"][1]
    assert (flair["shape"], flair["spacing"], flair["files"]) == ([4, 3, 5], [1.0, 2.0, 5.0], 5)
    assert content["skipped"] == [{"file": report.skipped[0].file, "reason": "a report, no image"}]


def test_complete(export, tmp_path):
    assert not scan(export).complete
    write_stack(tmp_path / "a", 3)
    write_dicom(tmp_path / "b", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", "Modality": "SEG"})
    assert scan(tmp_path).complete


def test_the_same_key_gives_the_same_names(export):
    key = Pseudonyms(b"0" * 32)
    assert scan(export, names=key).to_json() == scan(export, names=Pseudonyms(b"0" * 32)).to_json()
    assert scan(export).series[1].patient != scan(export).series[1].patient  # no key: a new one each time
    assert scan(export, names=key).series[1].patient == key.patient("SECRETID1")


def test_names_can_be_kept(export):
    report = scan(export, names=Pseudonyms(None))
    assert [series.file for series in report.series][:2] == ["Secretname.nii", "Secretname1/S0"]
    assert report.series[1].patient == "SECRETID1"
    assert "  1  1 slice is missing between slices 2 and 3; resample on request (Secretname2/S1)" in report.lines()


def test_many_series_are_counted_only(tmp_path):
    for k in range(41):
        tags = {
            "SeriesInstanceUID": f"1.{k}",
            "StudyInstanceUID": f"2.{k}",
            "PatientID": "",
            "PatientOrientation": ["L", "F"],
        }
        write_dicom(tmp_path / f"{k}", film_tags(**tags, BurnedInAnnotation="YES" if k else "NO"))
    assert scan(tmp_path).lines() == [
        "0 patients, 41 studies, 41 DICOM series, 41 DICOM files",
        "41 of 41 volumes can be used (0.0 MB)",
        "41 studies without a patient's ID: whose they are must stand in the labels table",
        "",
        "Usable:",
        "  volumes  studies  type  description  plane       slices  voxels, mm  stored as",
        "       41       41  DX    CHEST        projection       1  unknown     Explicit VR",
        "40 volumes may show text burned into the pixels, such as a name",
    ]


def test_alike_problems_are_counted_together(tmp_path):
    for k in range(3):
        write_stack(tmp_path / str(k), 6, SeriesInstanceUID=f"1.{k}")[1 + k].unlink()
    lines = scan(tmp_path).lines()
    assert "  3  N slice is missing between slices N and N; resample on request" in lines


def test_rules_are_proposed_where_there_is_a_choice(tmp_path):
    """Vendors name alike series differently: a word that all share fits one volume a study."""
    for k, names in enumerate([("t2_flair_tra", "t1_tra"), ("Ax FLAIR", "Ax T1"), ("FLAIR_longTR", "FLAIR_cor")]):
        for n, name in enumerate(names):
            uids = {"StudyInstanceUID": f"1.{k}", "SeriesInstanceUID": f"1.{k}.{n}"}
            write_stack(tmp_path / f"{k}{n}", 3, **uids, SeriesDescription=name)
        write_stack(
            tmp_path / f"{k}loc", 1, **(uids | {"SeriesInstanceUID": f"1.{k}.9"}), SeriesDescription="localizer"
        )
    lines = scan(tmp_path).lines()
    start = lines.index("Rules that choose, for example:")
    assert lines[start + 1 : start + 4] == [
        '  --series "SeriesDescription~t1" fits one volume in 2 of 3 studies',
        '  --series "SeriesDescription~cor" fits one volume in 1 of 3 studies',
        '  --series "SeriesDescription~longtr" fits one volume in 1 of 3 studies',
    ]
    assert lines.index("Usable:") + 8 == next(k for k, line in enumerate(lines) if "localizer" in line)


def test_no_line_is_wider_than_a_terminal(tmp_path):
    tags = {"SeriesDescription": "t2_tse_dark-fluid_tra_p2_very_long_name_of_a_series " * 2, "EchoTime": 30}
    write_stack(tmp_path / "a", 3, **tags)
    write_stack(tmp_path / "b", 3, **(tags | {"EchoTime": 90}))
    write_stack(tmp_path / "c", 5, SeriesInstanceUID="1.9")[2].unlink()
    assert max(map(len, scan(tmp_path).lines())) <= 160


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        scan(tmp_path / "none")


def test_real_files():
    folder = Path(__file__).parents[2] / "../shared/data/dicom_samples"
    if not folder.is_dir():
        pytest.skip("shared/data/dicom_samples is not there")
    report = scan(folder)
    assert report.lines()[:2] == [
        "12 patients, 13 studies, 13 DICOM series, 14 DICOM files",
        "13 of 14 volumes can be used (5.1 MB)",
    ]
    assert [item.reason for item in report.skipped].count("a segmentation, no image") == 4
