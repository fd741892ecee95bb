from pathlib import Path

import openpyxl
import pytest

from monai_wsss.data.labels.label_values import ABSENT, BLANK, PRESENT, UNCERTAIN, UNKNOWN
from monai_wsss.data.labels.labels_table import read_labels_table
from monai_wsss.errors import InputError

SHARED = Path(__file__).parents[3] / "../shared/data"


def table(tmp_path, text, **options):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels_table(path, **options)


def column(found, label):
    return [row.classes[found.labels.index(label)] for row in found.rows]


def test_keys_in_any_case_slices_split_site_and_classes(tmp_path):
    found = table(tmp_path, "patientid,FILE,split,slice,tumor,site\n007,a.nii,train,3,1,north\n008,,val,,0,\n")
    assert found.labels == ("tumor",) and found.split_column == "split" and found.problems == []
    first, second = found.rows
    assert first.keys == {"file": "a.nii", "PatientID": "007"}  # leading zeros kept, most specific key first
    assert (first.slice_number, first.slice_key, first.slice) == (3, "0-based", None)  # the volume gives the slice
    assert (first.split, first.site, first.classes, first.line, first.patient) == ("training", "north", (1,), 2, "007")
    assert second.keys == {"PatientID": "008"}
    assert (second.slice_number, second.split, second.site, second.classes) == (None, "validation", None, (0,))
    assert str(first) == "line 2"  # never a name


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Image Index", "file"),
        ("Path", "file"),
        ("dateiname", "file"),
        ("dicom_id", "file"),
        ("SOP Instance UID", "SOPInstanceUID"),
        ("series", "SeriesInstanceUID"),
        ("study_id", "StudyInstanceUID"),
        ("Accession Number", "AccessionNumber"),
        ("Anforderungsnummer", "AccessionNumber"),
        ("Patientennr.", "PatientID"),
        ("MRN", "PatientID"),
        ("subject_id", "PatientID"),
        ("participant_id", "PatientID"),
        ("Case", "ID"),
    ],
)
def test_names_of_key_columns(tmp_path, header, key):
    assert table(tmp_path, f"{header},x\na,1\nb,0\n").rows[0].keys == {key: "a"}


def test_of_two_columns_for_one_key_the_exact_name_counts_and_neither_is_a_class(tmp_path):
    found = table(tmp_path, "patient,PatientID,x\n1,P1,1\n0,P2,0\n")
    assert found.labels == ("x",) and [row.keys for row in found.rows] == [{"PatientID": "P1"}, {"PatientID": "P2"}]


def test_case_beside_a_real_key_is_no_key(tmp_path):
    found = table(tmp_path, "PatientID,case,x\nP1,1,1\nP2,0,0\n")
    assert found.labels == ("case", "x") and found.rows[0].keys == {"PatientID": "P1"}


def test_sheet_of_a_secretary(tmp_path):
    """Title, German words, numbers for accession numbers, dates, ages, sexes, free text, and a total below."""
    book = openpyxl.Workbook()
    for row in (
        ["Kopf-CT, Auswertung 3/2024", None, None, None, None, None, None, None],
        [None] * 8,
        ["Anforderungsnr.", "Datum", "Alter", "Geschlecht", "Blutung", "Fraktur", "Klinik", "Befund"],
        [10023, "31.01.2024", 61, 1, "ja", 1, "Nord", "Meier, geb. 3.4.1961: Blutung links"],
        [10024, "01.02.2024", 1, 0, "nein", 0, "Nord", "o. B."],
        [10025, "02.02.2024", 0, 1, "fraglich", 0, "Süd", None],
        [1.2345678901234567e19, "02.02.2024", 33, 0, "nein", 0, "Süd", "x"],
        [None, None, None, "Summe", None, 1, None, None],
    ):
        book.active.append(row)
    book.save(tmp_path / "s.xlsx")
    found = read_labels_table(tmp_path / "s.xlsx")
    assert found.labels == ("Blutung", "Fraktur")
    assert [row.keys for row in found.rows] == [{"AccessionNumber": n} for n in ("10023", "10024", "10025")]
    assert [row.line for row in found.rows] == [4, 5, 6]
    assert [row.classes for row in found.rows] == [(PRESENT, PRESENT), (ABSENT, ABSENT), (UNCERTAIN, ABSENT)]
    assert [row.date for row in found.rows] == ["2024-01-31", "2024-02-01", "2024-02-02"]
    assert [row.site for row in found.rows] == ["Nord", "Nord", "Süd"]
    assert found.problems == [
        "Column 'Anforderungsnr.': 1 row (line 7) with a number that a spreadsheet has rounded, like 1.23E+12; format "
        "the column as text and export it again",
        "2 rows (the first is line 7) without a key left out",
    ]
    assert (
        "Column 'Geschlecht' holds 0 and 1 but reads like a sex; name it in --classes if it is a class" in found.notes
    )


