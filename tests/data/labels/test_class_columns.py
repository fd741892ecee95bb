import pandas as pd
import pytest

from monai_wsss.data.labels.class_columns import count_note, odd_values, propose_classes, spread_findings


def frame(**columns):
    """Columns of equal length from strings such as "1 0 ja": one cell a word, _ for an empty one."""
    cells = {name: ["" if word == "_" else word for word in text.split()] for name, text in columns.items()}
    table = pd.DataFrame(cells, dtype=object)
    table.index += 2
    return table


def test_columns_of_label_words_with_both_answers_are_classes_and_counted():
    classes, notes = propose_classes(
        frame(key="1 0 1 0", tumour="1 0 -1 _", oedema="ja nein ja nein", age="61 1 0 70", word="a 1 0 b"), {"key"}
    )
    assert classes == ("tumour", "oedema")
    assert notes == [
        "Rows of class 'tumour': 1 present, 1 absent, 1 uncertain, 1 blank",
        "Rows of class 'oedema': 2 present, 2 absent, 0 uncertain, 0 blank",
    ]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("sex", "a sex"),
        ("PatientSex", "a sex"),
        ("patientgender", "a sex"),
        ("Geschlecht", "a sex"),
        ("female", "a sex"),
        ("is_male", "a sex"),
        ("weiblich", "a sex"),
        ("age>65", "an age"),
        ("Age65", "an age"),
        ("PtAge", "an age"),
        ("Patientenalter", "an age"),
        ("over_65", "an age"),
        ("Geburtsjahr", "an age"),
        ("Körpergewicht", "a weight"),
        ("risk score", "a score"),
        ("WHO_grade", "a score"),
        ("number of lesions", "a count"),
        ("lesionCount", "a count"),
        ("n_lesions", "a count"),
        ("No. of lesions", "a count"),
        ("Follow-up #", "a count"),
        ("Anzahl Herde", "a count"),
        ("reader_id", "an identifier"),
        ("Untersuchungsdatum2", "a date"),
        ("fold", "a split"),
        ("is_train", "a split"),
        ("ViewPosition", "a view"),
        ("AP/PA", "a view"),
        ("Frontal/Lateral", "a view"),
    ],
)
def test_ages_sexes_and_their_like_are_not_guessed_into_classes(name, meaning):
    classes, notes = propose_classes(frame(**{name: "1 0 1"}), ())
    assert classes == ()
    assert notes == [f"Column {name!r} holds 0 and 1 but reads like {meaning}; name it in --classes if it is a class"]


@pytest.mark.parametrize(
    "name",
    [
        "Passage",
        "oedema",
        "No pneumonia",
        "Midline Shift",
        "haemorrhage",
        "Pleural Other",
        "Lung Lesion",
        "old infarct",
        "ICH",
        "sinusitis maxillaris",
        "Enlarged Cardiomediastinum",
        "path. fracture",
        "paranasal opacity",
    ],
)
def test_findings_are_classes_whatever_letters_they_hold(name):
    assert propose_classes(frame(**{name: "1 0 1"}), ())[0] == (name,)


@pytest.mark.parametrize(
    ("name", "cells", "note"),
    [
        (
            "x",
            "1 1 _",
            "Column 'x' is no class, 2 present, 0 absent, 0 uncertain, 1 blank; name it in --classes if it is",
        ),
        ("x", "0 0 0", "Column 'x' is no class, 0 present, 3 absent"),
        ("No Finding", "1 0 1", "Column 'No Finding' means that no class is present; name it in --classes to make it"),
        (
            "x",
            "1 0 " * 9 + "maybe_not",
            "Column 'x' is no class, 1 value is not understood (line 20); name",
        ),
        ("x", "1 0 " * 9 + "2", "Column 'x' is no class, 1 value is not understood (line 20: 2); name"),
        ("x", "1 0 " * 9 + "03.04.1961", "Column 'x' is no class, 1 value is not understood (line 20); name"),
    ],
)
def test_what_comes_near_is_named(name, cells, note):
    (got,) = propose_classes(frame(**{name: cells}), ())[1]
    assert got.startswith(note)


@pytest.mark.parametrize(
    "cells", ["M F M", "male female male", "1 2 1", "61 0 1", "w m w", "_ _ _", "-1 -1 _", "1 0 a"]
)
def test_other_columns_are_left_alone_without_a_word(cells):
    assert propose_classes(frame(x=cells), ()) == ((), [])


def test_findings_in_one_column_become_one_class_each():
    table = frame(key="a b c d", Labels="Effusion|Mass Mass No_Finding none|")
    spread, notes = spread_findings(table, {"key"})
    assert list(spread.columns) == ["key", "Effusion", "Mass", "No_Finding"]
    assert spread.to_numpy()[:, 1:].tolist() == [["1", "1", "0"], ["0", "1", "0"], ["0", "0", "1"], ["", "", ""]]
    assert notes == ["Column 'Labels' lists findings: each becomes a column, absent where it is not listed"]
    assert propose_classes(spread, {"key"})[0] == ("Effusion", "Mass")


@pytest.mark.parametrize(
    "table",
    [
        frame(key="a b", text="Effusion|Mass Mass"),  # not called findings or the like
        frame(key="a b", labelers="Huber|Meier Huber"),  # people, by whole words of the name
        frame(key="a b", Befunder="Huber|Meier Huber"),
        frame(key="a b", findings="Effusion Mass"),  # no list in it
        frame(key="a b", findings="0012345|Mass Mass"),  # might tell who it is
        frame(key="a b", findings="key|Mass Mass"),  # there is such a column already
        frame(key="a b", findings="yes|Mass Mass"),
        frame(key="a b", findings="|".join(f"f{n}" for n in range(70)) + " f1"),
    ],
)
def test_other_texts_are_no_lists_of_findings(table):
    assert spread_findings(table, {"key"})[0] is table


@pytest.mark.parametrize("name", ["diagnosis", "FindingLabels", "image_labels", "Befunde", "CLASS (final)"])
def test_lists_of_findings_by_whole_words_of_their_name(name):
    assert list(spread_findings(frame(**{name: "Effusion|Mass Mass"}), ())[0].columns) == ["Effusion", "Mass"]


def test_findings_are_not_looked_for_in_reserved_columns():
    table = frame(findings="a|b b")
    assert spread_findings(table, {"findings"})[0] is table


def test_odd_values_and_counts_of_a_named_column():
    column = frame(x="1 0 perhaps 12.12.1950 -1 _")["x"]
    assert odd_values(column) == "2 values are not understood (line 4)"
    assert odd_values(frame(x="1 0")["x"]) == ""
    assert count_note(column) == "Rows of class 'x': 1 present, 1 absent, 1 uncertain, 1 blank, 2 not understood"
