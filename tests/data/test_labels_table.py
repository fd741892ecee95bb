import pytest

from monai_wsss.data import read_labels_table
from monai_wsss.errors import InputError


def table(tmp_path, text, **options):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels_table(path, **options)


def test_keys_in_any_case_slices_split_site_and_classes(tmp_path):
    found = table(tmp_path, "patientid,FILE,split,slice,tumor,site\n007,a.nii,train,3,1,north\n008,,val,,0,\n")
    assert found.labels == ("tumor",) and found.split_column == "split" and found.problems == []
    first, second = found.rows
    assert first.keys == {"file": "a.nii", "PatientID": "007"}  # leading zeros kept, most specific key first
    assert (first.slice, first.split, first.site, first.classes, first.line) == (3, "training", "north", (1,), 2)
    assert second.keys == {"PatientID": "008"}
    assert (second.slice, second.split, second.site, second.classes) == (None, "validation", None, (0,))
    assert str(first) == "a.nii, slice 3" and str(second) == "008"


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", 1), ("1.0", 1), ("TRUE", 1), ("yes", 1), ("0", 0), ("no", 0), ("", -1), ("-1", -1), ("NaN", -1)],
)
def test_values(tmp_path, cell, value):
    assert table(tmp_path, f"file,x\na,0\nb,{cell}\n").rows[1].classes == (value,)


def test_only_columns_of_0_and_1_are_classes_unless_named(tmp_path):
    text = "file,age,tumor,oedema,empty\na,61,1,0,\nb,1,0,,\n"
    assert table(tmp_path, text).labels == ("tumor", "oedema")
    assert table(tmp_path, text, classes=["Oedema"]).labels == ("oedema",)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_byte_order_mark(tmp_path, separator):
    path = tmp_path / "t.csv"
    path.write_text(f"file{separator}tumor\na{separator}1\n", encoding="utf-8-sig")
    assert read_labels_table(path).rows[0].classes == (1,)


@pytest.mark.parametrize(
    ("word", "split"), [("Train", "training"), ("valid", "validation"), ("TEST", "test"), ("", None)]
)
def test_split_words(tmp_path, word, split):
    rows = table(tmp_path, f"file,part,x\na,{word},1\nb,train,0\n", split_column="part").rows
    assert rows[0].split == split


def test_split_column_of_other_words_is_ignored_unless_named(tmp_path):
    text = "file,split,x\na,left,1\nb,right,0\n"
    assert table(tmp_path, text).split_column is None
    with pytest.raises(InputError, match="'split' holds left, right; use train, val and test"):
        table(tmp_path, text, split_column="split")


def test_bad_cells_are_reported_and_the_rest_is_kept(tmp_path):
    found = table(tmp_path, "file,slice,x\na,0,1\n\na,top,1\na,-1,1\na,1,maybe\n,,\na,2.0,0\n", classes=["x"])
    assert [(row.slice, row.classes) for row in found.rows] == [(0, (1,)), (1, (-1,)), (2, (0,))]
    assert found.problems == [
        "column 'x': 1 values are neither 0 nor 1 (line 6: 'maybe'); taken as unknown",
        "line 4: slice 'top' is not a whole number from 0; row left out",
        "line 5: slice '-1' is not a whole number from 0; row left out",
    ]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("name,x\na,1\n", {}, "no key column; name one of file, SeriesInstanceUID"),
        ("file,age\na,61\n", {}, "no column holds only 0 and 1"),
        ("file,x\na,1\n", {"classes": ["x", "y"]}, "no column y (found file, x)"),
        ("file,x\na,maybe\n", {"classes": ["x"]}, "column 'x' holds no 0 or 1 (found 'maybe')"),
        ("file,x\na,1\n", {"split_column": "fold"}, "no column 'fold' to split by"),
        ("file,x\n", {}, "the table has no rows"),
        ("", {}, "cannot be read as CSV"),
        ('file,x\na,"1\n', {}, "cannot be read as CSV"),
    ],
)
def test_unusable_tables_are_one_line_that_names_the_file(tmp_path, text, options, message):
    with pytest.raises(InputError) as error:
        table(tmp_path, text, **options)
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "labels.csv")) and "\n" not in str(error.value)


def test_missing_or_binary_file(tmp_path):
    with pytest.raises(InputError, match="labels table not found"):
        read_labels_table(tmp_path / "none.csv")
    (tmp_path / "x.xlsx").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_labels_table(tmp_path / "x.xlsx")