CHEXPERT = """Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Pneumonia,Support Devices
CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,0.0,1.0
CheXpert-v1.0/train/patient00002/study2/view1_frontal.jpg,Male,87,Frontal,AP,,-1.0,1.0,1.0
CheXpert-v1.0/train/patient00002/study1/view1_lateral.jpg,Male,83,Lateral,,0.0,1.0,-1.0,0.0
CheXpert-v1.0/train/patient00003/study1/view1_frontal.jpg,Male,41,Frontal,AP,,0.0,,
"""


def test_chexpert_file_as_it_comes(tmp_path):
    found = table(tmp_path, CHEXPERT)
    assert found.labels == ("Edema", "Pneumonia", "Support Devices")
    assert column(found, "Edema") == [BLANK, UNCERTAIN, PRESENT, ABSENT]
    assert [row.patient for row in found.rows] == ["patient00001", "patient00002", "patient00002", "patient00003"]
    assert all(set(row.keys) == {"file"} for row in found.rows)
    assert found.notes == [
        "Column 'No Finding' means that no class is present; name it in --classes to make it a class",
        "Rows of class 'Edema': 1 present, 1 absent, 1 uncertain, 1 blank",
        "Rows of class 'Pneumonia': 1 present, 1 absent, 1 uncertain, 1 blank",
        "Rows of class 'Support Devices': 2 present, 1 absent, 0 uncertain, 1 blank",
        "The patient is taken from the paths in column 'Path'",
    ]
    assert table(tmp_path, CHEXPERT, classes=["no finding"]).labels == ("No Finding",)


def test_mimic_and_chexbert_files_as_they_come_and_reports_are_not_repeated(tmp_path):
    found = table(tmp_path, "subject_id,study_id,Edema,Fracture\n10000032,50414267,1.0,\n10000764,57375967,0.0,-1.0\n")
    assert found.labels == ("Edema",) and found.rows[0].keys == {
        "StudyInstanceUID": "50414267",
        "PatientID": "10000032",
    }
    report = 'Path,Report Impression,Edema\na.jpg,"Mr. Smith,\nno edema | stable",0.0\nb.jpg,edema,1.0\n'
    found = table(tmp_path, report)
    assert found.labels == ("Edema",) and [row.line for row in found.rows] == [2, 4]
    assert "Smith" not in repr((found.notes, found.problems))
    with pytest.raises(InputError) as error:
        table(tmp_path, report, classes=["Report Impression"])
    assert "Smith" not in str(error.value) and "edema" not in str(error.value)


NIH = """Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,
00000001_000.png,Cardiomegaly,0,1,57,M,PA,
00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,
00000003_000.png,No Finding,0,3,81,F,PA,
"""


def test_nih_list_of_findings(tmp_path):
    found = table(tmp_path, NIH)
    assert found.labels == ("Cardiomegaly", "Emphysema")
    assert column(found, "Cardiomegaly") == [1, 1, 0] and column(found, "Emphysema") == [0, 1, 0]
    assert [row.patient for row in found.rows] == ["1", "1", "3"]
    assert table(tmp_path, NIH, classes=["No Finding", "emphysema"]).labels == ("No Finding", "Emphysema")


@pytest.mark.parametrize(
    ("cell", "code"),
    [("1", PRESENT), ("TRUE", PRESENT), ("nein", ABSENT), ("", BLANK), ("-1", UNCERTAIN), ("perhaps", UNKNOWN)],
)
def test_codes_of_a_named_class(tmp_path, cell, code):
    assert table(tmp_path, f"file,x\na,0\nb,{cell}\n", classes=["X"]).rows[1].classes == (code,)


@pytest.mark.parametrize(
    ("word", "split"), [("Train", "training"), ("valid", "validation"), ("TEST", "test"), ("", None)]
)
def test_split_words(tmp_path, word, split):
    rows = table(tmp_path, f"file,part,x\na,{word},1\nb,train,0\n", split_column="part").rows
    assert rows[0].split == split


def test_split_column_of_other_words_is_ignored_unless_named(tmp_path):
    text = "file,split,x\na,left,1\nb,right 1234567,0\n"
    assert table(tmp_path, text).split_column is None
    with pytest.raises(InputError, match=r"column 'split' holds something else \(line 2\); use train, val and test$"):
        table(tmp_path, text, split_column="split")


def test_group_column_joins(tmp_path):
    rows = table(tmp_path, "file,family,x\na,F1,1\nb,,0\n", group_column="Family").rows
    assert [row.group for row in rows] == ["F1", None]


def test_a_named_class_is_a_class_whatever_it_is_called(tmp_path):
    text = "file,sex,set,x\na,1,0,1\nb,0,1,0\n"
    assert table(tmp_path, text, classes=["sex", "set"]).labels == ("sex", "set")
    assert table(tmp_path, text).labels == ("x",)


