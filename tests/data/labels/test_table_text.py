import pytest

from monai_wsss.data.labels.table_text import is_name, listed, plain_name, shown


@pytest.mark.parametrize(
    ("name", "plain"), [("Patient ID", "patientid"), ("study_instance-UID ", "studyinstanceuid"), ("Größe", "grösse")]
)
def test_names_without_case_and_punctuation(name, plain):
    assert plain_name(name) == plain


@pytest.mark.parametrize(
    ("cell", "said"),
    [("2", "2"), ("-12", "-12"), ("1.5", "1.5"), ("123", ""), ("3.4.1961", ""), ("maybe", ""), ("Eva", ""), ("2a", "")],
)
def test_which_cells_may_be_repeated(cell, said):
    assert shown(cell) == said


@pytest.mark.parametrize(("text", "may"), [("Effusion", True), ("T1 0.5", True), ("12345", False), ("a" * 61, False)])
def test_what_can_be_the_name_of_a_column(text, may):
    assert is_name(text) is may


def test_names_in_a_message():
    assert listed(["file", "x"]) == "file, x"
    assert listed(["file", "NIH-00000061", "x"]) == "file, x and 1 more"
    assert listed(map(str, range(40)), most=3) == "0, 1, 2 and 37 more"
