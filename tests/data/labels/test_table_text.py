import pytest

from monai_wsss.data.labels.table_text import listed, plain_name, shown


@pytest.mark.parametrize(
    ("name", "plain"), [("Patient ID", "patientid"), ("study_instance-UID ", "studyinstanceuid"), ("Größe", "grösse")]
)
def test_names_without_case_and_punctuation(name, plain):
    assert plain_name(name) == plain


@pytest.mark.parametrize(
    ("text", "said"), [("maybe", "'maybe'"), ("1.5", "'1.5'"), ("12345", ""), ("3.4.1961", ""), ("a longer story", "")]
)
def test_what_may_be_repeated(text, said):
    assert shown(text, 13) == said


def test_names_in_a_message():
    assert listed(["file", "x"]) == "file, x"
    assert listed(["file", "NIH-00000061", "x"]) == "file, x and 1 more"
    assert listed(map(str, range(40)), most=3) == "0, 1, 2 and 37 more"
