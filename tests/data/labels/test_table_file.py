import datetime

import openpyxl
import pytest

from monai_wsss.data.labels.table_columns import key_names
from monai_wsss.data.labels.table_file import read_table
from monai_wsss.errors import InputError


def text_file(tmp_path, text, encoding="utf-8", name="labels.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def workbook(tmp_path, *sheets, name="labels.xlsx", change=None):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        page = book.create_sheet(f"Tabelle{number + 1}")
        for row in rows:
            page.append(row)
    if change is not None:
        change(book)
    book.save(tmp_path / name)
    return tmp_path / name


def content(frame):
    return list(frame.columns), {line: list(row) for line, row in zip(frame.index, frame.to_numpy(), strict=True)}


PLAIN = (["file", "x"], {2: ["a.nii", "1"], 3: ["b.nii", "0"]})


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_encodings_and_line_ends(tmp_path, separator, encoding, end):
    text = end.join(separator.join(row) for row in (["file", "x"], ["a.nii", "1"], ["b.nii", "0"])) + end
    assert content(read_table(text_file(tmp_path, text, encoding))) == PLAIN


def test_german_excel_csv_in_windows_1252(tmp_path):
    text = "Größe;Schädel\r\n1,5;nein\r\n2,0;möglich\r\n"
    frame = read_table(text_file(tmp_path, text, "cp1252"))
    assert content(frame) == (["Größe", "Schädel"], {2: ["1,5", "nein"], 3: ["2,0", "möglich"]})


def test_decimal_commas_do_not_make_a_comma_separated_file(tmp_path):
    text = "file;a;b\nx;1,0;0,0\ny;0,0;1,0\n"  # two commas in each row but the first, two semicolons in all
    assert content(read_table(text_file(tmp_path, text)))[1] == {2: ["x", "1,0", "0,0"], 3: ["y", "0,0", "1,0"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # titles, an empty row, and a narrow row of group names above the header
        ("Radiologie\nExport vom;3.4.2024\n\n;;Befunde\nfile;age;x\na;61;1\n", {6: ["a", "61", "1"]}),
        ("Klinik;Radiologie;\nfile;age;x\na;61;1\n", {3: ["a", "61", "1"]}),
        ("sep=;\nfile;age;x\na;61;1\n", {3: ["a", "61", "1"]}),
        # empty rows and columns, spaces, a header that comes again
        ("file , ,age,x\n\n,,,\n a ,,61, 1 \nfile,,age,x\nb,,,0\n", {4: ["a", "61", "1"], 6: ["b", "", "0"]}),
        # line breaks and separators in quotes; a short row
        ('file,age,x\n"a\nb","6,1",1\nc,7\n', {2: ["a\nb", "6,1", "1"], 4: ["c", "7", ""]}),
        ('file,age,x\na, "6,1",1\n', {2: ["a", "6,1", "1"]}),
    ],
)
def test_titles_gaps_and_quotes_with_the_line_numbers_of_the_file(tmp_path, text, expected):
    frame = read_table(text_file(tmp_path, text), known=key_names())
    assert content(frame) == (["file", "age", "x"], expected)


def test_the_first_row_of_words_is_the_header_where_no_name_is_known(tmp_path):
    frame = read_table(text_file(tmp_path, "12;13;14\nStand;;\nred;green;blue\n1;2;3\n"))
    assert content(frame) == (["red", "green", "blue"], {4: ["1", "2", "3"]})


def test_workbook_gives_text_as_the_user_sees_it(tmp_path):
    def change(book):
        book.worksheets[0]["G3"].number_format = "00000000"

    rows = [
        ["Studie 7", None, None, None, None, None, None],
        ["file", "whole", "part", "date", "time", "flag", "padded"],
        ["a ", 123.0, 0.1 + 0.2, datetime.datetime(2024, 1, 31), datetime.datetime(2024, 1, 31, 7, 5), True, 4711],
        [None] * 7,
        ["b", 2147483648, -1.0, None, datetime.time(7, 5), False, 1.2345678901234567e19],
    ]
    frame = read_table(workbook(tmp_path, rows, change=change))
    assert content(frame)[1] == {
        3: ["a", "123", "0.3", "2024-01-31", "2024-01-31 07:05:00", "True", "00004711"],
        5: ["b", "2147483648", "-1", "", "07:05:00", "False", "1.23457E+19"],
    }


def test_first_sheet_that_holds_a_table_of_known_names(tmp_path):
    notes, colours, table = [["Please note"]], [["red", "green"], [1, 2]], [["file", "x"], ["a.nii", 1], ["b.nii", 0]]
    hidden = [["file", "x"], ["old.nii", 1]]

    def hide(book):
        book.worksheets[1].sheet_state = "hidden"

    path = workbook(tmp_path, notes, hidden, colours, table, change=hide)
    frame = read_table(path, known=key_names())
    assert content(frame) == PLAIN and frame.attrs["notes"] == ["Sheet 3 of 3 is read"]
    assert content(read_table(path))[0] == ["red", "green"]
    assert content(read_table(path, sheet="tabelle2")) == (["file", "x"], {2: ["old.nii", "1"]})
    with pytest.raises(InputError, match=r"no sheet 'Other' \(found Tabelle1, "):
        read_table(path, sheet="Other")


def test_kind_is_told_by_the_content_not_by_the_suffix(tmp_path):
    rows = [["file", "x"], ["a.nii", 1], ["b.nii", 0]]
    assert content(read_table(workbook(tmp_path, rows, name="x.csv.xlsx").rename(tmp_path / "x.csv"))) == PLAIN
    assert content(read_table(text_file(tmp_path, "file\tx\na.nii\t1\nb.nii\t0\n", name="export.xls"))) == PLAIN


def test_wrong_size_in_the_workbook_cuts_nothing_off(tmp_path, monkeypatch):
    from openpyxl.worksheet.worksheet import Worksheet

    monkeypatch.setattr(Worksheet, "calculate_dimension", lambda self: "A1:A1")
    path = workbook(tmp_path, [["file", "x"], ["a.nii", 1], ["b.nii", 0]])
    monkeypatch.undo()
    assert content(read_table(path)) == PLAIN


ZIP = b"PK\x03\x04"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the table has no rows"),
        (b"file,x\n", "the table has no rows"),
        (b"file,x\n,\n", "the table has no rows"),
        (b"1,2\n3,4\n", "no row names the columns"),
        (b"file,x,X \na,1,1\n", "more than one column is called x; rename"),
        (b'file,x\na,"1\n', "cannot be read as CSV (line 2: unexpected end of data)"),
        (b"file,x\na,1\nb,1,2\nc,1,2\n", "line 3 has more values than the header, as have 1 others"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x00", "it is no text"),
        (b"\x81\x8d\x8f,a\n", "it is no text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is an old .xls file or locked with a password"),
        (b"\n<!DOCTYPE html><table>", "is a web page or XML"),
        (ZIP + b"\xff\xfe\x00", "cannot be read as a table (broken"),
    ],
)
def test_unusable_files_are_one_line_that_says_what_to_do(tmp_path, raw, message):
    (tmp_path / "t.csv").write_bytes(raw)
    with pytest.raises(InputError) as error:
        read_table(tmp_path / "t.csv")
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "t.csv")) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("content.xml", "is an .ods file; save it as XLSX or CSV"),
        ("xl/workbook.bin", "is an .xlsb file; save it as"),
        ("a.dcm", "is a zip file; save it as"),
        ("xl/workbook.xml", "cannot be read as XLSX"),
    ],
)
def test_other_zip_files(tmp_path, member, message):
    import zipfile

    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        archive.writestr(member, "x")
    with pytest.raises(InputError) as error:
        read_table(tmp_path / "t.xlsx")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_missing_file_and_sheet_of_a_text(tmp_path):
    with pytest.raises(InputError, match="labels table not found"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="has no sheets"):
        read_table(text_file(tmp_path, "file,x\na,1\n"), sheet="1")
