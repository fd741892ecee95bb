import pytest

from monai_wsss.data.dicom.clean_text import clean_description, identifying_words

PERSON = ("Müller^Anna Li", "HOSP-77", "ACC4711", "19800229", "T1")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("t2_tse FLAIR ax 5mm", "t2_tse FLAIR ax 5mm"),
        ("FLAIR Müller", "FLAIR ***"),
        ("FLAIR MUELLER, muller", "FLAIR ***, ***"),
        ("ax_mueller_anna_2", "ax_***_***_2"),
        ("xMuellerx", "x***x"),  # long words are found inside others
        ("Li, Light, fli", "***, Light, fli"),  # short ones stand alone
        ("Kopf HOSP-77", "Kopf ***"),
        ("Kopf hosp 77", "Kopf *** ***"),
        ("acc4711b", "***b"),
        ("born 19800229", "born ***"),
        ("T1 ax", "*** ax"),  # an ID like this costs a word of the description, no more
        ("study 123456", "study ***"),
        ("12345", "12345"),
        ("2020-01-31", "***"),
        ("31.1.20 control", "*** control"),
        ("31/01/2020", "***"),
        ("2020_01_31b", "***b"),
        ("31 Jan 2020, 3.März.2021", "***, ***"),
        ("31JAN2020", "***"),
        ("1.2.840.113619.2", "***"),
        ("0.9x0.9x5.0 1.5T TE 30.5", "0.9x0.9x5.0 1.5T TE 30.5"),
        ("", ""),
    ],
)
def test_cleaned(text, clean):
    assert clean_description(text, identifying_words(PERSON)) == clean


def test_titles_and_initials_of_staff_are_no_words():
    words = identifying_words(("Doe^Jane^Ann^Mr^PhD",), ("Weber^SE", "AX"))
    assert clean_description("MR t2_se ax jane ann Doe weber", words) == "MR t2_se ax *** *** *** ***"


def test_ideographs_are_words():
    assert clean_description("脳 山田", identifying_words(("Yamada^Taro=山田^太郎",))) == "脳 ***"


def test_without_words_only_numbers_go():
    assert clean_description("Müller 20200131") == "Müller ***"


def test_empty_and_single_letters_are_no_words():
    assert identifying_words(("", "A^B", "^^")) == ("a^b", "^^")