@pytest.mark.parametrize(
    ("header", "options", "expected"),
    [
        ("slice", {}, (1, "0-based")),
        ("slice", {"slice_key": "1-based"}, (1, "1-based")),
        ("slice", {"slice_key": "instancenumber"}, (1, "InstanceNumber")),
        ("Instance Number", {}, (1, "InstanceNumber")),
        ("Schicht", {"slice_key": "1-based"}, (1, "1-based")),
        ("SOPInstanceUID", {}, (None, "SOPInstanceUID")),
        ("note", {}, (None, "")),
    ],
)
def test_slices_and_their_convention(tmp_path, header, options, expected):
    found = table(tmp_path, f"PatientID,{header},x\na,1,1\na,2,0\n", **options)
    assert (found.rows[0].slice_number, found.rows[0].slice_key) == expected and found.slice_key == expected[1]


def test_bad_cells_are_reported_and_the_rest_is_kept(tmp_path):
    text = "file,slice,x\na,0,1\n\na,top,1\na,-1,1\na,1,perhaps\n,,\na,2.0,0\n,3,1\n"
    found = table(tmp_path, text, classes=["x"])
    assert [(row.slice_number, row.classes) for row in found.rows] == [(0, (1,)), (1, (UNKNOWN,)), (2, (0,))]
    assert found.problems == [
        "1 row (line 9) without a key left out",
        "Column 'x': 1 value is not understood (line 6); taken as unknown",
        "Column 'slice': 2 rows (the first is line 4) without a whole number from 0 left out",
    ]


def test_a_name_in_any_cell_is_never_repeated(tmp_path):
    text = "file,split,slice,labelers,x,y\n" + "a,train,0,Huber|Meier,1,0\nb,val,1,Huber,0,1\n" * 9
    text += 'a,"Schmidt, Eva","Schmidt, Eva",Huber,"Schmidt, Eva",Schmidt\n'
    found = table(tmp_path, text, classes=["x"])
    said = repr((found.problems, found.notes, table(tmp_path, text + "c,,2,,1,\n", classes=["x", "y"]).problems))
    assert "Column 'x': 1 value is not understood (line 20); taken as unknown" in found.problems
    with pytest.raises(InputError) as error:
        table(tmp_path, text)  # every column of labels holds something else
    said += str(error.value)
    with pytest.raises(InputError) as error:
        table(tmp_path, text, split_column="split")
    said += str(error.value)
    assert "line 20" in str(error.value) and not any(name in said for name in ("Schmidt", "Huber", "Meier"))


def test_dates_that_can_be_read_two_ways_are_none(tmp_path):
    found = table(tmp_path, "file,StudyDate,x\na,02/03/2024,1\nb,04/05/2024,0\n")
    assert [row.date for row in found.rows] == [None, None]
    assert found.problems == ["Column 'StudyDate': day and month cannot be told apart; write dates as 2024-01-31"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("name,x\na,1\n", {}, "no key column; name one file, SeriesInstanceUID"),
        (
            "file,age\na,61\nb,1\n",
            {},
            "no column holds present and absent (1 and 0, yes and no); name the class columns",
        ),
        ("file,sex\na,1\nb,0\n", {}, "(--classes); column 'sex' holds 0 and 1 but reads like a sex; name it in"),
        ("file,x\na,1\n", {"classes": ["x", "y"]}, "no column 'y' to take as a class (found file, x)"),
        ("file,x\na,Meier\n", {"classes": ["x"]}, "column 'x' holds neither present nor absent (1 or 0, yes or no)"),
        ("file,x\na,1\n", {"split_column": "fold"}, "no column 'fold' to split by (found file, x)"),
        ("file,x\na,1\n", {"group_column": "family"}, "no column 'family' to group by (found file, x)"),
        ("file,x\na,1\nb,0\n", {"slice_key": "first"}, "slice key 'first': choose one of 0-based, 1-based"),
        ("file,x\na,1\nb,0\n", {"slice_key": "1-based"}, "no column names slices for the slice key 1-based"),
        ("file,x\na,1\nb,0\n", {"slice_key": "SOPInstanceUID"}, "no column SOPInstanceUID for the slice key"),
        (
            "file,Schicht,x\na,1,1\nb,2,0\n",
            {},
            "column 'Schicht' may hold the viewer's image numbers or a count by position",
        ),
        (
            "Accession,x\n1.23E+12,1\n4,56E+11,0\n".replace("4,", "4."),
            {},
            "no row holds a key. Column 'Accession': 2 rows",
        ),
        ("file,x\n", {}, "the table has no rows"),
    ],
)
def test_unusable_tables_are_one_line_that_names_the_file_and_no_value(tmp_path, text, options, message):
    with pytest.raises(InputError) as error:
        table(tmp_path, text, **options)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert "Meier" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "labels", "rows", "positive"),
    [("cxr_nih/labels.csv", ("pneumonia",), 521, 273), ("lgg_mri/slice_labels.csv", ("tumor",), 1573, 537)],
)
def test_shared_tables_need_no_option(file, labels, rows, positive):
    if not (SHARED / file).is_file():
        pytest.skip(f"shared/data/{file} is not there")
    found = read_labels_table(SHARED / file)
    assert (found.labels, len(found.rows), found.problems) == (labels, rows, [])
    assert sum(row.classes == (1,) for row in found.rows) == positive
