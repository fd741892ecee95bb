"""Which columns of a table are classes, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import pandas as pd

from monai_wsss.data.labels.label_values import ABSENT, BLANK, PRESENT, UNCERTAIN, parse_label
from monai_wsss.data.labels.table_text import is_name, plain_name, shown

# Columns of 0 and 1 that a reader would not call a finding. Words of a name, see `_words`.
_MEANINGS = {
    "an age": "age alter edad età âge leeftijd years jahre older over birth birthdate dob",
    "a sex": "sex gender geschlecht sexe sexo female male weiblich männlich maennlich woman man frau mann",
    "a weight": "weight gewicht poids peso bmi",
    "a score": "score grade stage grad stadium skala scale gcs nihss mrs ecog kps karnofsky asa birads",
    "a count": "number count anzahl nombre num",
    "an identifier": "id uid index mrn nummer nr",
    "a date": "date datum time zeit day year jahr fecha",
    "a split": "split fold set subset partition train training",
    "a view": "view projection projektion ap pa portable",
    "a site": "site hospital scanner center centre vendor",
}
_MEANING = {word: meaning for meaning, words in _MEANINGS.items() for word in words.split()}
_PARTS = {"geschlecht": "a sex", "gewicht": "a weight", "geburt": "an age", "datum": "a date", "anzahl": "a count"}
_WHOLE = dict.fromkeys(("frontal", "lateral", "frontallateral"), "a view") | dict.fromkeys(
    ("test", "istest", "val", "validation"), "a split"
)
_PREFIXES = ("patienten", "patient", "pat", "pt")
_NORMAL = {"nofinding", "nofindings", "normal", "keinbefund", "ohnebefund", "unauffällig", "unauffaellig"}
_LISTS = set(  # words of the names of list columns; "labelers" is none, and lists people
    "finding findings label labels diagnosis diagnoses diagnose diagnosen befund befunde pathology pathologies "
    "pathologie pathologien class classes klasse klassen".split()
)
_LIST_WORDS = 60  # different entries of a list column, at most
_NEARLY = 0.9  # share of label words from which a column may be meant as a class


def propose_classes(frame: pd.DataFrame, reserved: Collection[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the columns that hold present and absent and nothing but label words, and notes on what was (not) taken.

    Never an age, a sex, a weight, a score, a count, an identifier, a date, a split or a view, by their names in several
    languages, nor "No Finding", which is the absence of classes.

    Args:
        frame: the table as `read_table` gives it, lists spread by `spread_findings`.
        reserved: columns that have another role.
    """
    classes: list[str] = []
    notes: list[str] = []
    for column in frame.columns:
        if column in reserved:
            continue
        codes = label_codes(frame[column])
        odd = codes.isna() if PRESENT in codes.values or ABSENT in codes.values else None
        if odd is None:
            continue
        words = int((codes != BLANK).sum() - odd.sum())
        meaning = _meaning(column)
        if odd.any():
            if words >= _NEARLY * (words + odd.sum()) and not meaning:
                held = _odd_values(frame[column], odd)
                notes.append(
                    f"Column {column!r} is no class, {held}; name it in --classes if it is one: such cells then count "
                    "as unknown"
                )
        elif meaning:
            held = "0 and 1" if {PRESENT, ABSENT} <= set(codes) else "0 or 1"
            notes.append(
                f"Column {column!r} holds {held} but reads like {meaning}; name it in --classes if it is a class"
            )
        elif plain_name(column) in _NORMAL:
            notes.append(f"Column {column!r} means that no class is present; name it in --classes to make it a class")
        elif not {PRESENT, ABSENT} <= set(codes):
            notes.append(f"Column {column!r} is no class, {_counts(codes)}; name it in --classes if it is one")
        else:
            classes.append(column)
    return tuple(classes), notes + [count_note(frame[name]) for name in classes]


def count_note(column: pd.Series) -> str:
    """Return how many rows say present, absent, uncertain, nothing or something else."""
    return f"Rows of class {column.name!r}: {_counts(label_codes(column))}"


def label_codes(column: pd.Series) -> pd.Series:
    """Return the codes of `parse_label`, NaN for what it does not understand."""
    return column.map({text: parse_label(text) for text in column.unique()}).astype(float)


def odd_values(column: pd.Series) -> str:
    """Return how many cells hold no label word, and the first one's line, "" if none; no text is repeated."""
    odd = label_codes(column).isna()
    return _odd_values(column, odd) if odd.any() else ""


def spread_findings(frame: pd.DataFrame, reserved: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
    """Give each entry of a column of lists ("Cardiomegaly|Effusion") a column of its own, absent where not listed.

    Returns:
        The table with these columns in place of the lists (blank where a list is), and notes.
    """
    notes = []
    for column in frame.columns:
        listed = not _LISTS.isdisjoint(_words(column)) and frame[column].str.contains("|", regex=False).any()
        if column in reserved or not (listed or plain_name(column) == "findinglabels"):
            continue
        lists = frame[column].map(_entries)
        entries = sorted({entry for cell in lists for entry in cell})
        taken = {plain_name(name) for name in frame.columns}
        good = (plain_name(e) not in taken and parse_label(e) is None and is_name(e, 40) for e in entries)
        if len(entries) > _LIST_WORDS or not all(good):
            continue
        frame = frame.drop(columns=column)
        for entry in entries:
            frame[entry] = [("1" if entry in cell else "0") if cell else "" for cell in lists]
        notes.append(f"Column {column!r} lists findings: each becomes a column, absent where it is not listed")
    return frame, notes


def _entries(cell: str) -> list[str]:
    entries = (" ".join(entry.split()) for entry in cell.split("|"))
    return [entry for entry in entries if parse_label(entry) != BLANK]


def _odd_values(column: pd.Series, odd: pd.Series) -> str:
    first = odd.idxmax()
    value = shown(column[first])
    number = int(odd.sum())
    where = f"line {first}: {value}" if value else f"line {first}"
    return f"{number} value{'s are' if number > 1 else ' is'} not understood ({where})"


def _counts(codes: pd.Series) -> str:
    words = ((PRESENT, "present"), (ABSENT, "absent"), (UNCERTAIN, "uncertain"), (BLANK, "blank"))
    counts = [f"{int((codes == code).sum())} {word}" for code, word in words]
    odd = int(codes.isna().sum())
    return ", ".join(counts) + (f", {odd} not understood" if odd else "")


def _meaning(column: str) -> str:
    """Return what a column's name says it is, if that is no finding."""
    plain = plain_name(column)
    if plain in _WHOLE:
        return _WHOLE[plain]
    if "#" in column or re.match(r"(n|no\W?\s*of)[\W_]", column, re.IGNORECASE):
        return "a count"
    found = next((_MEANING[word] for word in _words(column) if word in _MEANING), "")
    return found or next((meaning for part, meaning in _PARTS.items() if part in plain), "")


def _words(column: str) -> Iterator[str]:
    """PatientSex, patient_sex -> patient, sex; patientsex -> patientsex, sex; age65 -> age."""
    for word in re.findall(r"[A-ZÄÖÜ]+(?![^\W\d_A-ZÄÖÜ])|[^\W\d_][^\W\d_A-ZÄÖÜ]*", column):
        yield word.casefold()
        yield from (word.casefold().removeprefix(prefix) for prefix in _PREFIXES if word.casefold() != prefix)
